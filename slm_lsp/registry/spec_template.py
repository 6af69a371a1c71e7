"""The `[template]` of a registry entry: a family by its name, or a layout of its own.

Owns: both forms and what is wrong with each.

Invariant: a family's layout stands in `prompt.fim` and `prompt.file_formats` alone; an entry
says which of them is meant, and may name its own stop set.

Threads: any.
"""

from __future__ import annotations

import dataclasses

from slm_lsp.prompt import file_formats, fim
from slm_lsp.registry.toml_table import TomlTable
from slm_lsp.types import FimTemplate

_PLACEHOLDERS = ("{prefix}", "{suffix}")


def read_template(table: TomlTable) -> FimTemplate:
    """The template; raises `SpecError` naming what is wrong."""
    template = _of_family(table) if table.has("family") else _own(table)
    table.finish()
    return template


def _of_family(table: TomlTable) -> FimTemplate:
    name = table.text("family")
    stop = table.texts("stop") if table.has("stop") else None
    suffix_lines = table.count("suffix_lines") if table.has("suffix_lines") else None
    files = table.text("files") if table.has("files") else None
    family = fim.family(name)
    if family is None:
        table.fail("family", f"must be one of {', '.join(fim.family_names())}, not {name!r}")
        return fim.PREFIX_ONLY
    stop = family.stop if stop is None else stop
    template = dataclasses.replace(family, stop=stop, suffix_lines=suffix_lines)
    if files is None:
        return template
    formats = {each.name: each for each in file_formats.FORMATS.get(name, ())}
    if files not in formats:
        known = ", ".join(formats) or "none"
        table.fail("files", f"the family {name} has these formats: {known}; not {files!r}")
        return template
    return file_formats.with_format(template, formats[files])


def _own(table: TomlTable) -> FimTemplate:
    layout = table.texts("layout")
    for placeholder in _PLACEHOLDERS:
        if layout and layout.count(placeholder) != 1:
            table.fail("layout", f"must hold {placeholder} once, not {list(layout)}")
    template = FimTemplate(
        name=table.text("name"),
        layout=layout,
        stop=table.texts("stop"),
        suffix_lines=table.count("suffix_lines") if table.has("suffix_lines") else None,
        suffix_is_file=table.has("suffix_is_file") and table.take("suffix_is_file", bool),
        files_layout=table.texts("files_layout") if table.has("files_layout") else (),
        file=table.texts("file") if table.has("file") else (),
    )
    if bool(template.files_layout) != bool(template.file):
        table.fail("files_layout", "and file belong together: one is missing")
    for placeholder in (*_PLACEHOLDERS, "{files}") if template.files_layout else ():
        if template.files_layout.count(placeholder) != 1:
            table.fail("files_layout", f"must hold {placeholder} once")
    return template
