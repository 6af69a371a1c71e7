"""The layers and the house rules, read from the source.

Owns: which package may import which, who alone may import what, and the norms for modules,
functions and names.

Invariant: nothing of slm_lsp is imported; the source is parsed.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "slm_lsp"

# Who may import whom; every package may import itself. `stdio` is what `serve` runs, and so
# part of the rim that puts the parts together.
RIM = frozenset(
    {
        *("cli", "__main__", "wiring", "oneshot", "doctor", "control", "stats", "why"),
        *("servers", "server_check"),
        *("models_cli", "models_named", "model_choice"),
        # What `serve` runs where a process is kept ready.
        *("lsp.stdio", "ready.client", "ready.host", "ready.launch", "ready.provision"),
        *("ready.session", "ready.warm"),
        "tune.command",
    }
)
VALUES = frozenset({"types", "deadline"})
MAY_IMPORT = {
    "lsp": {"completion", "engine", "workspace", "text", *VALUES, "trace", "config"},
    "completion": {
        *("context", "prompt", "engine", "workspace", "secrets"),
        *("text", *VALUES, "trace", "config"),
    },
    "workspace": {"context", "secrets", "text", *VALUES},
    "context": {"secrets", "text", "types"},
    "prompt": {"secrets", "text", "types"},
    "engine": {"gguf", "secrets", "text", *VALUES},
    # Entries name families of `prompt`, so that no layout is written twice.
    "registry": {"gguf", "prompt", "types"},
    "gguf": set[str](),
    "secrets": set[str](),
    "text": {"types"},
    "ready": set[str](),
    "types": {"deadline"},
    "trace": {"deadline"},
    "deadline": set[str](),
    "config": set[str](),
    "settings_file": {"config"},
    "tune": {"engine", "gguf", "registry", "config", *VALUES},
    "": set[str](),
}
# Imports that exist only for the type checker.
MAY_NAME = {"engine": {"config"}}

ONLY_IN = {
    "pygls": ("slm_lsp/lsp/",),
    "lsprotocol": ("slm_lsp/lsp/",),
    "cattrs": ("slm_lsp/lsp/",),
    "tree_sitter": ("slm_lsp/context/syntax.py",),
    "llama_cpp": (
        "slm_lsp/engine/llama_load.py",
        "slm_lsp/registry/quantize.py",
        "slm_lsp/doctor.py",
    ),
    "keyring": ("slm_lsp/engine/server_settings.py",),
    "huggingface_hub": ("slm_lsp/registry/hub.py",),
    "httpx2": (
        "slm_lsp/registry/hub.py",
        "slm_lsp/registry/web.py",
        "slm_lsp/engine/server_link.py",
    ),
    "ctransformers": ("slm_lsp/engine/ctransformers_load.py",),
    # Both call llama.cpp's C functions.
    "ctypes": ("slm_lsp/engine/", "slm_lsp/registry/quantize.py"),
}
GRAMMARS = "tree_sitter_"

MAX_MODULE_LINES = 400
MAX_FUNCTION_LINES = 40
# Functions that are longer still; they may not grow, and leave this list once they are split.
LONGER: dict[tuple[str, str], int] = {}
FORBIDDEN = ("manager", "helper", "utils")
FORBIDDEN_WHOLE = ("data", "process")


@dataclass(frozen=True)
class Import:
    """One imported module, and whether only the type checker sees it."""

    module: str
    line: int
    typing: bool


@dataclass(frozen=True, eq=False)
class Module:
    """One parsed file of the package."""

    path: str
    lines: int
    tree: ast.Module

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """All of the tree, walked once for all rules."""
        return tuple(ast.walk(self.tree))

    @property
    def layer(self) -> str:
        """The package, or the module directly under slm_lsp; "" for slm_lsp itself."""
        name = self.path.removeprefix("slm_lsp/").removesuffix(".py").replace("/", ".")
        name = name.removesuffix("__init__").removesuffix(".")
        return name if name in RIM else name.partition(".")[0]

    def imports(self) -> Iterator[Import]:
        typing = {
            id(inner)
            for node in self.nodes
            if isinstance(node, ast.If)
            and isinstance(node.test, ast.Name)
            and node.test.id == "TYPE_CHECKING"
            for child in node.body
            for inner in ast.walk(child)
        }
        for node in self.nodes:
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{self.path}:{node.lineno}: write imports in full"
                # `from slm_lsp.engine import llama` imports a module, too.
                names = [f"{node.module}.{alias.name}" for alias in node.names]
            else:
                continue
            yield from (Import(name, node.lineno, id(node) in typing) for name in names)


def parsed(path: Path) -> Module:
    source = path.read_text(encoding="utf-8")
    name = str(path.relative_to(PACKAGE.parent).as_posix())
    return Module(name, source.count("\n"), ast.parse(source, name))


MODULES = [parsed(path) for path in sorted(PACKAGE.rglob("*.py"))]
Rule = Callable[[Module], Iterator[str]]


def layer_of(imported: str) -> str:
    """The layer of an imported name such as slm_lsp.engine.base.Engine."""
    rest = imported.removeprefix("slm_lsp").removeprefix(".")
    if any(rest == name or rest.startswith(f"{name}.") for name in RIM):
        return next(name for name in RIM if rest == name or rest.startswith(f"{name}."))
    layer = rest.partition(".")[0]
    return layer if layer in MAY_IMPORT else ""  # a name of slm_lsp/__init__.py


def wrong_imports(module: Module) -> Iterator[str]:
    """A sentence for each import that points up or sideways."""
    if module.layer in RIM:
        return
    assert module.layer in MAY_IMPORT, (
        f"{module.path}: a new package; say in MAY_IMPORT what it may import"
    )
    allowed = {module.layer, "", *MAY_IMPORT[module.layer]}
    for each in module.imports():
        if each.module.split(".")[0] != "slm_lsp":
            continue
        layer = layer_of(each.module)
        if layer in allowed or (each.typing and layer in MAY_NAME.get(module.layer, ())):
            continue
        yield (
            f"{module.path}:{each.line} imports {each.module}, but {module.layer or 'slm_lsp'} "
            f"may import only {', '.join(sorted(allowed - {''})) or 'nothing'}: move what is "
            "needed down, or hand it in as an argument"
        )


def wrong_libraries(module: Module) -> Iterator[str]:
    """A sentence for each import that is reserved to somebody else."""
    for each in module.imports():
        top = each.module.split(".")[0]
        if top.startswith(GRAMMARS):
            yield f"{module.path}:{each.line}: name {top} as a value in a file of slm_lsp/languages"
        allowed = ONLY_IN.get(top)
        if allowed and not module.path.startswith(allowed):
            yield (
                f"{module.path}:{each.line} imports {top}, which only {', '.join(allowed)} may: "
                "put a function there and call it"
            )


def functions(module: Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in module.nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            yield node


def length_of(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a function, without those of functions in it that a decorator registers."""
    registered = [
        inner
        for inner in function.body
        if isinstance(inner, (ast.FunctionDef, ast.AsyncFunctionDef)) and inner.decorator_list
    ]
    lines = (function.end_lineno or 0) - function.lineno + 1
    return lines - sum(map(length_of, registered))


