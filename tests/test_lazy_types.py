"""lsprotocol's classes made when they are first used: the same classes, in every order of use.

Invariant: what is compared is made by processes of their own, as one process has one lsprotocol.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from editor import INITIALIZE_DIR

LAZY = "from slm_lsp.lsp import lazy_types\nlazy_types.import_types()\n"
N_PLAIN = "print(len(lazy_types._plain))\n"

DESCRIBE = """
import json, re, sys
import attrs
from lsprotocol import types
from lsprotocol.converters import get_converter

get_converter()
classes = {
    name: cls
    for name, cls in types.ALL_TYPES_MAP.items()
    if isinstance(cls, type) and attrs.has(cls)
}
# Slots are what is meant to differ; the types in signatures are resolved, too.
ignored = {"__slots__", "__weakref__", "__dict__", "__getstate__", "__setstate__"}
# Which attrs sets to False, or not at all.
ignored.add("__attrs_own_setattr__")

def described(thing):
    return re.sub(" at 0x[0-9a-f]+", "", repr(thing))

def description(cls):
    fields = attrs.fields(cls)
    own = set(vars(cls)) - ignored - {field.name for field in fields}
    return {
        "fields": [described(field) for field in fields],
        "names": sorted(own),
        "arguments": cls.__init__.__code__.co_varnames,
        "match": cls.__match_args__,
        "rest": [cls.__qualname__, cls.__module__, cls.__doc__, described(cls.__mro__)],
        "hash": described(cls.__hash__),
        "checks": getattr(cls, "__attrs_own_setattr__", False),
    }

print(json.dumps({name: description(cls) for name, cls in classes.items()}))
"""

ROUND_TRIP = """
import json, sys
from lsprotocol import types
from pygls.protocol import default_converter

converter = default_converter()
for message in json.load(sys.stdin):
    cls = types.METHOD_TO_TYPES[message["method"]][0]
    value = converter.structure(message, cls)
    try:
        converter.structure({**message, "params": {"position": 1}}, cls)
    except Exception as error:
        problem = repr([type(error), error, getattr(error, "exceptions", [])])
    print(value)
    print(json.dumps(converter.unstructure(value, cls)), problem)
    assert converter.structure(message, cls) == value
"""

BEHAVIOUR = """
import copy
from lsprotocol import types
a, b = types.Position(1, 2), types.Position(line=1, character=3)
print(a, a < b, a >= b, a == types.Position(1, 2), a == 1, a != b, copy.copy(a) == a)
print(types.Range(a, b), repr(types.Location("u", types.Range(a, b))))
print(types.CompletionItem("x"), types.CompletionItem("x") == types.CompletionItem("x"))

def wrong(call):
    try:
        call()
    except Exception as error:
        print(type(error), error)

wrong(lambda: hash(types.CompletionItem("x")))
wrong(lambda: types.Position(-1, 2))
wrong(lambda: types.Position(1))
wrong(lambda: types.Position(1, 2, 3))
wrong(lambda: setattr(a, "line", -1))
match b:
    case types.Position(line, 3):
        print(line)
"""

USE = """
import attrs
from lsprotocol import types

class Hover(types.Hover):
    def __init__(self, text):
        super().__init__(contents=text)

@attrs.define
class Item(types.CompletionItem):
    extra: int = 0

class Command(types.Command):
    pass

assert Hover("a").contents == "a" and Hover("a") == Hover("a")
item = Item("x", kind=types.CompletionItemKind.Text, extra=3)
assert (item.label, item.extra) == ("x", 3) and item != Item("x")
assert [field.name for field in attrs.fields(Item)][-1] == "extra"
assert attrs.has(Command) and Command("t", "c").title == "t"
assert attrs.fields(Command).title.type is str
"""

THREADS = """
import sys, threading
import attrs
from lsprotocol import types

sys.setswitchinterval(1e-6)
classes = [cls for cls in types.ALL_TYPES_MAP.values() if cls in lazy_types._plain]
assert len(classes) > 500
start, faults = threading.Barrier(8), []

def use(n):
    start.wait()
    for cls in classes:
        try:
            if n % 2:
                try:
                    cls(**{"no such argument": 1})
                except TypeError as error:
                    assert "no such argument" in str(error), error
            assert not [f for f in attrs.fields(cls) if isinstance(f.type, str)], cls
        except BaseException as error:
            faults.append(repr(error))

