"""`slm-lsp doctor`: what this machine has, and what to do where it lacks something.

Owns: the checks and their advice.

Invariant: no check raises or changes anything but the model cache; every finding that is not
ok says what to do.

Threads: the main thread.
"""

from __future__ import annotations

import dataclasses
import json
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass

import psutil

from slm_lsp.config import Config, usable_cores
from slm_lsp.engine.base import ModelLoadError
from slm_lsp.engine.llama_load import check_file
from slm_lsp.registry.naming import kind_of
from slm_lsp.wiring import ModelFile, obtain

MIN_FREE_BYTES = 600_000_000
N_SPEED_PROMPT = 256
N_SPEED_DECODE = 32
# Half the automatic budget should be enough to write these.
MIN_TOKENS_IN_BUDGET = 5


@dataclass(frozen=True, slots=True)
class Finding:
    """One check: what was found, whether it is fine, and what to do if it is not."""

    check: str
    ok: bool
    found: str
    advice: str = ""


def examine(config: Config) -> list[Finding]:
    """All checks, in the order in which they depend on each other."""
    if config.server_url:
        server = _guarded("server", lambda: _server(config))
        if config.server_fallback == "off":
            return [_guarded("python", _python), server]
        return [server, *examine(dataclasses.replace(config, server_url=""))]
    native = _guarded("llama.cpp", _llama_cpp)
    findings = [
        _guarded("python", _python),
        _guarded("compiler", _compiler),
        native,
        _guarded("threads", lambda: _threads(config)),
        _guarded("memory", _memory),
    ]
    if config.engine == "daemon":
        findings.append(_guarded("daemon", _daemons))
    found: list[ModelFile] = []
    findings.append(_guarded("model", lambda: _model(config, found)))
    if found and native.ok:
        findings.append(_guarded("speed", lambda: _speed(config, found[0])))
    return findings


def _guarded(name: str, check: Callable[[], Finding]) -> Finding:
    """A check's finding; a check that fails itself is one, too."""
    try:
        return check()
    except Exception as error:
        found = f"the check failed: {type(error).__name__}: {error}"
        return Finding(name, False, found, "report this as a bug of slm-lsp, with this text")


def render(findings: list[Finding], *, as_json: bool) -> str:
    """The findings for people, or for programs."""
    if as_json:
        return json.dumps([dataclasses.asdict(finding) for finding in findings], indent=1)
    lines = []
    for finding in findings:
        mark = "ok     " if finding.ok else "PROBLEM"
        lines.append(f"{mark} {finding.check:<10} {finding.found}")
        if finding.advice:
            lines.append(f"{'':18} -> {finding.advice}")
    return "\n".join(lines)


def _python() -> Finding:
    version = platform.python_version()
    ok = sys.version_info >= (3, 11)
    return Finding(
        "python", ok, f"{version} ({sys.executable})", "" if ok else "use Python 3.11 or newer"
    )


def _compiler() -> Finding:
    found = [name for name in ("cc", "gcc", "clang") if shutil.which(name)]
    found_cxx = [name for name in ("c++", "g++", "clang++") if shutil.which(name)]
    if found and found_cxx:
        return Finding("compiler", True, f"{found[0]}, {found_cxx[0]}")
    return Finding(
        "compiler",
        _has_llama_cpp(),
        "none found; needed only to install llama-cpp-python",
        "Debian, Ubuntu: apt-get install build-essential; Fedora: dnf install gcc-c++; "
        "macOS: xcode-select --install",
    )


def _has_llama_cpp() -> bool:
    from importlib.util import find_spec

    return find_spec("llama_cpp") is not None


def _llama_cpp() -> Finding:
    try:
        import llama_cpp
    except Exception as error:  # a broken native library raises whatever it likes
        return Finding(
            "llama.cpp",
            False,
            f"does not load: {error}",
            "pip install --force-reinstall --no-cache-dir llama-cpp-python",
        )
    features = llama_cpp.llama_print_system_info().decode().strip(" |")
    slow = platform.machine() in ("x86_64", "AMD64") and "AVX2 = 1" not in features
    return Finding(
        "llama.cpp",
        True,
        f"llama-cpp-python {llama_cpp.__version__}: {features}",
        "built without AVX2: reinstall it on this machine for speed" if slow else "",
    )


