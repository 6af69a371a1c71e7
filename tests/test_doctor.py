"""The doctor: every finding that is not fine says what to do, and no check raises.

Owns: machines that lack something, made with monkeypatch.

Invariant: nothing is fetched and nothing native is loaded, but by the test marked `model`.
"""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import psutil
import pytest
from test_gguf_header import TEXT, gguf, key, text

from slm_lsp import control, doctor
from slm_lsp.config import Config
from slm_lsp.control import Found
from slm_lsp.doctor import Finding, examine, render
from slm_lsp.engine import speed
from slm_lsp.engine.base import ModelLoadError
from slm_lsp.engine.rendezvous import Place, RendezvousError
from slm_lsp.engine.speed import Speed
from slm_lsp.types import FimTemplate
from slm_lsp.wiring import ModelFile

CHECKS = ["python", "compiler", "llama.cpp", "threads", "memory", "daemon", "model", "speed"]
FAST = Speed(load_ms=400, prefill_per_s=700, decode_per_s=150)


def native(features: bytes = b"CPU : AVX2 = 1 | ") -> ModuleType:
    module: Any = ModuleType("llama_cpp")
    module.__version__ = "0.0"
    module.llama_print_system_info = lambda: features
    return module  # type: ignore[no-any-return]


@pytest.fixture(autouse=True)
def model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> Path:
    """A machine that has everything; its model file."""
    path = tmp_path / "tiny.gguf"
    # A header of version 3 that holds nothing.
    path.write_bytes(b"GGUF\x03" + bytes(2_000_000))
    if "model" in request.keywords:
        return path
    monkeypatch.setitem(sys.modules, "llama_cpp", native())
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    monkeypatch.setattr(doctor, "obtain", lambda *_: ModelFile("tiny", path, None))
    monkeypatch.setattr(doctor, "usable_cores", lambda: 64)
    monkeypatch.setattr(control, "find_daemons", list)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=8e9))
    monkeypatch.setattr(speed, "measure", lambda *_: FAST)
    return path


def examined(config: Config | None = None) -> dict[str, Finding]:
    """The findings by name, each of them with advice if it is not fine."""
    findings = examine(config or Config())
    for finding in findings:
        assert finding.found
        assert finding.ok or finding.advice, f"{finding.check} must say what to do"
    assert [finding.check for finding in findings] == CHECKS[: len(findings)]
    return {finding.check: finding for finding in findings}


def problems(config: Config | None = None) -> list[str]:
    return [name for name, finding in examined(config).items() if not finding.ok]


def test_daemons(monkeypatch: pytest.MonkeyPatch) -> None:
    assert examined()["daemon"].found == "none runs"
    silent = Found(Place(Path("/run"), "d"), 7, trouble="it does not answer")
    monkeypatch.setattr(control, "find_daemons", lambda: [silent])
    finding = examined()["daemon"]
    assert not finding.ok
    assert "it does not answer" in finding.found
    assert "kill -9 7" in finding.advice

    def refuse() -> list[Found]:
        raise RendezvousError("others can enter")

    monkeypatch.setattr(control, "find_daemons", refuse)
    assert examined()["daemon"].found == "others can enter"
    found = [finding.check for finding in examine(Config(engine="inproc"))]
    assert found == [name for name in CHECKS if name != "daemon"]


def test_a_machine_that_has_everything() -> None:
    findings = examined()
    assert list(findings) == CHECKS
    assert all(finding.ok and not finding.advice for finding in findings.values())
    assert "tiny.gguf (2 MB)" in findings["model"].found
    assert "reads 700 tokens/s, writes 150 tokens/s" in findings["speed"].found


def test_a_model_made_for_chat(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    chat = key("tokenizer.chat_template", TEXT, text("{{ messages }}"))
    model.write_bytes(gguf(chat, rest=bytes(2_000_000)))
    finding = examined()["model"]
    assert finding.ok
    assert finding.advice.startswith("it has a chat template and no fill-in-the-middle tokens")
    # A registry entry says how it is prompted.
    template = FimTemplate("prefix-only", ("{prefix}",))
    monkeypatch.setattr(doctor, "obtain", lambda *_: ModelFile("tiny", model, template))
    assert examined()["model"].advice == ""


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None if "+" in name else f"/bin/{name}")
    # It is no problem as long as what it is needed for is there.
    monkeypatch.setattr("importlib.util.find_spec", lambda _: object())
    compiler = examined()["compiler"]
    assert compiler.ok
    assert "build-essential" in compiler.advice
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    assert problems() == ["compiler"]