def too_long(module: Module) -> Iterator[str]:
    """A sentence for a module and for each function that is too long."""
    if module.lines > MAX_MODULE_LINES:
        yield f"{module.path} has {module.lines} lines: split it by what it owns"
    for function in functions(module):
        limit = LONGER.get((module.path, function.name), MAX_FUNCTION_LINES)
        if (length := length_of(function)) > limit:
            yield (
                f"{module.path}:{function.lineno}: {function.name} has {length} lines: "
                "give a part of it a name of its own"
            )


def bad_names(module: Module) -> Iterator[str]:
    """A sentence for each name that says nothing."""
    named = [(module.path.rpartition("/")[2].removesuffix(".py"), 1)]
    for node in module.nodes:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            named.append((node.name, node.lineno))
    for name, line in named:
        plain = name.strip("_").lower()
        if plain in FORBIDDEN_WHOLE or any(word in plain for word in FORBIDDEN):
            yield f"{module.path}:{line}: {name!r} says nothing: name what it owns or does"


def missing_docs(module: Module) -> Iterator[str]:
    """What a module's docstring lacks."""
    doc = ast.get_docstring(module.tree) or ""
    name = module.path.rpartition("/")[2]
    if name == "__init__.py" and not module.tree.body:
        return
    if not doc:
        yield f"{module.path}: begin with a docstring: what it owns, its invariant, its threads"
    defines = any(
        isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef))
        for node in module.tree.body
    )
    if defines and name not in ("__init__.py", "__main__.py") and "Invariant" not in doc:
        yield f"{module.path}: its docstring should say the `Invariant:` that it keeps"