def _threads(config: Config) -> Finding:
    cores = usable_cores()
    found = f"{cores} cores: {config.n_threads} to generate, {config.n_threads_batch} for prompts"
    too_many = max(config.n_threads, config.n_threads_batch) > cores
    advice = f"set threads and batch_threads to at most {cores}" if too_many else ""
    return Finding("threads", not too_many, found, advice)


def _memory() -> Finding:
    free = psutil.virtual_memory().available
    ok = free >= MIN_FREE_BYTES
    return Finding(
        "memory",
        ok,
        f"{free / 1e9:.1f} GB available",
        "" if ok else "close programs: the default model needs 0.6 GB",
    )


def _daemons() -> Finding:
    """This user's daemons; that none runs is fine, as `serve` starts what it needs."""
    from slm_lsp.control import find_daemons
    from slm_lsp.engine.rendezvous import RendezvousError

    try:
        found = find_daemons()
    except RendezvousError as error:
        return Finding("daemon", False, str(error), "or set engine to inproc")
    silent = [f"`kill -9 {each.pid}`" for each in found if each.trouble]
    lines = "; ".join(each.line() for each in found) or "none runs"
    return Finding("daemon", not silent, lines, " and ".join(silent))


def _server(config: Config) -> Finding:
    """Whether the user's server is there, has the model, and answers in time."""
    from slm_lsp.server_check import check

    ok, found, advice = check(config)
    return Finding("server", ok, found, advice)


def _model(config: Config, found: list[ModelFile]) -> Finding:
    """Whether there is a model file; puts it into `found` if so."""
    from slm_lsp.registry.progress_bar import show_progress

    try:
        # It may be gigabytes that have to be fetched.
        with show_progress() as progress:
            model = obtain(config, progress)
        check_file(model.path)
        size = model.path.stat().st_size
    except (ModelLoadError, OSError) as error:
        return Finding("model", False, str(error), _model_advice(config))
    found.append(model)
    here = f"{model.name}: {model.path} ({size / 1e6:.0f} MB)"
    return Finding("model", True, here, _made_for_chat(model))


def _made_for_chat(model: ModelFile) -> str:
    """What to expect of a model that is for chat alone."""
    from slm_lsp.gguf.header import GgufError
    from slm_lsp.gguf.reader import read_header
    from slm_lsp.prompt.chat import chat_warning
    from slm_lsp.registry.describe import info_of

    try:
        info = info_of(read_header(model.path), model.name)
    except (GgufError, OSError):
        return ""  # what is wrong with it is said when it is loaded
    return chat_warning(dataclasses.replace(info, template=model.template))


def _model_advice(config: Config) -> str:
    kind = kind_of(config.model)
    if kind == "path":
        return "give the path of a GGUF file, or leave out --model to use the default model"
    if kind == "location":
        return f"`slm-lsp models pull {config.model}` obtains it and shows how far it is"
    if kind == "found":
        return "`slm-lsp models list --all` shows the files that other programs have"
    return "`slm-lsp models list` names the models, `slm-lsp models pull` obtains one"


def _speed(config: Config, model: ModelFile) -> Finding:
    """Prefill and decode rates of the model on this machine."""
    from slm_lsp.engine.speed import measure

    try:
        speed = measure(config, model.path, model.name, N_SPEED_PROMPT, N_SPEED_DECODE)
    except (ModelLoadError, RuntimeError, OSError) as error:
        advice = "obtain the file again (`slm-lsp models pull --force`), or choose another model"
        return Finding("speed", False, str(error), advice)
    n_fits = int(config.automatic_budget_ms / 1e3 * speed.decode_per_s / 2)
    found = (
        f"reads {speed.prefill_per_s:.0f} tokens/s, writes {speed.decode_per_s:.0f} tokens/s, "
        f"loads in {speed.load_ms:.0f} ms"
    )
    slow = n_fits < MIN_TOKENS_IN_BUDGET
    return Finding("speed", not slow, found, _speed_advice(config) if slow else "")


def _speed_advice(config: Config) -> str:
    advice = (
        f"{config.automatic_budget_ms:g} ms are short for this model: `slm-lsp tune` finds one "
        "that keeps them, or raise automatic_budget_ms"
    )
    n_busy = psutil.getloadavg()[0]
    if n_busy >= usable_cores():
        advice = f"programs keep {n_busy:.0f} cores busy: run this again without them; or: {advice}"
    return advice
