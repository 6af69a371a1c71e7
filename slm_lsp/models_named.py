"""What a user means by a model on the command line of `slm-lsp models`.

Owns: the way from that text to an entry, a file or a location, and ModelsError.

Invariant: nothing is fetched or written; whatever is not there raises ModelsError, whose message
says what to do.

Threads: the main thread.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from slm_lsp.engine.base import ModelLoadError
from slm_lsp.gguf.header import GgufError
from slm_lsp.registry import found, naming
from slm_lsp.registry.specs import ModelSpec, Registry, load_registry
from slm_lsp.registry.steps import PullError
from slm_lsp.registry.toml_table import SpecError


class ModelsError(Exception):
    """A command could not do what was asked; the message says what to do."""


@contextmanager
def explained() -> Iterator[None]:
    """Turn what the registry raises into ModelsError."""
    from slm_lsp.settings_file import SettingsError

    try:
        yield
    except (PullError, SpecError, ModelLoadError, GgufError, SettingsError) as error:
        raise ModelsError(str(error)) from error
    except BrokenPipeError:
        raise  # the reader of stdout has seen enough
    except OSError as error:
        raise ModelsError(f"{error}: make that place readable and writable by you") from error


def all_entries() -> Registry:
    """The registry; what is wrong in the user's part of it is said."""
    with explained():
        registry = load_registry()
    for problem in registry.problems:
        say(f"left out: {problem}")
    return registry


def entry(name: str) -> ModelSpec:
    """The entry of that name."""
    specs = all_entries().specs
    if name not in specs:
        raise ModelsError(naming.unknown(name, specs))
    return specs[name]


def location_of(text: str) -> str:
    """The location that `text` is, as it is kept."""
    try:
        return naming.normal_location(text)
    except ValueError as error:
        if repo := naming.repo_of(text):
            raise ModelsError(_files_of(repo)) from error
        raise ModelsError(str(error)) from error


def _files_of(repo: str) -> str:
    """A sentence that names the files to choose from."""
    from slm_lsp.registry.hub import files_of

    with explained():
        files = files_of(repo)
    if not files:
        return f"hf:{repo} has no GGUF file: look for a repository of the model that has one"
    return "\n".join((f"hf:{repo} is a repository: name one of its files", *files))


def as_location(text: str) -> str:
    """A location of `text`, which may also be a path or a file of another program."""
    kind = naming.kind_of(text)
    if kind == "location":
        return location_of(text)
    if kind == "name":
        raise ModelsError(f"{text!r} is no location: hf:OWNER/REPO/FILE.gguf, https://… or a path")
    return f"file:{file_of(text).absolute().as_posix()}"


def file_of(text: str) -> Path:
    """The file of a path or of another program."""
    if naming.kind_of(text) == "found":
        named = found.find_named(text)
        if named is None:
            raise ModelsError(
                f"there is no {text}: `slm-lsp models list --all` shows what there is"
            )
        return named.path
    try:
        path = naming.path_of(text)
    except ValueError as error:
        raise ModelsError(str(error)) from error
    if not path.is_file():
        raise ModelsError(f"there is no file {path}: check the path")
    return path


def name_to_keep(model: str) -> str:
    """What goes into the settings: a path must not depend on the folder this runs in."""
    kind = naming.kind_of(model)
    if kind == "path":
        return str(file_of(model).absolute())
    if kind == "found":
        file_of(model)
        return model
    if kind == "location":
        return location_of(model)
    return entry(model).name


def say(text: str) -> None:
    """Tell the user something beside the result."""
    print(f"slm-lsp: {text}", file=sys.stderr)
