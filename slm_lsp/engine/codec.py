"""Values of `types` in what JSON has, and back.

Owns: how each value is written. It follows from the value's type hints, so a field added to a
value crosses without a change here. A Deadline crosses as the milliseconds that remain; a
CancelToken does not cross: the other side gets one of its own.

Invariant: pure; what does not fit its hint raises WireError, whose text names the field and
never quotes a value, since values hold source text.

Threads: any.
"""

from __future__ import annotations

import dataclasses
import functools
import math
import types
import typing
from collections.abc import Mapping
from enum import Enum
from typing import Any

from slm_lsp.deadline import CancelToken, Clock, Deadline
from slm_lsp.types import Special, Text

# Values of a union are told apart by their class's name.
TAG = "kind"
TAGGED = (Special, Text)


class WireError(Exception):
    """What came over the socket is no message; the text says what is wrong with it."""


def plain_fields(value: Any) -> dict[str, Any]:
    """The fields of a dataclass, by name."""
    names = (each.name for each in dataclasses.fields(value))
    return {name: _plain(getattr(value, name)) for name in names}


def _plain(value: Any) -> Any:
    """A value in what JSON has."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, Deadline):
        return value.remaining_ms()
    if isinstance(value, CancelToken):
        return None
    if dataclasses.is_dataclass(value):
        tag = {TAG: type(value).__name__} if isinstance(value, TAGGED) else {}
        return {**tag, **plain_fields(value)}
    if isinstance(value, (tuple, list)):
        return [_plain(each) for each in value]
    if isinstance(value, frozenset):
        return sorted(map(_plain, value))
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    return value


@functools.cache
def _hints(kind: type) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def made(kind: Any, fields: Any, at: str, clock: Clock) -> Any:
    """A dataclass of its fields' JSON; all of them must be there, and no other.

    `at` names the value in errors. Raises WireError.
    """
    fields = dict(_checked(fields, dict, at))
    hints = _hints(kind)
    if isinstance(kind, type) and issubclass(kind, TAGGED):
        fields.pop(TAG, None)
    if fields.keys() != hints.keys():
        wrong = sorted(hints.keys() - fields.keys()) or ["a field that is not known"]
        raise WireError(f"{at}: {'lacks' if wrong[0] in hints else 'has'} {wrong[0]}")
    return kind(
        **{name: _value(hints[name], fields[name], f"{at}.{name}", clock) for name in hints}
    )


def _value(hint: Any, value: Any, at: str, clock: Clock) -> Any:
    """The value of the hinted type in JSON's `value`."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return _one_of(typing.get_args(hint), value, at, clock)
    if origin in (tuple, frozenset):
        item = typing.get_args(hint)[0]
        items = _checked(value, list, at)
        return origin(_value(item, each, f"{at}[{i}]", clock) for i, each in enumerate(items))
    if isinstance(origin, type) and issubclass(origin, Mapping):
        _, item = typing.get_args(hint)
        pairs = _checked(value, dict, at).items()
        return {key: _value(item, each, f"{at}[…]", clock) for key, each in pairs}
    if hint is Deadline:
        return _deadline(value, at, clock)
    if hint is CancelToken:
        return CancelToken()
    if issubclass(hint, Enum):
        return _enum(hint, value, at)
    if dataclasses.is_dataclass(hint):
        return made(hint, value, at, clock)
    return _checked(value, hint, at)


def _one_of(hints: tuple[Any, ...], value: Any, at: str, clock: Clock) -> Any:
    if value is None and types.NoneType in hints:
        return None
    others = [hint for hint in hints if hint is not types.NoneType]
    if len(others) == 1:
        return _value(others[0], value, at, clock)
    tag = _checked(value, dict, at).get(TAG)
    for hint in others:
        if hint.__name__ == tag:
            return made(hint, value, at, clock)
    raise WireError(f"{at}.{TAG}: must be one of {', '.join(hint.__name__ for hint in others)}")


def _deadline(value: Any, at: str, clock: Clock) -> Deadline:
    remaining_ms = _checked(value, float, at)
    if math.isnan(remaining_ms):
        raise WireError(f"{at}: must be a number of milliseconds")
    return Deadline.after(remaining_ms, clock)


def _enum(hint: type[Enum], value: Any, at: str) -> Enum:
    for member in hint:
        if type(value) is not bool and member.value == value:
            return member
    raise WireError(f"{at}: must be one of {', '.join(str(each.value) for each in hint)}")


def _checked(value: Any, kind: type, at: str) -> Any:
    if kind is float and type(value) is int:
        try:
            return float(value)
        except OverflowError:
            raise WireError(f"{at}: too large a number") from None
    if type(value) is not kind:
        raise WireError(f"{at}: must be {kind.__name__}, not {named(value)}")
    return value


def named(value: Any) -> str:
    """What a value is, without saying which."""
    return type(value).__name__
