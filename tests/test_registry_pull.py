"""Pulling a model: what comes out, what stays behind, and what the user is told.

Invariant: no network. pip is real where its behaviour matters and is pointed at a folder;
the quantizer is a stub except in the test marked `model`.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import pickle
import shutil
import stat
import subprocess
import sys
import threading
import time
import venv
import zipfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from slm_lsp.registry import quantize, steps
from slm_lsp.registry.listing import format_list, rows
from slm_lsp.registry.progress_bar import show_progress
from slm_lsp.registry.pull import PullError, PullProgress, model_path, pull, state, verify
from slm_lsp.registry.specs import (
    DEFAULT_MODEL,
    ModelSpec,
    QuantizationSpec,
    SpecError,
    WheelSource,
    load_specs,
)
from slm_lsp.types import FimTemplate

MEMBER = "tiny_model/tiny.gguf"
CONTENT = b"GGUF" + bytes(range(256)) * 40
CHECKOUT = Path(__file__).parents[1]


class Usage(NamedTuple):
    total: int
    used: int
    free: int


def no_tick() -> None:
    pass


class FakeSteps:
    """Both child steps without children: hands out the wheel, and doubles each byte."""

    def __init__(self, wheel: Path) -> None:
        self.wheel = wheel
        self.n_downloads = 0
        self.n_requantized = 0
        self.fails_with: BaseException | None = None

    def download(self, source: WheelSource, folder: Path, tick: Callable[[], None]) -> Path:
        self.n_downloads += 1
        copy = folder / self.wheel.name
        shutil.copy(self.wheel, copy)
        tick()
        return copy

    def requantize(
        self, source: Path, target: Path, quantization: str, tick: Callable[[], None]
    ) -> None:
        self.n_requantized += 1
        target.write_bytes(source.read_bytes())
        tick()
        if self.fails_with is not None:
            raise self.fails_with
        target.write_bytes(source.read_bytes() * 2)

    def pull(self, spec: ModelSpec, cache: Path, **options: str | bool) -> Path:
        return pull(
            spec,
            cache_dir=cache,
            download=self.download,
            requantize=self.requantize,
            **options,  # type: ignore[arg-type]
        )


def build_wheel(folder: Path, members: dict[str, bytes]) -> Path:
    folder.mkdir(exist_ok=True)
    wheel = folder / "tiny_model-1.0-py3-none-any.whl"
    info = "tiny_model-1.0.dist-info"
    tags = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
        archive.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n"
        )
        archive.writestr(f"{info}/WHEEL", tags)
        archive.writestr(f"{info}/RECORD", "")
    return wheel


def build_spec(wheel: Path) -> ModelSpec:
    size_bytes = len(CONTENT)
    source = WheelSource(
        package="tiny-model",
        version="1.0",
        member=MEMBER,
        quantization="Q4_1",
        download_bytes=wheel.stat().st_size,
        size_bytes=size_bytes,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
    )
    return ModelSpec(
        name="tiny",
        title="Tiny",
        licence="MIT",
        architecture="llama",
        context_tokens=512,
        sources=(source,),
        quantizations=(
            QuantizationSpec("Q8_0", 2 * size_bytes),
            QuantizationSpec("Q4_1", size_bytes),
        ),
        template=FimTemplate("psm", ("{prefix}", "{suffix}")),
    )


def wheel_of(spec: ModelSpec) -> WheelSource:
    (source,) = spec.sources
    assert isinstance(source, WheelSource)
    return source


def other_source(spec: ModelSpec, **changes: Any) -> ModelSpec:
    return replace(spec, sources=(replace(wheel_of(spec), **changes),))


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    return build_wheel(tmp_path / "wheels", {MEMBER: CONTENT})


@pytest.fixture
def spec(wheel: Path) -> ModelSpec:
    return build_spec(wheel)


@pytest.fixture
def fake(wheel: Path) -> FakeSteps:
    return FakeSteps(wheel)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def pip_sees_wheels(wheel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheel.parent))


def leftovers(cache: Path) -> list[str]:
    """What a pull that failed left in the cache beside its lock."""
    return sorted(path.name for path in (cache / "models").iterdir() if path.name != ".locks")


def check_refused(spec: ModelSpec, fake: FakeSteps, cache: Path, *says: str) -> None:
    """Pulling fails with a message that holds all of `says`, and leaves nothing."""
    with pytest.raises(PullError) as caught:
        fake.pull(spec, cache)
    for text in says:
        assert text in str(caught.value)
    assert state(spec, cache_dir=cache) == "absent"
    assert leftovers(cache) == []


# What comes out


@pytest.mark.usefixtures("pip_sees_wheels")
def test_the_real_pip_fetches_and_the_file_is_ready(
    spec: ModelSpec, fake: FakeSteps, cache: Path
) -> None:
    seen: list[PullProgress] = []
    assert state(spec, cache_dir=cache) == "absent"
    file = pull(spec, cache_dir=cache, progress=seen.append, requantize=fake.requantize)
    assert file == cache / "models" / "tiny.Q8_0.gguf"
    assert file.read_bytes() == CONTENT * 2
    assert state(spec, cache_dir=cache) == verify(spec, cache_dir=cache) == "ready"
    assert leftovers(cache) == ["tiny.Q8_0.gguf", "tiny.Q8_0.gguf.json"]
    for folder in (cache, cache / "models"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    stages = list(dict.fromkeys(one.stage for one in seen))
    assert stages == ["download", "verify", "requantize"]
    for stage in stages:
        done = [one.done_bytes for one in seen if one.stage == stage]
        assert done == sorted(done)
        assert done[0] == 0
        assert done[-1] == next(one.total_bytes for one in seen if one.stage == stage)


def test_a_second_pull_does_nothing(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    assert fake.pull(spec, cache) == fake.pull(spec, cache)
    assert (fake.n_downloads, fake.n_requantized) == (1, 1)
    fake.pull(spec, cache, force=True)
    assert (fake.n_downloads, fake.n_requantized) == (2, 2)


def test_the_published_quantization_is_only_unzipped(
    spec: ModelSpec, fake: FakeSteps, cache: Path
) -> None:
    assert fake.pull(spec, cache, quantization="Q4_1").read_bytes() == CONTENT
    assert fake.n_requantized == 0
    assert state(spec, "Q4_1", cache) == "ready"
    assert state(spec, "Q8_0", cache) == "absent"


def test_an_unknown_quantization_is_refused(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    with pytest.raises(SpecError, match="Q2_K"):
        fake.pull(spec, cache, quantization="Q2_K")


def test_the_cache_folder_can_be_set_in_the_environment(
    spec: ModelSpec, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("SLM_LSP_CACHE_DIR", str(tmp_path / "elsewhere"))
    assert model_path(spec) == tmp_path / "elsewhere" / "models" / "tiny.Q8_0.gguf"
    monkeypatch.setenv("SLM_LSP_CACHE_DIR", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert model_path(spec).parts[-3:] == ("slm-lsp", "models", "tiny.Q8_0.gguf")


# What is refused


def test_a_wrong_hash_names_both(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    found, expected = wheel_of(spec).sha256, "0" * 64
    spec = other_source(spec, sha256=expected)
    check_refused(spec, fake, cache, found, expected, "Nothing was kept")
    assert fake.n_requantized == 0


def test_a_wrong_size_names_both(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    found = wheel_of(spec).size_bytes
    spec = other_source(spec, size_bytes=found + 1)
    check_refused(spec, fake, cache, f"{found} bytes", f"expected {found + 1}")


def test_a_missing_member_is_named(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    build_wheel(fake.wheel.parent, {"tiny_model/other.gguf": CONTENT})
    check_refused(spec, fake, cache, f"holds no {MEMBER}")


def test_a_cut_wheel_is_refused(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    fake.wheel.write_bytes(fake.wheel.read_bytes()[:-100])
    check_refused(spec, fake, cache, "is broken")


def test_a_damaged_wheel_is_refused(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    content = bytearray(fake.wheel.read_bytes())
    content[len(MEMBER) + 60] ^= 0xFF
    fake.wheel.write_bytes(content)
    check_refused(spec, fake, cache, "Nothing was kept")


def test_an_output_of_a_wrong_size_is_refused(
    spec: ModelSpec, fake: FakeSteps, cache: Path
) -> None:
    spec = replace(spec, quantizations=(QuantizationSpec("Q8_0", 10 * len(CONTENT)),))
    check_refused(spec, fake, cache, f"wrote {2 * len(CONTENT)} bytes")


@pytest.mark.usefixtures("pip_sees_wheels")
def test_what_pip_says_reaches_the_user(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    spec = other_source(spec, package="no-such-model")
    with pytest.raises(PullError) as caught:
        pull(spec, cache_dir=cache, requantize=fake.requantize)
    for text in ("exit status 1", "No matching distribution found", "PIP_FIND_LINKS"):
        assert text in str(caught.value)
    assert leftovers(cache) == []


def test_an_environment_without_pip_says_so(
    spec: ModelSpec, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    venv.create(tmp_path / "bare", with_pip=False, symlinks=True)
    monkeypatch.setattr(sys, "executable", str(tmp_path / "bare" / "bin" / "python"))
    with pytest.raises(PullError, match="has no pip"):
        pull(spec, cache_dir=cache)


@pytest.mark.usefixtures("pip_sees_wheels")
def test_a_pip_in_the_current_folder_is_not_run(
    spec: ModelSpec, fake: FakeSteps, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "pip.py").write_text("raise SystemExit('the wrong pip')")
    monkeypatch.chdir(tmp_path)
    assert pull(spec, cache_dir=cache, quantization="Q4_1").exists()


# Killed half-way


def test_an_interrupted_pull_leaves_nothing(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    fake.fails_with = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        fake.pull(spec, cache)
    assert leftovers(cache) == []
    fake.fails_with = None
    assert fake.pull(spec, cache).read_bytes() == CONTENT * 2


KILLED_PULL = """
import os, pickle, shutil, signal, sys
from pathlib import Path
from slm_lsp.registry.pull import pull

