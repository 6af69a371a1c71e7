"""Paired comparison against values worked out by hand, and what is printed of it."""

from __future__ import annotations

import json
import math
import random
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from benchmarks.quality import compare, perplexity
from benchmarks.quality.journal import Journal
from benchmarks.quality.paired import Paired, count, interval, mcnemar
from benchmarks.quality.perplexity import read_texts, windows
from benchmarks.quality.problems import TYPED, Problem
from benchmarks.quality.sandbox_worker import PASSED
from benchmarks.quality.scoring import Answer, score


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"),
    [
        (0, 0, 1.0),
        (1, 0, 1.0),  # 2 · 1/2
        (5, 0, 2 / 32),
        (0, 6, 2 / 64),
        (1, 9, 2 * (1 + 10) / 1024),
        (8, 2, 2 * (1 + 10 + 45) / 1024),
        (3, 3, 1.0),  # both tails overlap
        (4, 3, 1.0),  # 2 · (1 + 7 + 21 + 35)/128
    ],
)
def test_mcnemar(only_a: int, only_b: int, p: float) -> None:
    assert mcnemar(only_a, only_b) == pytest.approx(p)
    assert mcnemar(only_b, only_a) == mcnemar(only_a, only_b)


def test_mcnemar_of_many() -> None:
    assert mcnemar(600, 600) == 1.0
    # The normal approximation, with continuity correction: z = (|500 - 600| - 1) / sqrt(1100).
    assert mcnemar(500, 600) == pytest.approx(0.00284, abs=1e-4)


def right(*names: str) -> dict[str, bool]:
    """Of the problems named, those in capitals are right."""
    return {f"S/HumanEval/{name.lower()}/L0": name.isupper() for name in names}


def test_only_what_both_have_is_counted() -> None:
    found = count(right("A", "B", "C", "d", "e", "X"), right("A", "b", "c", "D", "e", "y"))
    assert found == Paired(both=1, only_a=2, only_b=1, neither=1)
    assert found.n == 5
    assert found.points == pytest.approx(-20.0)


def outcomes(tasks: Mapping[str, str]) -> dict[str, bool]:
    """`tasks` has one character a problem, "+" where it is right."""
    return {
        f"S/HumanEval/{task}/L{i}": sign == "+"
        for task, signs in tasks.items()
        for i, sign in enumerate(signs)
    }


@pytest.mark.parametrize(
    ("a", "b", "expect"),
    [
        ({"1": "+-", "2": "-+"}, {"1": "+-", "2": "-+"}, (0.0, 0.0)),
        ({"1": "--", "2": "--"}, {"1": "++", "2": "++"}, (100.0, 100.0)),
        ({"1": "++", "2": "++"}, {"1": "--", "2": "--"}, (-100.0, -100.0)),
        # Drawing tasks gives 0, 50 or 100 points; drawing problems would stay around 50.
        ({"1": "-" * 50, "2": "-" * 50}, {"1": "-" * 50, "2": "+" * 50}, (0.0, 100.0)),
        ({"1": "-"}, {"2": "+"}, (-100.0, 100.0)),
    ],
)
def test_interval(a: dict[str, str], b: dict[str, str], expect: tuple[float, float]) -> None:
    assert interval(outcomes(a), outcomes(b)) == expect


def test_the_interval_of_independent_problems_is_the_usual_one() -> None:
    a = outcomes({str(i): "-" for i in range(100)})
    b = outcomes({str(i): "+" if i < 25 else "-" for i in range(100)})
    # 25 points; 1.96 · sqrt(0.25 · 0.75 / 100) = 8.49 points
    assert interval(a, b) == pytest.approx((16.51, 33.49), abs=1.0)


def test_the_interval_does_not_depend_on_the_order_of_problems() -> None:
    draw = random.Random(1)
    a, b = (
        outcomes({str(i): "".join(draw.choices("+-", k=i % 9)) for i in range(99)}) for _ in "ab"
    )
    assert interval(a, b) == pytest.approx((-11.748633879781421, 2.7777777777777777))


# --- results in files ---


def rows(*right: bool) -> list[dict[str, Any]]:
    return [
        score(
            Problem(f"S/HumanEval/{i}/L0", "", "x", ""),
            Answer("x" if hit else "y", "eos"),
            PASSED if hit else "NameError",
            0.0,
        )
        for i, hit in enumerate(right)
    ]


