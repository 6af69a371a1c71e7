"""Which names of a file are defined in which other file of the same repository.

Owns: the definitions at the top of Python modules, and following imports to them.

Invariant: pure. A name that the file itself assigns anywhere is not followed, so that what is
found is what would be called. Nothing is imported or run.

Threads: any.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

MAX_HOPS = 5
Defining = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef


@dataclass(frozen=True, slots=True)
class Definition:
    """A function or class, and the file that defines it."""

    path: str
    name: str
    node: Defining = field(compare=False)


@dataclass(slots=True)
class Module:
    """A parsed file. `imported`: what a name stands for, a module or an attribute of one."""

    path: str
    name: str
    tree: ast.Module
    definitions: dict[str, Defining] = field(default_factory=dict)
    imported: dict[str, tuple[str, str]] = field(default_factory=dict)
    stars: list[str] = field(default_factory=list)


class Modules:
    """All modules of a repository."""

    def __init__(self, files: Mapping[str, str]) -> None:
        self.by_name: dict[str, Module] = {}
        for path, text in files.items():
            try:
                module = _read(path, text)
            except SyntaxError:
                continue
            self.by_name[module.name] = module

    def resolve(self, module: Module, call: ast.expr) -> Definition | None:
        """What a call of `name` or `module.name` calls, if that is in another file."""
        match call:
            case ast.Name(id=name) if name in module.imported:
                found = self._follow(*module.imported[name])
            case ast.Attribute(value=ast.Name(id=base), attr=name) if base in module.imported:
                target = self._module(*module.imported[base])
                found = self._follow(target.name, name) if target else None
            case _:
                return None
        return found if found is not None and found.path != module.path else None

    def used_by(self, path: str) -> list[Definition]:
        """All that a file imports from others of the repository, by name."""
        module = next((each for each in self.by_name.values() if each.path == path), None)
        imported = sorted(module.imported.items()) if module is not None else []
        found = (self._follow(*target) for _, target in imported)
        return [each for each in found if each is not None and each.path != path]

    def _module(self, module: str, name: str) -> Module | None:
        return self.by_name.get(f"{module}.{name}" if name else module)

    def _follow(self, module: str, name: str, hops: int = MAX_HOPS) -> Definition | None:
        found = self.by_name.get(module)
        if found is None or not hops:
            return None
        if name in found.definitions:
            return Definition(found.path, name, found.definitions[name])
        if name in found.imported:
            return self._follow(*found.imported[name], hops - 1)
        behind = (self._follow(star, name, hops - 1) for star in found.stars)
        return next((each for each in behind if each is not None), None)


def _read(path: str, text: str) -> Module:
    name = path.removesuffix(".py").removesuffix("/__init__").replace("/", ".")
    module = Module(path, name, ast.parse(text))
    for top in module.tree.body:
        if isinstance(top, Defining):
            module.definitions[top.name] = top
    package = name if path.endswith("/__init__.py") else name.rpartition(".")[0]
    for node in ast.walk(module.tree):
        found = dict(_imported(node, package))
        module.imported.update(found)
        module.stars.extend(found["*"][:1] if "*" in found else ())
    for name in {"*", *assigned(module.tree)} & module.imported.keys():
        del module.imported[name]
    return module


def _imported(node: ast.AST, package: str) -> Iterator[tuple[str, tuple[str, str]]]:
    if isinstance(node, ast.ImportFrom):
        parts = package.split(".")
        base = ".".join(parts[: len(parts) - node.level + 1]) if node.level else ""
        module = ".".join(part for part in (base, node.module or "") if part)
        for alias in node.names:
            yield alias.asname or alias.name, (module, alias.name)
    elif isinstance(node, ast.Import):
        for alias in node.names:
            if alias.asname:
                yield alias.asname, (alias.name, "")


def assigned(tree: ast.AST) -> Iterator[str]:
    """Every name that something in a file binds, imports aside."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and not isinstance(node.ctx, ast.Load):
            yield node.id
        elif isinstance(node, Defining):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