def download(source, folder, tick):
    return Path(shutil.copy(wheel, folder))

def requantize(source, target, quantization, tick):
    os.kill(os.getpid(), signal.SIGKILL)

spec, wheel, cache = pickle.load(sys.stdin.buffer)
pull(spec, cache_dir=cache, download=download, requantize=requantize)
"""


def test_a_killed_pull_is_cleaned_up_by_the_next(
    spec: ModelSpec, fake: FakeSteps, cache: Path
) -> None:
    died = subprocess.run(
        [sys.executable, "-c", KILLED_PULL],
        input=pickle.dumps((spec, fake.wheel, cache)),
        env={**os.environ, "PYTHONPATH": str(CHECKOUT)},
        check=False,
    )
    assert died.returncode == -9
    assert state(spec, cache_dir=cache) == "absent"
    assert [name.startswith(".pull-") for name in leftovers(cache)] == [True]
    fake.pull(spec, cache)
    assert leftovers(cache) == ["tiny.Q8_0.gguf", "tiny.Q8_0.gguf.json"]


def test_a_child_is_stopped_when_the_caller_is_interrupted(tmp_path: Path) -> None:
    def interrupt() -> None:
        raise KeyboardInterrupt

    endless = [sys.executable, "-c", "import time; time.sleep(20)"]
    began_s = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        steps.run_child(endless, {}, tmp_path, interrupt)
    assert time.monotonic() - began_s < 15


# No room


def test_too_little_room_is_noticed_before_anything_is_fetched(
    spec: ModelSpec, fake: FakeSteps, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10, 10, 100))
    check_refused(spec, fake, cache, "no room", "MB free in", str(cache), "SLM_LSP_CACHE_DIR")
    assert fake.n_downloads == 0


def test_a_disk_that_fills_up_half_way_leaves_nothing(
    spec: ModelSpec, fake: FakeSteps, cache: Path
) -> None:
    fake.fails_with = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    check_refused(spec, fake, cache, "no room", "SLM_LSP_CACHE_DIR")


def test_a_child_that_found_the_disk_full_is_no_mystery(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [sys.executable, "-c", "raise SystemExit('[Errno 28] No space left on device')"]
    with pytest.raises(OSError, match="No space left"):
        steps.run_child(said, {}, tmp_path, no_tick)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10, 10, 0))
    unsaid = [sys.executable, "-c", "raise SystemExit('iostream error')"]
    with pytest.raises(OSError, match="No space left"):
        steps.run_child(unsaid, {}, tmp_path, no_tick)


def test_a_cache_that_is_a_file_is_explained(
    spec: ModelSpec, fake: FakeSteps, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(PullError, match="SLM_LSP_CACHE_DIR"):
        fake.pull(spec, tmp_path / "file")


# Two at once, and damage


def test_two_pulls_at_once_do_the_work_once(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    at_work, go_on = threading.Event(), threading.Event()
    files: list[Path] = []

    def slow(source: Path, target: Path, quantization: str, tick: Callable[[], None]) -> None:
        at_work.set()
        assert go_on.wait(30)
        fake.requantize(source, target, quantization, tick)

    def run() -> None:
        files.append(pull(spec, cache_dir=cache, download=fake.download, requantize=slow))

    threads = [threading.Thread(target=run) for _ in range(2)]
    threads[0].start()
    assert at_work.wait(30)
    threads[1].start()
    # Long enough for the second to reach the work, were there no lock.
    threads[1].join(0.2)
    go_on.set()
    for thread in threads:
        thread.join(30)
    assert files == [cache / "models" / "tiny.Q8_0.gguf"] * 2
    assert (fake.n_downloads, fake.n_requantized) == (1, 1)


def test_a_truncated_file_is_damaged_and_pulled_again(
    spec: ModelSpec, fake: FakeSteps, cache: Path
) -> None:
    file = fake.pull(spec, cache)
    os.truncate(file, 100)
    assert state(spec, cache_dir=cache) == "damaged"
    assert fake.pull(spec, cache).read_bytes() == CONTENT * 2
    assert state(spec, cache_dir=cache) == "ready"


def test_a_changed_byte_is_found_by_verify(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    file = fake.pull(spec, cache)
    file.write_bytes(b"X" + file.read_bytes()[1:])
    assert state(spec, cache_dir=cache) == "ready"
    assert verify(spec, cache_dir=cache) == "damaged"


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"size_bytes": 1}'])
def test_a_file_without_a_valid_sidecar_is_absent(
    spec: ModelSpec, fake: FakeSteps, cache: Path, content: str
) -> None:
    file = fake.pull(spec, cache)
    file.with_name(file.name + ".json").write_text(content)
    assert state(spec, cache_dir=cache) == "absent"


def test_a_file_of_another_source_is_absent(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    fake.pull(spec, cache)
    newer = other_source(spec, sha256="1" * 64)
    assert state(newer, cache_dir=cache) == "absent"


# The quantizer as a child


def test_a_failing_quantizer_is_quoted(tmp_path: Path) -> None:
    source = tmp_path / "source.gguf"
    source.write_bytes(b"not a model")
    with pytest.raises(PullError, match=r"(?s)could not requantize source.gguf.*exit status"):
        steps.requantize(source, tmp_path / "out.gguf", "Q9_9", no_tick)


def test_a_crash_names_the_signal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = Path(quantize.__file__).with_name("quantize.py")
    assert program.exists()
    crashing = tmp_path / "quantize.py"
    crashing.write_text("import os, signal\nos.kill(os.getpid(), signal.SIGSEGV)\n")
    monkeypatch.setattr(steps, "__file__", str(tmp_path / "steps.py"))
    with pytest.raises(PullError, match="killed by SIGSEGV"):
        steps.requantize(tmp_path / "a", tmp_path / "b", "Q8_0", no_tick)


# What the user sees


def test_the_list_shows_each_quantization(spec: ModelSpec, fake: FakeSteps, cache: Path) -> None:
    fake.pull(spec, cache)
    listed = rows({"tiny": spec}, in_use="tiny", cache_dir=cache)
    assert format_list(listed).splitlines() == [
        "   NAME  PARAMS  LICENCE  SIZE  QUANTIZATIONS  STATE",
        "*  tiny  ?       MIT      0 MB  Q8_0 Q4_1      ready",
    ]
    assert format_list(listed, each_quantization=True).splitlines() == [
        "   NAME  PARAMS  LICENCE  SIZE  QUANTIZATION    STATE",
        "*  tiny  ?       MIT      0 MB  Q8_0 (default)  ready",
        "*  tiny  ?       MIT      0 MB  Q4_1            not here",
    ]


def test_progress_without_a_known_end_is_one_line() -> None:
    stream = io.StringIO()
    with show_progress(stream) as report:
        for done_bytes in range(0, 400, 100):
            report(PullProgress("download", done_bytes, 0))
    assert stream.getvalue() == "download: size unknown\n"


def test_plain_progress_is_a_line_a_quarter() -> None:
    stream = io.StringIO()
    with show_progress(stream) as report:
        for done_bytes in range(0, 4_000_001, 100_000):
            report(PullProgress("download", done_bytes, 4_000_000))
        report(PullProgress("verify", 0, 8_000_000))
    assert stream.getvalue().splitlines() == [
        "download: 4 MB",
        *(f"download: {percent} %" for percent in (25, 50, 75, 100)),
        "verify: 8 MB",
    ]


def test_a_terminal_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    monkeypatch.setenv("TERM", "xterm")
    stream = Terminal()
    with show_progress(stream) as report:
        report(PullProgress("download", 0, 4_000_000))
        report(PullProgress("download", 4_000_000, 4_000_000))
    assert "download" in stream.getvalue()
    assert "4.0/4.0 MB" in stream.getvalue()


@pytest.mark.model
def test_the_default_model_can_be_had(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SLM_LSP_CACHE_DIR", str(tmp_path))
    spec = load_specs()[DEFAULT_MODEL]
    seen: list[PullProgress] = []
    file = pull(spec, quantization="Q4_0", progress=seen.append)
    assert file == tmp_path / "models" / "smollm2-135m.Q4_0.gguf"
    assert file.stat().st_size == spec.quantization("Q4_0").size_bytes
    assert verify(spec, "Q4_0") == "ready"
    assert {one.total_bytes for one in seen} == {92_871_040, 98_362_432, 91_726_912}