def write(path: Path, found: list[dict[str, Any]], suite: str = "single-line") -> str:
    run = {"suite": suite, "mode": "bare", "model": path.stem}
    whole = {**run, "situations": {TYPED: {"summary": {}, "problems": found}}}
    path.write_text(json.dumps(whole))
    return str(path)


def test_compare_two_results(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = write(tmp_path / "old.json", rows(True, True, False, False, False))
    b = write(tmp_path / "new.json", rows(True, False, True, True))
    assert compare.main([a, b]) == 0
    said = capsys.readouterr().out
    assert "A: old; B: new" in said
    for name in ("first line exact", "pass@1"):
        assert f"{TYPED}, {name}: n 4, both 1, only A 1, only B 2, neither 0; B - A = +25" in said
    assert said.count("McNemar p = 1") == 2


def test_a_table_of_results_and_of_a_run_under_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    a = write(tmp_path / "old.json", rows(True, False))
    partial = tmp_path / "new.json.partial.jsonl"
    journal = Journal(partial, {"suite": "multi-line", "mode": "pipeline", "model": "new"})
    for row in rows(True, True, False):
        journal.add(TYPED, row)
    assert compare.main(["--table", a, str(partial)]) == 0
    *_, first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"| old | single-line | {TYPED} | 2 | 50.0 % (9.5 to 90.5) |")
    assert second.startswith(f"| new (pipeline) | multi-line | {TYPED} | 3 | 66.7 % (")


@pytest.mark.parametrize("more", [[], ["--situation", "as given"]])
def test_what_cannot_be_compared_is_refused(tmp_path: Path, more: list[str]) -> None:
    a = write(tmp_path / "a.json", rows(True))
    b = write(tmp_path / "b.json", rows(True), suite="single-line" if more else "multi-line")
    with pytest.raises(SystemExit, match="2"):
        compare.main([a, b, *more])


# --- perplexity ---


@pytest.mark.parametrize("n_tokens", [1, 2, 5, 9, 10, 11, 14, 15, 16, 1000])
def test_every_token_but_the_start_is_scored_once(n_tokens: int) -> None:
    scored: list[int] = []
    for start, first, end in windows(n_tokens, size=10, step=5):
        assert 0 <= start < first < end <= start + 10
        assert start == 0 or first - start >= 5
        scored += range(first, end)
    assert scored == list(range(1, n_tokens))


def test_texts_come_from_files_and_from_json_lines(tmp_path: Path) -> None:
    plain, lines = tmp_path / "a.py", tmp_path / "b.jsonl"
    plain.write_text("x = 1\n")
    lines.write_text('{"text": "y = 1\\u2028"}\n\n{"text": ""}\n{"text": "z"}\n')
    assert [text for _, text in read_texts([plain], lines)] == ["x = 1\n", "y = 1\u2028", "z"]


@pytest.mark.model
def test_a_texts_nats_are_those_of_its_tokens_one_by_one(monkeypatch: pytest.MonkeyPatch) -> None:
    from slm_lsp.config import Config
    from slm_lsp.types import Text
    from slm_lsp.wiring import obtain

    for name, n_tokens in (("WINDOW_TOKENS", 64), ("STEP_TOKENS", 32), ("CHUNK_TOKENS", 7)):
        monkeypatch.setattr(perplexity, name, n_tokens)
    model = obtain(Config())
    scorer = perplexity.TextScorer(model.path, model.name, n_ctx=256)
    text = "def total_of(items, limit):\n    return sum(item for item in items)\n"
    tokens = [scorer.vocabulary.start, *scorer.tokenize([Text(text)])]
    expect = 0.0
    scorer.truncate(0)
    for token, following in pairwise(tokens):
        scorer.feed([token])
        logits = [float(logit) for logit in scorer._logits()]
        expect += math.log(sum(map(math.exp, logits))) - logits[following]
    nats, n_tokens = scorer.nats(text)
    assert nats == pytest.approx(expect, rel=0.02)
    assert n_tokens == len(tokens) - 1
    # Behind the first window there is less before a token, but not much less to go by.
    nats, n_tokens = scorer.nats(text * 4)
    assert n_tokens > 64
    assert 0.0 < nats < 4 * expect
    scorer.close()
