"""Sessions are data, repeat, and end with the texts they began to restore."""

from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.latency import corpus
from benchmarks.latency.cold_sessions import LOOK_MS, make_cold_session
from benchmarks.latency.quantiles import quantile
from benchmarks.latency.replay import Change, Replay, Shown, decide, inserted
from benchmarks.latency.sessions import Kind, Session, make_session

TEXTS = corpus.sources()


def replayed(session: Session, accept_at: random.Random | None, most: int = 40) -> Replay:
    """Apply a session's events; a mirror of the texts is kept from the changes alone."""
    replay = Replay(session)
    mirror = list(replay.texts)

    def follow(change: Change | None) -> None:
        if change is not None:
            text = mirror[change.file]
            end = change.start + change.n_removed
            mirror[change.file] = text[: change.start] + change.text + text[end:]

    for event in session.events:
        skipped, before = replay.skips(event), list(replay.texts)
        follow(replay.apply(event))
        # Nothing is left out but for what was accepted.
        assert accept_at is not None or not skipped
        if skipped:
            assert replay.texts == before
        remaining = replay.remaining()
        if accept_at is not None and remaining and accept_at.random() < 0.3:
            follow(replay.accept(remaining[: accept_at.randint(1, most)]))
    assert mirror == replay.texts
    return replay


@given(seed=st.integers(0, 10_000), number=st.integers(0, 50))
@settings(max_examples=25, deadline=None)
def test_every_session_restores_the_texts(seed: int, number: int) -> None:
    session = make_session(TEXTS, seed, number)
    hollow = Replay(session).texts
    assert all(len(text) < len(o) for text, o in zip(hollow, session.originals, strict=True))
    assert tuple(replayed(session, None).texts) == session.originals
    assert tuple(replayed(session, random.Random(seed)).texts) == session.originals
    whole = replayed(session, random.Random(seed), most=10_000)
    assert tuple(whole.texts) == session.originals


def test_the_same_seed_gives_the_same_session() -> None:
    assert make_session(TEXTS, 3, 1) == make_session(TEXTS, 3, 1)
    assert make_session(TEXTS, 3, 1).events != make_session(TEXTS, 3, 2).events
    assert make_session(TEXTS, 4, 1).events != make_session(TEXTS, 3, 1).events


def test_a_session_types_like_a_person() -> None:
    events = [event for n in range(20) for event in make_session(TEXTS, 0, n).events]
    keys = [e.gap_ms for e in events if e.kind is Kind.TYPE and e.text[0] != "\n"]
    ends = [e.gap_ms for e in events if e.kind is Kind.TYPE and e.text[0] == "\n"]
    assert 110 < (quantile(keys, 0.5) or 0) < 130
    assert 350 < (quantile(ends, 0.5) or 0) < 450
    kinds = {event.kind for event in events}
    assert kinds == set(Kind)
    n_wrong = sum(event.kind is Kind.MISTYPE for event in events)
    assert n_wrong == sum(event.kind is Kind.BACKSPACE for event in events)


@given(number=st.integers(0, 200))
@settings(max_examples=25, deadline=None)
def test_a_session_jumps_between_two_places_and_two_files(number: int) -> None:
    session = make_session(TEXTS, 0, number)
    assert len(set(session.files)) == 2
    assert [passage.file for passage in session.passages] == [0, 0, 1]
    jumps = [event.passage for event in session.events if event.kind in (Kind.MOVE, Kind.SWITCH)]
    assert set(jumps) == {0, 1, 2}
    opened = [event.passage for event in session.events if event.kind is Kind.OPEN]
    assert sorted(opened) == [0, 1]


@given(seed=st.integers(0, 10_000), number=st.integers(0, 50))
@settings(max_examples=10, deadline=None)
def test_a_cold_session_is_in_no_file_twice(seed: int, number: int) -> None:
    session = make_cold_session(TEXTS, seed, number)
    assert session == make_cold_session(TEXTS, seed, number)
    assert len(set(session.files)) == len(session.files) == len(session.passages) == 32
    assert tuple(replayed(session, None).texts) == session.originals
    assert tuple(replayed(session, random.Random(seed)).texts) == session.originals
    opened = [event for event in session.events if event.kind is Kind.OPEN]
    jumps = [event for event in session.events if event.kind is Kind.SWITCH]
    assert [event.passage for event in opened] == [event.passage for event in jumps]
    # The cursor is there as soon as the file is open, and then nobody types for a while.
    assert {event.gap_ms for event in jumps} == {0.0}
    assert {e.gap_ms for e in session.events if e.kind is Kind.WAIT} == {LOOK_MS}
    for passage in session.passages:
        end = passage.start + len(passage.text)
        assert session.originals[passage.file][end] == "\n"
        assert 3 <= len(passage.text) <= 6


@pytest.mark.parametrize("name", sorted(TEXTS))
def test_bodies_are_statements_without_their_docstring(name: str) -> None:
    for body in corpus.bodies(TEXTS[name]):
        text = TEXTS[name][body.start : body.end]
        assert TEXTS[name][: body.start].endswith((" ", "\n"))
        assert TEXTS[name][body.end] == "\n"
        assert not text.startswith(('"""', "'''", " "))


def test_a_body_of_a_source() -> None:
    lines = [
        "a = 1",
        "b = 22222222222222222222222222222222222",
        "return a + b + 3333333333333333333333",
    ]
    body = "\n    ".join(lines)
    source = f'def f():\n    """Says what."""\n    {body}\n\n\ndef g(): return 1\n'
    found = corpus.bodies(source)
    assert [source[each.start : each.end] for each in found] == [body]


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (Shown(5, 5, "abc"), "abc"),
        (Shown(2, 5, "llo abc"), None),  # would change what stands before
        (Shown(2, 5, "loxabc"), "abc"),
        (Shown(5, 6, "abc!"), "abc"),
        (Shown(5, 6, "abc"), None),  # would take away what follows
        (Shown(0, 6, ""), None),
    ],
)
def test_what_accepting_would_insert(shown: Shown, text: str | None) -> None:
    assert inserted("helox!", 5, shown) == text


def test_right_text_is_accepted_and_nothing_else() -> None:
    assert decide("abc", "abcd\ne", 1) == "abc"
    assert decide("abcd\ne", "abcd\ne", 1) == "abcd\ne"
    assert decide("abx", "abcd", 1) == ""
    assert decide("abcde", "abcd", 1) == ""
    assert decide("ab", "abcd", 1) == ""  # too short to stop typing for
    assert decide(None, "abcd", 1) == ""
    assert decide("abc", "", 1) == ""


def test_scripted_acceptance_takes_the_rest_of_the_line_every_so_often() -> None:
    taken = [decide("junk", "abcd\ne", n, every=3) for n in range(1, 7)]
    assert taken == ["", "", "abcd", "", "", "abcd"]
    assert decide(None, "abcd\ne", 3, every=3) == "abcd"
    assert decide("junk", "\nabcd", 3, every=3) == ""


def test_keys_that_type_what_was_accepted_are_left_out() -> None:
    session = make_session(TEXTS, 0, 0)
    replay = Replay(session)
    skipped = 0
    for event in session.events:
        skipped += replay.skips(event)
        replay.apply(event)
        if event.kind in (Kind.MOVE, Kind.SWITCH) and replay.remaining():
            replay.accept(replay.remaining())
    n_keys = sum(event.kind in (Kind.TYPE, Kind.MISTYPE) for event in session.events)
    assert skipped >= n_keys
