"""Remembering compiled code: used for the same source only, and never in the way."""

from __future__ import annotations

import dataclasses
import stat
from pathlib import Path
from typing import Any

import attr._make
import attrs
import cattrs
import cattrs.gen
import pytest

from slm_lsp.lsp import compiled


def define(name: str, *fields: str) -> type[Any]:
    """A class made by attrs, as lsprotocol makes hundreds."""
    return attrs.make_class(name, list(fields))


def compile_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Source texts that are really compiled from now on."""
    calls: list[str] = []
    real = compile

    def counting(source: str, filename: str, mode: str, **options: Any) -> Any:
        calls.append(source)
        return real(source, filename, mode, **options)

    monkeypatch.setattr(compiled, "compile", counting, raising=False)
    return calls


def test_second_time_nothing_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "cache" / "code.marshal"
    calls = compile_calls(monkeypatch)
    with compiled.remembered(path) as memory:
        define("A", "x", "y")
        memory.save()
        assert path.exists()
    assert calls
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    calls.clear()
    with compiled.remembered(path):
        made = define("A", "x", "y")
    assert calls == []
    assert (made(1, 2).x, made(1, 2).y) == (1, 2)
    assert made(1, 2) == made(1, 2)


def test_other_source_is_compiled(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "code.marshal"
    with compiled.remembered(path):
        define("A", "x")
    calls = compile_calls(monkeypatch)
    with compiled.remembered(path):
        made = define("A", "x", "z")
    assert calls
    assert made(1, z=5).z == 5


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xe9\x00\x00\x00\x00", b"N"])
def test_damaged_file_is_replaced(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "code.marshal"
    path.write_bytes(content)
    with compiled.remembered(path):
        assert define("A", "x")(3).x == 3
    assert path.read_bytes() != content


def test_a_place_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with compiled.remembered(tmp_path / "file" / "code.marshal"):
        assert define("A", "x")(3).x == 3


def test_dataclasses_are_remembered_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def make() -> Any:
        return dataclasses.make_dataclass("C", [("x", int), ("y", int, 2)])

    plain = make()
    path = tmp_path / "code.marshal"
    with compiled.remembered(path):
        first = make()
    calls = compile_calls(monkeypatch)
    with compiled.remembered(path):
        second = make()
    assert calls == []
    for made in (first, second):
        assert (made(1), made(1).y) == (made(1, 2), 2)
        # Compiled as dataclasses' own source is, with no `annotations` of ours.
        assert made.__init__.__annotations__ == plain.__init__.__annotations__ != {}
        assert made.__init__.__annotations__["x"] is int


def test_attrs_and_dataclasses_are_left_as_they_were(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), compiled.remembered(tmp_path / "code.marshal"):
        1 / 0  # noqa: B018
    assert not hasattr(attr._make, "compile")
    assert not hasattr(cattrs.gen, "compile")
    assert not hasattr(dataclasses, "exec")


def test_structuring_is_remembered_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = define("B", "x")
    path = tmp_path / "code.marshal"
    with compiled.remembered(path):
        assert cattrs.Converter().structure({"x": 1}, made) == made(1)
    calls = compile_calls(monkeypatch)
    with compiled.remembered(path):
        assert cattrs.Converter().structure({"x": 2}, made) == made(2)
    assert calls == []