threads = [threading.Thread(target=use, args=[n]) for n in range(8)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
assert not faults, faults[:3]
assert not lazy_types._plain
"""


def run(program: str, given: str = "", **environ: str) -> str:
    """What the program prints."""
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=given,
        capture_output=True,
        text=True,
        env={**os.environ, **environ},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def position_params(**more: object) -> object:
    return {
        "textDocument": {"uri": "file:///a.py"},
        "position": {"line": 1, "character": 2},
        **more,
    }


def messages() -> str:
    """One of each kind that this server is sent."""
    text = {"uri": "file:///a.py", "languageId": "python", "version": 1, "text": "x"}
    change = {"range": {"start": {"line": 0, "character": 0}, "end": {"line": 0, "character": 1}}}
    inline = {"triggerKind": 1, "selectedCompletionInfo": {"range": change["range"], "text": "y"}}
    by_method: list[tuple[str, object]] = [
        *(("initialize", json.loads(p.read_text())) for p in sorted(INITIALIZE_DIR.glob("*"))),
        ("initialized", {}),
        ("textDocument/didOpen", {"textDocument": text}),
        (
            "textDocument/didChange",
            {
                "textDocument": {"uri": "file:///a.py", "version": 2},
                "contentChanges": [{**change, "text": "y"}, {"text": "z"}],
            },
        ),
        ("textDocument/completion", position_params(context={"triggerKind": 1})),
        ("textDocument/inlineCompletion", position_params(context=inline)),
        ("workspace/executeCommand", {"command": "slm-lsp.stats", "arguments": [1, None]}),
        ("$/setTrace", {"value": "off"}),
        ("textDocument/didClose", {"textDocument": {"uri": "file:///a.py"}}),
    ]
    framed = [
        {"jsonrpc": "2.0", "id": n, "method": method, "params": params}
        for n, (method, params) in enumerate(by_method)
    ]
    return json.dumps(framed)


def test_all_classes_are_what_they_are_otherwise() -> None:
    lazy, plain = json.loads(run(LAZY + DESCRIBE)), json.loads(run(DESCRIBE))
    assert len(plain) > 500
    assert lazy.keys() == plain.keys()
    for name, described in plain.items():
        assert lazy[name] == described


@pytest.mark.parametrize("program", [ROUND_TRIP, BEHAVIOUR])
def test_values_are_what_they_are_otherwise(program: str) -> None:
    plain = run(program, messages())
    assert plain
    assert run(LAZY + program, messages()) == plain


def test_most_classes_are_never_made() -> None:
    n_plain = run(LAZY + ROUND_TRIP + N_PLAIN, messages()).split()[-1]
    assert int(n_plain) > 400


def test_subclasses_complete_what_they_are_made_of() -> None:
    run(LAZY + USE)


def test_threads_see_no_class_by_halves() -> None:
    run(LAZY + THREADS)


OTHER_ATTRS = """
import attrs
real = attrs.define
attrs.define = lambda *cls, **options: real(*cls, **{**options, "slots": True})
"""


def test_other_attrs_is_left_alone() -> None:
    """One that makes another class of each can complete none in place."""
    assert run(OTHER_ATTRS + LAZY + USE + N_PLAIN) == "0\n"


OTHER_TYPES = """
import attrs

@attrs.define(frozen=True)
class Frozen:
    x: "Simple" = attrs.field()

@attrs.define
class Simple:
    x: "int" = attrs.field(default=1)

@attrs.define
class Own:
    x: int = attrs.field()
    def __init__(self):
        self.__attrs_init__(2)

@attrs.define
class Used:
    x: "Simple" = attrs.field(factory=Simple)

USED = Used()
ALL_TYPES_MAP = {"Frozen": Frozen, "Simple": Simple, "Own": Own, "Used": Used, "Any": object}
"""
USE_OTHER = """
import attrs
from lsprotocol import types
from lsprotocol._hooks import resolve
resolve()
assert types.USED.x == types.Simple() != types.Simple(3)
assert types.Own().x == 2
assert types.Frozen(types.Simple()) == types.Frozen(types.Simple())
assert attrs.fields(types.Frozen).x.type is types.Simple
assert attrs.fields(types.Used).x.type is types.Simple
assert attrs.fields(types.Simple).x.type is int
"""
RESOLVE = """
import attrs
from . import types
_resolved_forward_references = False
def resolve():
    if not _resolved_forward_references:
        for cls in [*filter(attrs.has, types.ALL_TYPES_MAP.values())]:
            attrs.resolve_types(cls, types.ALL_TYPES_MAP, {})
"""


@pytest.mark.parametrize(
    "hooks", [RESOLVE, RESOLVE.replace("_resolved_forward_references", "_resolved")]
)
def test_another_lsprotocol_works(tmp_path: Path, hooks: str) -> None:
    package = tmp_path / "lsprotocol"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "types.py").write_text(OTHER_TYPES)
    (package / "_hooks.py").write_text(hooks)
    path = os.pathsep.join([str(tmp_path), os.getcwd()])
    run(LAZY + USE_OTHER, PYTHONPATH=path)
    run(USE_OTHER, PYTHONPATH=path)


def test_a_types_module_that_was_imported_is_left_alone() -> None:
    assert run("import lsprotocol.types\n" + LAZY + USE + N_PLAIN) == "0\n"