@pytest.mark.parametrize(
    "rule", [wrong_imports, wrong_libraries, too_long, missing_docs, bad_names]
)
def test_the_package_keeps_the_rule(rule: Rule) -> None:
    found = [sentence for module in MODULES for sentence in rule(module)]
    assert not found, "\n" + "\n".join(found)


def test_the_list_of_longer_functions_is_current() -> None:
    long = {
        (module.path, function.name)
        for module in MODULES
        for function in functions(module)
        if length_of(function) > MAX_FUNCTION_LINES
    }
    assert set(LONGER) <= long, f"take out of LONGER: {set(LONGER) - long}"


def module_of(path: str, source: str) -> Module:
    return Module(path, source.count("\n"), ast.parse(source))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("slm_lsp/text/document.py", "from slm_lsp.completion import reuse"),
        ("slm_lsp/text/document.py", "def f() -> None:\n    import slm_lsp.engine.base\n"),
        ("slm_lsp/engine/run.py", "from slm_lsp.config import Config"),
        ("slm_lsp/engine/run.py", "from slm_lsp import config"),
        ("slm_lsp/registry/pull.py", "from slm_lsp.deadline import Deadline"),
        ("slm_lsp/prompt/fim.py", "if TYPE_CHECKING:\n    from slm_lsp.config import Config"),
        ("slm_lsp/lsp/server.py", "from slm_lsp.wiring import start_engine"),
        ("slm_lsp/completion/completer.py", "from slm_lsp.lsp.stdio import serve"),
    ],
)
def test_an_import_that_points_up_is_found(path: str, source: str) -> None:
    assert len(list(wrong_imports(module_of(path, source)))) == 1


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("slm_lsp/lsp/server.py", "from slm_lsp import __version__"),
        ("slm_lsp/engine/speed.py", "if TYPE_CHECKING:\n    from slm_lsp.config import Config"),
        ("slm_lsp/cli.py", "from slm_lsp.lsp.stdio import serve"),
    ],
)
def test_an_import_that_points_down_is_left_alone(path: str, source: str) -> None:
    assert not list(wrong_imports(module_of(path, source)))


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("slm_lsp/cli.py", "import pygls.lsp.server"),
        ("slm_lsp/context/extract.py", "from tree_sitter import Node"),
        ("slm_lsp/context/syntax.py", "import tree_sitter_python"),
        ("slm_lsp/engine/vocabulary.py", "def f() -> None:\n    from llama_cpp import llama_cpp"),
        ("slm_lsp/registry/pull.py", "from ctypes import c_int"),
    ],
)
def test_a_library_in_the_wrong_place_is_found(path: str, source: str) -> None:
    assert len(list(wrong_libraries(module_of(path, source)))) == 1


def test_what_is_too_long_is_found() -> None:
    source = "def f():\n" + "    pass\n" * MAX_FUNCTION_LINES + "\n" * MAX_MODULE_LINES
    assert len(list(too_long(module_of("slm_lsp/text/document.py", source)))) == 2


def test_names_and_docstrings_that_are_wrong_are_found() -> None:
    module = module_of("slm_lsp/text/utils.py", '"""Texts."""\nclass DataManager:\n    pass\n')
    assert len(list(bad_names(module))) == 2
    assert len(list(missing_docs(module))) == 1
