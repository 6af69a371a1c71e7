"""What typing in VS Code looks like and how long it takes: a picture that moves, and figures.

Invariant: nothing is asserted of time; the figures are printed and written where pictures go.
"""

from __future__ import annotations

import json
import os
import statistics
from pathlib import Path
from typing import Any

import pytest
from vscode_driver import VSCode
from vscode_scene import LOOP, answers, n_engine_calls

pytest_plugins = ["vscode_fixtures"]
pytestmark = [pytest.mark.editor, pytest.mark.usefixtures("picture_of_a_failure")]
# VS Code's own wait between a key and its request (`InlineCompletionsDebounce`, the least).
VSCODE_DEBOUNCE_MS = 50
N_PLACES = 10
# Of the picture that moves.
PART = {"x": 304, "y": 35, "width": 440, "height": 120}
MAX_BYTES = 400_000


def since_the_key(code: VSCode, ghost: str) -> float:
    """From the last key down to the first frame with this ghost text."""
    code.until_ghost(ghost)
    key_ms = code.evaluate("window.keys")[-1]["at_ms"]
    frames = code.evaluate("window.ghostFrames")
    said = [each for each in frames if each["text"] == ghost and each["at_ms"] >= key_ms]
    return float(said[0]["at_ms"] - key_ms)


def forget_frames(code: VSCode) -> None:
    code.evaluate("window.ghostFrames.length = window.keys.length = 0")


def summary(times_ms: list[float]) -> dict[str, Any]:
    return {
        "n": len(times_ms),
        "median_ms": round(statistics.median(times_ms), 1),
        "min_ms": round(min(times_ms), 1),
        "max_ms": round(max(times_ms), 1),
    }


def test_time_from_key_to_ghost_text(code: VSCode, captures: Path) -> None:
    code.open("timing.py")
    fresh_ms, through_ms, answered_ms = [], [], []
    for _ in range(N_PLACES):
        code.type("t = ", delay_ms=60)
        forget_frames(code)
        code.type("(")
        fresh_ms.append(since_the_key(code, "1, 2, 3"))
        n_calls, n_answered = n_engine_calls(code), len(answers(code))
        for typed, left in (("1", ", 2, 3"), (",", " 2, 3")):
            forget_frames(code)
            code.type(typed)
            through_ms.append(since_the_key(code, left))
        assert n_engine_calls(code) == n_calls
        answered_ms += [took for took, answer in answers(code)[n_answered:] if "result" in answer]
        code.press("Tab", "End", "Enter")
    figures = {
        "what": "key down to the frame with the ghost text; scripted model",
        "first": summary(fresh_ms),
        "typed_through": summary(through_ms),
        "answers_while_typing_through": summary(answered_ms) if answered_ms else None,
        "vscode_debounce_ms": VSCODE_DEBOUNCE_MS,
    }
    (captures / "vscode-latency.json").write_text(json.dumps(figures, indent=1) + "\n")
    print(json.dumps(figures))


def test_what_typing_looks_like(code: VSCode, tmp_path: Path, captures: Path) -> None:
    """The keys of the README's picture; a picture only where a folder is named for it."""
    code.open("demo.py")
    frames: list[tuple[Path, int]] = []

    def look(ms: int) -> None:
        path = tmp_path / f"{len(frames):03}.png"
        code.screenshot(path, PART)
        frames.append((path, ms))

    for letter in "def loop(names):":
        code.type(letter)
        look(70)
    code.press("Enter")
    code.until_ghost(LOOP)
    look(1200)
    typed = "for name"
    for n_typed, letter in enumerate(typed, 1):
        code.type(letter)
        code.until_ghost(LOOP[n_typed:])
        look(140)
    look(700)
    code.press("Tab")
    code.until_ghost("")
    look(1600)
    expected = b"def loop(names):\n    for name in names:\n        print(name)"
    assert code.saved("demo.py") == expected
    if os.environ.get("SLM_LSP_CAPTURES"):
        animate(frames, captures / "vscode-typing.gif")


def animate(frames: list[tuple[Path, int]], path: Path) -> None:
    """Frames and how long each is seen, as one picture."""
    from PIL import Image

    pictures = [Image.open(frame).convert("RGB").quantize(64) for frame, _ in frames]
    first, *others = pictures
    first.save(path, save_all=True, append_images=others, duration=[ms for _, ms in frames], loop=0)
    assert path.stat().st_size < MAX_BYTES
