"""Reading a TOML table key by key, with errors that name the file, the line and the key.

Owns: the type checks of registry entries and the wording of what is wrong with them.

Invariant: nothing is guessed or converted; a key that is missing, of another type or left
over is an error, never a default.

Threads: any; a table is used by the one call that parses the file.
"""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import TypeVar

from slm_lsp.registry.toml_lines import key_lines, line_of

T = TypeVar("T")

_KIND_NAMES: dict[type, str] = {
    str: "a string",
    int: "an integer",
    bool: "true or false",
    list: "a list",
    dict: "a table",
}


class SpecError(Exception):
    """A registry entry is wrong, or something was asked that no entry describes."""


class TomlTable:
    """One table whose keys are taken one by one, so that what is left over is unknown."""

    def __init__(self, file: Path, text: str, content: dict[str, object], name: str = "") -> None:
        self._file = file
        self._text = text
        self._left = dict(content)
        self._name = name

    @classmethod
    def read(cls, file: Path) -> TomlTable:
        """The top table of `file`; raises `SpecError` if it cannot be read or parsed."""
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{file}: {error}") from error
        try:
            # A file of half a million brackets is nested deeper than the parser goes.
            return cls(file, text, tomllib.loads(text))
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            at = re.search(r"\(at line (\d+)", str(error))
            raise SpecError(f"{file}:{at[1] if at else 1}: {error}") from error

    def error(self, key: str, why: str) -> SpecError:
        """The error to raise about `key`."""
        name = self._name + key
        return SpecError(f"{self._file}:{line_of(key_lines(self._text), name)}: {name}: {why}")

    def take(self, key: str, kind: type[T]) -> T:
        """The value of `key`, which must be there and of exactly this type."""
        if key not in self._left:
            raise self.error(key, f"missing; it must be {_KIND_NAMES[kind]}")
        value = self._left.pop(key)
        # `type() is`, because TOML's true is an int to isinstance.
        if type(value) is not kind:
            raise self.error(key, f"must be {_KIND_NAMES[kind]}, not {value!r}")
        return value

    def text(self, key: str, pattern: str = r"(?s).+") -> str:
        """A string that `pattern` matches as a whole; not empty unless the pattern allows it."""
        value = self.take(key, str)
        if not re.fullmatch(pattern, value):
            raise self.error(key, f"{value!r} does not match {pattern}")
        return value

    def count(self, key: str) -> int:
        """An integer above zero."""
        value = self.take(key, int)
        if value <= 0:
            raise self.error(key, f"must be above zero, not {value}")
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of non-empty strings."""
        values = self.take(key, list)
        for value in values:
            if type(value) is not str or not value:
                raise self.error(key, f"must hold non-empty strings, not {value!r}")
        return tuple(values)

    def table(self, key: str) -> TomlTable:
        """The sub-table `key`."""
        return TomlTable(self._file, self._text, self.take(key, dict), f"{self._name}{key}.")

    def tables(self, key: str) -> tuple[TomlTable, ...]:
        """The sub-tables of the list `key`, of which there must be one at least."""
        values = self.take(key, list)
        found = []
        for index, value in enumerate(values):
            if type(value) is not dict:
                raise self.error(f"{key}[{index}]", f"must be a table, not {value!r}")
            found.append(TomlTable(self._file, self._text, value, f"{self._name}{key}[{index}]."))
        if not found:
            raise self.error(key, "must hold a table at least")
        return tuple(found)

    def has(self, key: str) -> bool:
        """Whether the key is there and was not taken."""
        return key in self._left

    def names(self) -> tuple[str, ...]:
        """The keys not taken yet, in the file's order."""
        return tuple(self._left)

    def finish(self) -> None:
        """Raise `SpecError` naming the keys that nobody took."""
        if self._left:
            raise self.error(next(iter(self._left)), "unknown key")
