"""Where benchmarks.decode takes its prompts from."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.decode.prompts import MAX_CHARS, places, repeated


@pytest.mark.parametrize(
    ("text", "before", "share"),
    [
        ("a = b + c", "x(a = b + c)", 1.0),
        ("a = b + c", "a = b - c", 1 / 3),
        ("a = b", "", 0.0),
        ("a", "a", 0.0),  # too short to be told
    ],
)
def test_what_is_repeated_is_told_by_three_words(text: str, before: str, share: float) -> None:
    assert repeated(text, before) == pytest.approx(share)


def test_a_prompt_ends_where_a_body_began(tmp_path: Path) -> None:
    body = "".join(f"    total = total + step({i})\n" for i in range(8))
    source = "".join(f'def run_{i}(total):\n    """Run."""\n{body}\n\n' for i in range(30))
    path = tmp_path / "steps.py"
    path.write_text(source, encoding="utf-8")
    found = list(places(path))
    assert found == list(places(path))
    assert 10 < len(found) < 30  # the first have too little before them
    for place in found:
        assert place.prompt.endswith(
            f'def {place.name.partition(":")[2]}(total):\n    """Run."""\n'
        )
        assert len(place.prompt) <= MAX_CHARS
        assert place.prompt in source
        assert place.repeated == 1.0
