"""Fuzz one target for so many seconds, guided by coverage.

Usage: python tests/fuzz/fuzz_run.py TARGET --seconds 600 [--json FILE] [--keep FOLDER]

Needs atheris (`pip install atheris`, in an environment of its own that sees this one's packages; it
is no dependency of the project). What fails is written to FOLDER and belongs, once repaired, into
`tests/fuzz/found/TARGET/`, which `test_fuzz_targets` repeats.

Invariant: one target a process, one process at a time. Threads: one, and libFuzzer's clock.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
INSTRUMENTED = {
    "position": ("slm_lsp.text",),
    "wire": ("slm_lsp.engine.wire", "slm_lsp.engine.codec", "slm_lsp.types"),
    "headers": ("slm_lsp.gguf", "slm_lsp.engine"),
    "postprocess": ("slm_lsp.completion",),
}


def main() -> None:
    """Run until the time is over or a failure is found; libFuzzer ends the process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("target", choices=INSTRUMENTED)
    parser.add_argument("--seconds", type=int, default=600)
    parser.add_argument("--json", type=Path, help="file that gets the counts")
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir()))
    chosen = parser.parse_args()
    sys.path[:0] = [str(HERE), str(HERE.parents[1])]
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=list(INSTRUMENTED[chosen.target])):
        from fuzz_targets import TARGETS

        from slm_lsp.text import document
    document.BLOCK_LINES = 1  # as in the tests
    target, seeds = TARGETS[chosen.target]
    corpus = chosen.keep / f"corpus-{chosen.target}"
    corpus.mkdir(parents=True, exist_ok=True)
    for n, each in enumerate([*seeds(), *found(chosen.target)]):
        (corpus / f"seed-{n}").write_bytes(each)
    counts = {"tries": 0, "failures": 0}
    began = time.monotonic()

    def once(data: bytes) -> None:
        counts["tries"] += 1
        try:
            target(data)
        except BaseException:
            counts["failures"] += 1
            write()
            raise
        # libFuzzer ends the process without a word to Python.
        if counts["tries"] % 1000 == 0:
            write()

    def write() -> None:
        told = {"target": chosen.target, **counts, "seconds": round(time.monotonic() - began)}
        if chosen.json:
            chosen.json.write_text(json.dumps(told) + "\n")

    options = [f"-max_total_time={chosen.seconds}", "-max_len=4096", "-timeout=10"]
    options.append(f"-artifact_prefix={chosen.keep}/{chosen.target}-")
    atheris.Setup([sys.argv[0], *options, str(corpus)], once)
    atheris.Fuzz()


def found(target: str) -> list[bytes]:
    """What was found before, and has been repaired since."""
    return [path.read_bytes() for path in sorted((HERE / "found" / target).glob("*.bin"))]


if __name__ == "__main__":
    main()
