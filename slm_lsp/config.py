"""The settings, from defaults, the user's file, the environment and the editor's options.

Owns: names, types, defaults and limits of every setting; `Config` is frozen.

Invariant: reading settings never raises. A wrong value keeps the one it would have replaced
and leaves a sentence that names the setting, where it was found and what it may be.

Threads: any.
"""

from __future__ import annotations

import dataclasses
import os
import reprlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

ENV_PREFIX = "SLM_LSP_"
# Names that `engine.ctransformers_load` knows (a test holds them together).
GGML_FAMILIES = ("starcoder", "santacoder", "gpt_bigcode", "gptj", "codegen", "mpt", "replit")


def usable_cores() -> int:
    """Cores this process may run on."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on every platform
        return os.cpu_count() or 1


def _setting(
    default: Any,
    doc: str,
    low: float | None = None,
    high: float | None = None,
    choices: tuple[str, ...] = (),
) -> Any:
    metadata = {"doc": doc, "low": low, "high": high, "choices": choices}
    return field(default=default, metadata=metadata)


def _switch(default: bool, doc: str) -> Any:
    return _setting("on" if default else "off", doc, choices=("on", "off"))


def default_engine() -> str:
    """The daemon, where the platform can tell it which user is at the other end of a socket."""
    capable = hasattr(socket, "AF_UNIX") and hasattr(socket, "SO_PEERCRED")
    return "daemon" if capable else "inproc"


@dataclass(frozen=True, slots=True)
class Config:
    """Every setting; the metadata of a field documents it and limits its value."""

    model: str = _setting(
        "", "name of a model, path of a model file, or a location of one; empty: the default"
    )
    quantization: str = _setting("", "which quantization of the model; empty: its default")
    library: str = _setting(
        "llama.cpp",
        "what runs the model: llama.cpp, or for older files ctransformers",
        choices=("llama.cpp", "ctransformers"),
    )
    model_type: str = _setting(
        "",
        "family of an older (GGML) file, for ctransformers; empty: the one that it fits",
        choices=("", *GGML_FAMILIES),
    )
    gpu_layers: int = _setting(0, "layers on the GPU, by llama.cpp; -1: all", -1, 1000)
    automatic_budget_ms: float = _setting(250.0, "time to answer while typing", 10, 60_000)
    invoked_budget_ms: float = _setting(1500.0, "time to answer when asked for", 10, 600_000)
    max_line_tokens: int = _setting(48, "longest completion of a line", 1, 1024)
    max_block_tokens: int = _setting(128, "longest completion of a block", 1, 2048)
    max_block_lines: int = _setting(12, "most lines of a block", 1, 200)
    prompt_tokens: int = _setting(1024, "most tokens of code shown to the model", 64, 65_536)
    context_tokens: int = _setting(2048, "size of the model's context, a document", 256, 131_072)
    threads: int = _setting(0, "threads for generating; 0: chosen by core count", 0, 256)
    batch_threads: int = _setting(0, "threads for reading prompts; 0: all cores", 0, 256)
    engine: str = _setting(
        default_engine(),
        "where the model is: in a daemon that all editor windows share, or in the server",
        choices=("daemon", "inproc"),
    )
    daemon_idle_minutes: float = _setting(
        30.0, "time without a request after which the daemon ends", 0.01, 10_080
    )
    server_url: str = _setting("", "a server of yours that is asked instead; empty: none")
    server_api: str = _setting(
        "auto",
        "how that server is spoken to",
        choices=("auto", "openai", "llama", "infill", "ollama", "mistral", "deepseek"),
    )
    server_model: str = _setting("", "which of the server's models; empty: its first")
    server_template: str = _setting(
        "", "registry entry or family whose prompts the server's model takes; empty: found out"
    )
    server_key_variable: str = _setting(
        "SLM_LSP_SERVER_KEY", "environment variable with the server's key; else the keyring's"
    )
    server_insecure: str = _switch(False, "allow a server without TLS at a private address")
    server_fallback: str = _switch(True, "ask the local model where the server is late or broken")
    server_head_start_ms: float = _setting(
        120.0, "time the server has to begin before the local model does", 0, 60_000
    )
    reuse: str = _switch(True, "answer from what was shown before while it is typed")
    anchors: str = _switch(True, "keep a prompt as it was read, and put what is typed behind it")
    carry_on: str = _switch(True, "finish in the background what the deadline cut")
    warm_ahead: str = _switch(True, "read a place ahead of the first request for it")
    speculate: str = _switch(False, "write ahead what would follow an accepted suggestion")
    lexical: str = _switch(True, "answer from the open files where the model has no time")
    syntax_gate: str = _switch(True, "cut or leave out text that adds a syntax error")
    snippets: str = _switch(True, "show the model what other files of the workspace define")
    workspace_index: str = _switch(True, "keep an index of the workspace's files on the disk")
    drafts: str = _switch(True, "try what was written before, where that should save time")
    confidence_gate: str = _switch(True, "hide what the model is not sure of; learns from you")
    keep_kv: str = _switch(True, "keep on the disk what the model has read, for its next start")
    keep_ready: str = _switch(True, "keep a process ready that is forked for the next editor")
    secret_files: str = _switch(False, "complete in files that hold secrets (.env, keys, …), too")
    trace: str = _setting("", "file that gets one JSON line a request")

    @property
    def n_threads(self) -> int:
        """Threads for decoding: half the cores, which a small model hardly gains from."""
        return self.threads or max(1, min(4, usable_cores() // 2))

    @property
    def n_threads_batch(self) -> int:
        """Threads for prefill, which every core speeds up."""
        return self.batch_threads or max(1, min(16, usable_cores()))


FIELDS = {each.name: each for each in dataclasses.fields(Config)}


def apply(config: Config, values: Any, source: str) -> tuple[Config, list[str]]:
    """`config` with `values` put in, and what is wrong with them."""
    if not isinstance(values, Mapping):
        return config, [f"{source}: settings must be a table of names and values"]
    good: dict[str, Any] = {}
    problems: list[str] = []
    for name, value in values.items():
        if name not in FIELDS:
            problems.append(f"{source}: there is no setting {_shown(name)}{_similar(name)}")
            continue
        checked = _checked(name, value)
        if isinstance(checked, _Problem):
            problems.append(f"{source}: {name} {checked}, not {_shown(value)}")
        else:
            good[name] = checked
    return dataclasses.replace(config, **good), problems


class _Problem(str):
    """What a value should have been."""


def _shown(value: Any) -> str:
    """A wrong value in a message, shortened; it may be anything that JSON can hold."""
    short = reprlib.Repr()
    short.maxstring = short.maxother = 80
    try:
        return short.repr(value)
    except ValueError:  # an integer too long to be written
        return "a number that long"


def _similar(name: Any) -> str:
    """A hint at the setting that may be meant."""
    from difflib import get_close_matches

    near = get_close_matches(name[:40], FIELDS, 1) if isinstance(name, str) else []
    return f"; did you mean {near[0]!r}?" if near else ""


def _checked(name: str, value: Any) -> Any:
    """The value in the setting's type, or a _Problem."""
    kind: type = type(FIELDS[name].default)
    low, high = FIELDS[name].metadata["low"], FIELDS[name].metadata["high"]
    if kind is str:
        return _checked_text(value, FIELDS[name].metadata["choices"])
    try:
        if isinstance(value, bool) or not isinstance(value, (int, float, str)):
            raise ValueError
        number = kind(value)
        if isinstance(value, float) and kind is int and value != number:
            raise ValueError
    except (TypeError, ValueError, OverflowError):
        whole = "a whole number" if kind is int else "a number"
        return _Problem(f"must be {whole} from {low:g} to {high:g}")
    return number if low <= number <= high else _Problem(f"must be from {low:g} to {high:g}")


