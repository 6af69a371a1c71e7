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


MAX_FILE_BYTES = 1 << 20


class SpecError(Exception):
    """A registry entry is wrong, or something was asked that no entry describes; `line` is where
    in the file, 0 where there is none to name."""

    def __init__(self, message: str, line: int = 0) -> None:
        super().__init__(message)
        self.line = line


class TomlTable:
    """One table whose keys are taken one by one, so that what is left over is unknown.

    With a list of `problems` a wrong key is put there and an empty value given instead of it, so
    that all that is wrong with a file is found; what is read then must not be used.
    """

    def __init__(
        self,
        file: Path,
        text: str,
        content: dict[str, object],
        name: str = "",
        problems: list[SpecError] | None = None,
    ) -> None:
        self._file = file
        self._text = text
        self._left = dict(content)
        self._name = name
        self._problems = problems

    @classmethod
    def read(cls, file: Path, problems: list[SpecError] | None = None) -> TomlTable:
        """The top table of `file`; raises `SpecError` if it cannot be read or parsed."""
        try:
            with file.open("rb") as stream:
                raw = stream.read(MAX_FILE_BYTES + 1)
            if len(raw) > MAX_FILE_BYTES:
                raise SpecError(f"{file}: larger than {MAX_FILE_BYTES} bytes; no entry is")
            text = raw.decode("utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise SpecError(f"{file}: {error}") from error
        text = text.replace("\r\n", "\n")
        try:
            # A file of thousands of brackets is nested deeper than the parser goes.
            return cls(file, text, tomllib.loads(text), problems=problems)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            at = re.search(r"\(at line (\d+)", str(error))
            raise SpecError(f"{file}:{at[1] if at else 1}: {error}") from error

    def fail(self, key: str, why: str) -> None:
        """Raise `SpecError` about `key`, or add it to the problems."""
        name = self._name + key
        line = line_of(key_lines(self._text), name)
        error = SpecError(f"{self._file}:{line}: {name}: {why}", line)
        if self._problems is None:
            raise error
        self._problems.append(error)

    def take(self, key: str, kind: type[T]) -> T:
        """The value of `key`, which must be there and of exactly this type."""
        value = self._take(key, kind)
        return kind() if value is None else value

    def _take(self, key: str, kind: type[T]) -> T | None:
        """None where it is wrong and that is only noted."""
        if key not in self._left:
            self.fail(key, f"missing; it must be {_KIND_NAMES[kind]}")
            return None
        value = self._left.pop(key)
        # `type() is`, because TOML's true is an int to isinstance.
        if type(value) is not kind:
            self.fail(key, f"must be {_KIND_NAMES[kind]}, not {value!r}")
            return None
        return value

    def text(self, key: str, pattern: str = r"(?s).+") -> str:
        """A string that `pattern` matches as a whole; not empty unless the pattern allows it."""
        value = self._take(key, str)
        if value is not None and not re.fullmatch(pattern, value):
            self.fail(key, f"{value!r} does not match {pattern}")
        return value or ""

    def count(self, key: str) -> int:
        """An integer above zero."""
        value = self._take(key, int)
        if value is not None and value <= 0:
            self.fail(key, f"must be above zero, not {value}")
        return value or 0

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of non-empty strings."""
        found = []
        for value in self.take(key, list):
            if type(value) is str and value:
                found.append(value)
            else:
                self.fail(key, f"must hold non-empty strings, not {value!r}")
        return tuple(found)

    def table(self, key: str) -> TomlTable:
        """The sub-table `key`."""
        content = self._take(key, dict)
        # One that is missing is one problem, not one for each of its keys.
        return self._inner(key, content or {}, self._problems if content is not None else [])

    def tables(self, key: str) -> tuple[TomlTable, ...]:
        """The sub-tables of the list `key`, of which there must be one at least."""
        found = []
        for index, value in enumerate(self.take(key, list)):
            if type(value) is dict:
                found.append(self._inner(f"{key}[{index}]", value, self._problems))
            else:
                self.fail(f"{key}[{index}]", f"must be a table, not {value!r}")
        if not found:
            self.fail(key, "must hold a table at least")
        return tuple(found)

    def _inner(
        self, key: str, content: dict[str, object], problems: list[SpecError] | None
    ) -> TomlTable:
        return TomlTable(self._file, self._text, content, f"{self._name}{key}.", problems)

    def has(self, key: str) -> bool:
        """Whether the key is there and was not taken."""
        return key in self._left

    def names(self) -> tuple[str, ...]:
        """The keys not taken yet, in the file's order."""
        return tuple(self._left)

    def finish(self) -> None:
        """Fail for each key that nobody took."""
        for key in self._left:
            self.fail(key, "unknown key")