@pytest.mark.parametrize("error", [ImportError, OSError, RuntimeError])
def test_no_llama_cpp(error: type[Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    class Broken:
        def find_spec(self, name: str, *_: Any) -> None:
            if name == "llama_cpp":
                raise error("libllama.so: cannot open shared object file")

    monkeypatch.delitem(sys.modules, "llama_cpp")
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    findings = examined()
    assert not findings["llama.cpp"].ok
    assert "libllama.so" in findings["llama.cpp"].found
    assert "pip install" in findings["llama.cpp"].advice
    assert "speed" not in findings, "nothing can be measured"


def test_llama_cpp_without_fast_instructions(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llama_cpp", native(b"CPU : SSE3 = 1 | "))
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert "AVX2" in examined()["llama.cpp"].advice
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert examined()["llama.cpp"].advice == ""


def test_more_threads_than_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "usable_cores", lambda: 2)
    assert problems(Config(threads=2, batch_threads=2)) == []
    assert problems(Config(threads=3, batch_threads=2)) == ["threads"]
    assert "at most 2" in examined(Config(threads=1, batch_threads=3))["threads"].advice


def test_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1e8))
    assert problems() == ["memory"]
    assert "0.1 GB" in examined()["memory"].found


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "cannot read"), (b"", "not a GGUF"), (b"<html>", "not a GGUF")],
)
@pytest.mark.parametrize("by_path", [True, False])
def test_a_model_file_that_is_none(
    model: Path, content: bytes | None, says: str, by_path: bool
) -> None:
    if content is None:
        model.unlink()
    else:
        model.write_bytes(content)
    findings = examined(Config(model=str(model) if by_path else ""))
    assert not findings["model"].ok
    assert says in findings["model"].found
    assert "speed" not in findings
    assert ("path" in findings["model"].advice) is by_path


def test_a_model_that_cannot_be_obtained(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise ModelLoadError("there is no model 'x'; known are tiny")

    monkeypatch.setattr(doctor, "obtain", fail)
    finding = examined(Config(model="x"))["model"]
    assert (finding.ok, finding.found) == (False, "there is no model 'x'; known are tiny")
    assert "models list" in finding.advice


@pytest.mark.parametrize(
    ("model", "advice"),
    [
        ("hf:me/tiny/tiny.gguf", "`slm-lsp models pull hf:me/tiny/tiny.gguf` obtains it"),
        ("lmstudio:me/tiny/tiny.gguf", "`slm-lsp models list --all` shows the files"),
        ("file:/m/tiny.gguf", "give the path of a GGUF file"),
    ],
)
def test_a_location_that_cannot_be_obtained(
    monkeypatch: pytest.MonkeyPatch, model: str, advice: str
) -> None:
    def fail(*_: Any) -> Any:
        raise ModelLoadError("it is not there")

    monkeypatch.setattr(doctor, "obtain", fail)
    finding = examined(Config(model=model))["model"]
    assert not finding.ok
    assert finding.advice.startswith(advice)


@pytest.mark.parametrize("error", [ModelLoadError, RuntimeError, OSError])
def test_a_model_that_cannot_be_run(
    error: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise error("unknown model architecture: 'x'")

    monkeypatch.setattr(speed, "measure", fail)
    assert problems() == ["speed"]
    assert "unknown model architecture" in examined()["speed"].found


@pytest.mark.parametrize(("n_busy", "busy"), [(0.1, False), (64.0, True)])
def test_a_slow_machine(n_busy: float, busy: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(speed, "measure", lambda *_: Speed(400, 50, 30))
    monkeypatch.setattr(psutil, "getloadavg", lambda: (n_busy, 0.0, 0.0))
    assert problems(Config(automatic_budget_ms=2000)) == []
    assert problems() == ["speed"]
    advice = examined()["speed"].advice
    assert "250 ms are short" in advice
    assert ("run this again" in advice) is busy


@pytest.mark.parametrize("check", ["_compiler", "_threads", "_memory", "_model", "_speed"])
def test_a_check_that_fails_is_a_finding(check: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> Any:
        raise ZeroDivisionError("float division by zero")

    monkeypatch.setattr(doctor, check, fail)
    findings = examined()
    assert problems() == [check.removeprefix("_")]
    assert "ZeroDivisionError" in findings[check.removeprefix("_")].found


def test_rendered_for_people() -> None:
    findings = [Finding("python", True, "3.11.7"), Finding("memory", False, "0.1 GB", "close it")]
    assert render(findings, as_json=False).splitlines() == [
        "ok      python     3.11.7",
        "PROBLEM memory     0.1 GB",
        "                   -> close it",
    ]


def test_rendered_for_programs() -> None:
    findings = json.loads(render(examine(Config()), as_json=True))
    assert [finding["check"] for finding in findings] == CHECKS
    assert all(set(each) == {"check", "ok", "found", "advice"} for each in findings)


@pytest.mark.model
def test_this_machine() -> None:
    findings = examined()
    assert list(findings) == CHECKS
    assert findings["llama.cpp"].ok
    assert findings["model"].ok
    assert "tokens/s" in findings["speed"].found
    # No more can be said of a machine that may have other work to do.
    words = findings["speed"].found.split()
    assert float(words[1]) > 0
    assert float(words[4]) > 0
