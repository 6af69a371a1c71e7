"""Makes lsprotocol's classes when they are first used: a session uses a fifth of them.

Owns: which classes of `lsprotocol.types` are still plain, and how one is completed in place: by
attrs, at its first instance or at the first look at its fields.

Invariant: a completed class has the fields, types and methods that it has otherwise, only no
slots; no instance exists of one that is not. What does not fit (another decorator, other attrs,
other hooks) is imported as it is, which works and is slower.

Threads: any; classes are completed under one lock.
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import attrs

MODULE = "lsprotocol.types"

_define = attrs.define
_lock = threading.RLock()
_plain: set[type[Any]] = set()
# What the types of fields may name; nothing until the module is imported.
_names: dict[str, Any] = {}


class _Fields:
    """Stands for `__attrs_attrs__`, by which attrs and cattrs know their classes."""

    def __init__(self, cls: type[Any]) -> None:
        self._cls: Any = cls

    def __get__(self, instance: object, owner: type[Any]) -> Any:
        _complete(self._cls)
        return self._cls.__attrs_attrs__


def import_types() -> None:
    """Import `lsprotocol.types` with its classes plain, if attrs can complete them later."""
    if MODULE in sys.modules or not _completes_in_place():
        return
    with _postponing():
        types = import_module(MODULE)
    hooks: Any = import_module("lsprotocol._hooks")
    if hasattr(types, "ALL_TYPES_MAP") and hasattr(hooks, "_resolved_forward_references"):
        # What the first converter does with all classes is then done with each in its time.
        _names.update(types.ALL_TYPES_MAP)
        for cls in types.ALL_TYPES_MAP.values():
            if isinstance(cls, type) and cls not in _plain and attrs.has(cls):
                attrs.resolve_types(cls, _names, {})
        hooks._resolved_forward_references = True


@contextmanager
def _postponing() -> Iterator[None]:
    def define(*args: Any, **options: Any) -> Any:
        if options or len(args) != 1 or not _is_simple(args[0]):
            return _define(*args, **options)
        return _postponed(args[0])

    module: Any = attrs
    module.define = define
    try:
        yield
    finally:
        module.define = _define


def _is_simple(cls: Any) -> bool:
    return isinstance(cls, type) and cls.__module__ == MODULE and "__init__" not in vars(cls)


def _postponed(cls: Any) -> Any:
    """`cls` itself, which becomes an attrs class once it is needed."""

    def __init__(self: Any, *args: Any, **values: Any) -> None:
        _complete(cls)
        cls.__init__(self, *args, **values)

    cls.__init__ = __init__
    cls.__attrs_attrs__ = _Fields(cls)
    _plain.add(cls)
    return cls


def _complete(cls: Any) -> None:
    with _lock:
        if cls in _plain:
            _made_by_attrs(cls)
            _plain.discard(cls)


def _made_by_attrs(cls: Any) -> Any:
    # Slots would take another class, and without `init` attrs would keep the one of ours.
    return _define(cls, slots=False, init=True, field_transformer=_resolved)


def _resolved(cls: Any, fields: list[Any]) -> list[Any]:
    """The fields with what their types name, as no thread may see them without."""
    if _names:
        attrs.resolve_types(cls, _names, {}, attribs=fields)
    return fields


def _completes_in_place() -> bool:
    class Probe:
        x: int = attrs.field()

        def __init__(self) -> None: ...

    probe: Any = Probe
    try:
        return _made_by_attrs(probe) is Probe and bool(probe(1) == probe(x=1))
    except TypeError:
        return False
