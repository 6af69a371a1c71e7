"""What is wanted of a file's outline, whoever reads it.

Owns: the protocols that `context`'s outlines fit, and values of the same shape for what is read
off lines where there is no grammar (`lines_outline`).

Invariant: values and protocols only. Lines count from 0, `end_line` is the last.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol


class DefinitionLike(Protocol):
    """One named thing; `scope` are the names around it, outermost first. `signature` is its text
    up to its body in one line, `doc` the first line of what is said of it."""

    @property
    def name(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def line(self) -> int: ...
    @property
    def end_line(self) -> int: ...
    @property
    def signature(self) -> str: ...
    @property
    def doc(self) -> str: ...
    @property
    def scope(self) -> tuple[str, ...]: ...


class ImportedLike(Protocol):
    """A name that is imported, and what it is called here."""

    @property
    def name(self) -> str: ...
    @property
    def local(self) -> str: ...


class ImportLike(Protocol):
    """A module that is imported, as the source spells it."""

    @property
    def module(self) -> str: ...
    @property
    def names(self) -> Sequence[ImportedLike]: ...


class OutlineLike(Protocol):
    """All of one file, in the order of its text."""

    @property
    def definitions(self) -> Sequence[DefinitionLike]: ...
    @property
    def imports(self) -> Sequence[ImportLike]: ...


# Of a language's name and a text; an empty one where nothing is known of the language. The last
# argument is asked whether to end.
OutlineOf = Callable[[str, str, Callable[[], bool]], OutlineLike]


@dataclass(frozen=True, slots=True)
class Definition:
    """A DefinitionLike."""

    name: str
    kind: str
    line: int
    end_line: int
    signature: str
    doc: str = ""
    scope: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Imported:
    """An ImportedLike."""

    name: str
    local: str


@dataclass(frozen=True, slots=True)
class Import:
    """An ImportLike."""

    module: str
    names: tuple[Imported, ...] = ()


@dataclass(frozen=True, slots=True)
class Outline:
    """An OutlineLike."""

    definitions: tuple[Definition, ...] = ()
    imports: tuple[Import, ...] = field(default=())