def _checked_text(value: Any, choices: tuple[str, ...]) -> Any:
    if not isinstance(value, str):
        return _Problem("must be text")
    if choices and value not in choices:
        return _Problem(f"must be {' or '.join(map(repr, choices))}")
    return value


def from_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """Settings named SLM_LSP_…; other variables of that prefix are not settings, and an
    empty variable is one that is not set."""
    names = {ENV_PREFIX + name.upper(): name for name in FIELDS}
    return {names[key]: value for key, value in environ.items() if key in names and value}


def read_file(path: Path) -> tuple[dict[str, Any], list[str]]:
    """Settings of a TOML file; none, without complaint, where there is no file."""
    try:
        content = path.read_text(encoding="utf-8")
        # Few have a file, and every start would pay for the import.
        import tomllib

        return tomllib.loads(content), []
    except FileNotFoundError:
        return {}, []
    except OSError as error:
        return {}, [f"{path}: cannot be read: {error.strerror or error}"]
    except ValueError as error:  # not UTF-8, not TOML, or too long a number
        return {}, [f"{path}: cannot be read: {error}"]
    except RecursionError:
        return {}, [f"{path}: cannot be read: nested too deeply"]


def load(
    path: Path | None = None,
    environ: Mapping[str, str] | None = None,
    options: Mapping[str, Any] | None = None,
) -> tuple[Config, list[str]]:
    """Defaults, then the file, then the environment, then options; and what is wrong."""
    config, problems = Config(), []
    if path is not None:
        values, found = read_file(path)
        problems += found
        config, found = apply(config, values, str(path))
        problems += found
    config, found = apply(config, from_environment(environ or {}), "environment")
    problems += found
    config, found = apply(config, options or {}, "command line")
    return config, problems + found
