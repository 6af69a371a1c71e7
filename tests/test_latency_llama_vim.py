"""The facts of llama.vim at a1c8e6e that its adapter restates; no server but a stub."""

from __future__ import annotations

import asyncio
import http.server
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from benchmarks.latency import gathering, llama_context, llama_vim, ring
from benchmarks.latency.infill import InfillError, InfillServer
from benchmarks.latency.llama_context import Cache, keys, lines_of, local_context, rendered
from benchmarks.latency.llama_vim import LlamaVim
from benchmarks.latency.policy import Answer, View
from benchmarks.latency.replay import Change, Shown

NOTHING = Change(0, 0, 0, "")
Json = dict[str, Any]


def numbered(n: int) -> list[str]:
    return [f"line {i}" for i in range(n)]


class Server:
    """Answers each request with the next text; a request waits until it is let go."""

    def __init__(self, *texts: str) -> None:
        self.bodies: list[Json] = []
        self.free = asyncio.Event()
        self.free.set()
        self._texts = list(texts)

    async def post(self, body: Json) -> Json:
        self.bodies.append(body)
        text = self._texts.pop(0) if self._texts else ""
        await self.free.wait()
        return {"content": text, "timings/prompt_n": 5, "timings/predicted_n": 3}


class Scene:
    """A policy, its server, and what it showed."""

    def __init__(self, *texts: str) -> None:
        self.server = Server(*texts)
        self.answers: list[Answer] = []
        self.policy = LlamaVim(post=self.server.post)

    async def type(self, text: str, offset: int | None = None) -> None:
        at = len(text) if offset is None else offset
        self.policy.changed(View("file:///a.py", text, at, modified=True), NOTHING)
        await settle()

    @property
    def shown(self) -> list[str | None]:
        return [answer.shown.text if answer.shown else None for answer in self.answers]


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(llama_vim, "REARM_S", 0.03)


async def scene(*texts: str) -> Scene:
    made = Scene(*texts)
    await made.policy.begin(made.answers.append)
    return made


# --- the context ---


def test_the_windows_are_256_lines_before_and_64_behind() -> None:
    local = local_context(numbered(1000), 500, 4, (), 0)
    assert local.prefix == "\n".join(numbered(1000)[244:500]) + "\n"
    assert local.middle == "line"
    assert local.suffix == " 500\n" + "\n".join(numbered(1000)[501:565]) + "\n"


def test_a_blank_line_is_asked_about_from_its_start() -> None:
    local = local_context(["def f():", "        ", "x"], 1, 8, (), 0)
    assert (local.middle, local.line_suffix, local.indent) == ("", "", 0)
    assert local.suffix == "\nx\n"


def test_a_context_as_if_a_suggestion_stood_there() -> None:
    one = local_context(["a", "b = ", "z"], 1, 4, ("f(1)",), 7)
    assert (one.prefix, one.middle, one.suffix, one.indent) == ("a\n", "b = f(1)", "\nz\n", 7)
    more = local_context(["a", "b = ", "z"], 1, 4, ("f(", "    1,", ")"), 7)
    assert (more.prefix, more.middle) == ("a\nb = f(\n    1,\n", ")")


def test_a_response_is_filed_under_its_context_and_three_shorter_ones() -> None:
    local = local_context(numbered(20), 10, 7, (), 0)
    found = keys(local)
    assert len(set(found)) == 4
    # The window three lines further down, with the cursor where it was.
    shorter = local_context(numbered(20)[3:], 7, 7, (), 0)
    assert keys(shorter)[0] == found[3]
    assert len(keys(local_context(["a", "b"], 1, 1, (), 0))) == 1


def test_the_cache_drops_the_least_recently_used() -> None:
    cache = Cache(max_keys=2)
    cache.insert("a", "1")
    cache.insert("b", "2")
    assert cache.get("a") == "1"
    cache.insert("c", "3")
    assert (cache.get("a"), cache.get("b"), cache.get("c")) == ("1", None, "3")
    assert llama_context.MAX_CACHE_KEYS == 250


@pytest.mark.parametrize(("n_typed", "found"), [(1, True), (128, True), (129, False)])
def test_typing_through_is_found_up_to_128_characters_back(n_typed: int, found: bool) -> None:
    text = "abcdefgh" * 20
    cache = Cache()
    asked = local_context(["x = "], 0, 4, (), 0)
    cache.insert(keys(asked)[0], text)
    line = "x = " + text[:n_typed]
    later = cache.lookup(local_context([line], 0, len(line), (), 0))
    assert later == (text[n_typed:] if found else None)


def test_typing_something_else_is_not_typing_through() -> None:
    cache = Cache()
    cache.insert(keys(local_context(["x = "], 0, 4, (), 0))[0], "abc")
    assert cache.lookup(local_context(["x = b"], 0, 5, (), 0)) is None
    assert cache.lookup(local_context(["x = abc"], 0, 7, (), 0)) is None  # nothing is left


def test_the_longest_rest_wins() -> None:
    cache = Cache()
    cache.insert(keys(local_context(["x = "], 0, 4, (), 0))[0], "abcdef")
    cache.insert(keys(local_context(["x = a"], 0, 5, (), 0))[0], "bc")
    assert cache.lookup(local_context(["x = ab"], 0, 6, (), 0)) == "cdef"
    cache.insert(keys(local_context(["x = a"], 0, 5, (), 0))[0], "bcdefgh")
    assert cache.lookup(local_context(["x = ab"], 0, 6, (), 0)) == "cdefgh"


@pytest.mark.parametrize(
    ("text", "lines", "column", "shown"),
    [
        ("f(x)\n\n", ["a", "b = ", "c"], 4, ["f(x)"]),  # empty lines at the end
        ("\nc", ["a", "b = ", "c"], 4, [""]),  # only repeats what follows
        (")", ["a", "b()", "c"], 2, [""]),  # repeats the rest of the line
        ("c", ["a", "", "abc", "d"], 0, ["c"]),
        ("abc", ["a", "", "", "abc", "d"], 0, [""]),  # repeats the next line that is not blank
        ("abc\nd", ["a", "", "abc", "de", "f"], 0, [""]),
        ("abc\nx", ["a", "", "abc", "de", "f"], 0, ["abc", "x"]),
        ("abc\nde\nf", ["a", "", "abc", "de", "f"], 0, [""]),
    ],
)
def test_what_only_repeats_the_text_is_not_shown(
    text: str, lines: list[str], column: int, shown: list[str]
) -> None:
    assert rendered(text, lines, 1, column)[0] == shown


def test_a_blank_line_takes_its_indentation_from_the_suggestion() -> None:
    assert rendered("        x", ["f:", "    "], 1, 4) == (["    x"], 4)
    assert rendered("  x", ["f:", "    "], 1, 4) == (["x"], 2)


# --- the ring ---


def test_short_pieces_are_kept_whole_and_long_ones_cut_to_half_a_chunk() -> None:
    pieces = ring.Ring(random.Random(0))
    pieces.pick(numbered(2), "a", True)
    assert pieces.queued == []
    pieces.pick(numbered(62), "a", True)
    assert pieces.queued[0].lines == tuple(numbered(62))
    pieces.pick([f"other {i * 7}" for i in range(63)], "a", True)
    assert len(pieces.queued[1].lines) in (32, 33)
    assert pieces.queued[0].text.startswith("line 0\nline 1\n")


def test_the_queue_and_the_ring_hold_16() -> None:
    pieces = ring.Ring(random.Random(0))
    for i in range(20):
        pieces.pick([f"w{i}a", f"w{i}b", f"w{i}c"], "a", True)
    assert len(pieces.queued) == 16
    assert pieces.queued[0].lines[0] == "w4a"
    for i in range(20, 40):
        assert pieces.promote()
        pieces.pick([f"w{i}a", f"w{i}b", f"w{i}c"], "a", True)
    assert len(pieces.chunks) == 16
    assert len(pieces.extra()) == 16


def test_similar_pieces_make_room_or_keep_out() -> None:
    words = [f"word{i}" for i in range(40)]
    nearly = [*words[:39], "changed"]
    for evict, left in ((True, nearly), (False, words)):
        pieces = ring.Ring(random.Random(0))
        pieces.pick(words, "a", True)
        pieces.pick(words, "a", True)  # the same: nothing
        pieces.pick(nearly, "a", evict)
        assert [list(piece.lines) for piece in pieces.queued] == [left]


def test_similarity_by_hand() -> None:
    assert ring.similarity(["a b"], ["a c"]) == 0.5
    assert ring.similarity(["a b"], ["b", "a"]) == 1.0
    assert ring.similarity([""], ["  "]) == 1.0
    assert ring.similarity(["a"], ["a a a"]) == 1.5  # as the original counts


def test_what_is_like_the_text_at_the_cursor_is_dropped() -> None:
    pieces = ring.Ring(random.Random(0))
    for lines in (["a b c d", "e f", "g"], ["x y", "z", "w"]):
        pieces.pick(lines, "a", True)
        pieces.promote()
    pieces.evict_like(["a b c d e"])
    assert [piece.filename for piece in pieces.chunks] == ["a"]
    assert pieces.chunks[0].lines == ("x y", "z", "w")


# --- asking and showing ---


async def test_the_first_request_and_the_one_after_showing() -> None:
    made = await scene("abc", "def")
    await made.type("x = ")
    assert made.shown == ["abc"]
    await asyncio.sleep(0.15)
    first, second = made.server.bodies
    assert first["t_max_predict_ms"] == 250
    assert second["t_max_predict_ms"] == 1000
    assert (first["prompt"], second["prompt"]) == ("x = ", "x = abc")
    assert first["t_max_prompt_ms"] == 500
    assert first["n_predict"] == 128
    assert first["cache_prompt"] is True
    assert (first["stop"], first["input_extra"], first["id_slot"]) == ([], [], 0)
    work = await made.policy.end()
    assert (work.prefilled_each, work.n_prefilled, work.n_decoded) == ((5,), 10, 6)
    assert work.read_each == (10,)


def test_without_a_limit_only_the_first_request_differs() -> None:
    local = local_context(["x = "], 0, 4, (), 0)
    limited, unlimited = (LlamaVim(post=Server().post, unlimited=flag) for flag in (False, True))
    assert unlimited.body(local, False) == {**limited.body(local, False), "t_max_predict_ms": 0}
    assert unlimited.body(local, True) == limited.body(local, True)


async def test_typing_through_shows_at_once(quick: None) -> None:
    made = await scene("abcdef")
    await made.type("x = ")
    await made.type("x = a")
    await made.type("x = ab")
    assert made.shown == ["abcdef", "bcdef", "cdef"]
    work = await made.policy.end()
    assert work.prefilled_each[:3] == (5, 0, 0)


async def test_one_request_at_a_time_and_the_next_after_the_rearm(quick: None) -> None:
    made = await scene("abc")
    made.server.free.clear()
    for text in ("x", "x ", "x =", "x = "):
        await made.type(text)
    assert [body["prompt"] for body in made.server.bodies] == ["x"]
    await asyncio.sleep(0.05)
    assert len(made.server.bodies) == 1  # still under way: it waits again
    made.server.free.set()
    await asyncio.sleep(0.08)
    # Nothing was cancelled, and only the last wish is left.
    assert [body["prompt"] for body in made.server.bodies[:2]] == ["x", "x = "]
    work = await made.policy.end()
    # Each request's reading belongs to the key after which it began.
    assert work.read_each == (5, 0, 0, 5 * (len(made.server.bodies) - 1))


async def test_a_later_wish_replaces_an_earlier_one(quick: None) -> None:
    made = await scene("abc")
    await made.type("x = ")  # shown; what follows it is wished for
    made.server.free.clear()
    await made.type("x = a")  # shown from the cache; what follows is asked for, the rest waits
    made.server.free.set()
    await asyncio.sleep(0.1)
    prompts = [body["prompt"] for body in made.server.bodies]
    assert prompts[:2] == ["x = ", "x = abc"]
    # The first wish would be made of the line as it is now.
    assert "x = aabc" not in prompts
    await made.policy.end()


async def test_a_context_in_the_cache_is_not_asked_about_again(quick: None) -> None:
    made = await scene("")
    await made.type("x = ")
    assert made.shown == [None]
    await made.type("x = y")
    n_before = len(made.server.bodies)
    await made.type("x = ")
    await asyncio.sleep(0.1)
    assert "x = " not in [body["prompt"] for body in made.server.bodies[n_before:]]
    await made.policy.end()


async def test_a_session_that_is_given_up_asks_no_more(quick: None) -> None:
    made = await scene("abc")
    made.server.free.clear()
    await made.type("x = ")
    await made.type("x = a")
    await made.policy.stop()
    made.server.free.set()
    await asyncio.sleep(0.08)
    assert len(made.server.bodies) == 1
    assert made.shown == []


async def test_a_refused_request_ends_the_run() -> None:
    made = await scene()

    async def refuse(body: Json) -> Json:
        raise InfillError("501")

    made.policy._post = refuse
    await made.type("x = ")
    with pytest.raises(InfillError, match="501"):
        await made.policy.end()


async def test_more_than_8_characters_behind_the_cursor_ask_nothing() -> None:
    made = await scene("abc")
    await made.type("x = 123456789", offset=4)
    assert made.server.bodies == []
    assert [answer.asked for answer in made.answers] == [False]
    await made.type("x = 12345678", offset=4)
    assert len(made.server.bodies) == 1
    await made.policy.end()


async def test_a_suggestion_on_a_blank_line_replaces_it() -> None:
    made = await scene("        return 1")
    text = "def f():\n        "
    await made.type(text)
    assert made.answers[0].shown == Shown(len(text), len(text), "return 1")
    await made.policy.end()


async def test_the_ring_takes_in_a_piece_when_nobody_types(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "RING_UPDATE_S", 0.02)
    monkeypatch.setattr(gathering, "RING_IDLE_S", 0.1)
    monkeypatch.setattr(gathering, "ENTER_S", 0.0)
    made = await scene()
    far = "\n".join(numbered(40))
    made.policy.opened(View("file:///b.py", far, 0, modified=False))
    made.policy.opened(View("file:///c.py", "p\nq\nr\ns", 0, modified=True))
    await made.type("x = ")
    await asyncio.sleep(0.05)
    assert len(made.policy.ring.queued) == 1  # what was changed is not gathered
    assert made.policy.ring.chunks == []
    await asyncio.sleep(0.15)
    assert len(made.policy.ring.chunks) == 1
    warm = made.server.bodies[-1]
    assert (warm["n_predict"], warm["prompt"], warm["t_max_predict_ms"]) == (0, "", 1)
    assert warm["input_extra"][0]["text"].startswith("line 0\n")
    await made.policy.end()


async def test_a_far_cursor_gathers_above_and_below_the_windows() -> None:
    made = await scene()
    text = "\n".join(numbered(1000))
    await made.type(text, offset=text.index("line 500") + 8)
    assert len(made.policy.ring.queued) == 2
    near = text.index("line 520") + 8
    await made.type(text, offset=near)
    assert len(made.policy.ring.queued) == 2
    await made.policy.end()


# --- the server ---


@contextmanager
def infill_server(status: int, answer: Json) -> Iterator[str]:
    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            raw = json.dumps({**answer, "path": self.path}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


async def test_a_server_that_runs_already_is_asked_over_http() -> None:
    with infill_server(200, {"content": "abc"}) as url:
        server = InfillServer(url=url)
        await server.start()
        assert await server.post({"prompt": "x"}) == {"content": "abc", "path": "/infill"}
        assert len(server.marks()) == 1
        await server.stop()


async def test_a_model_that_cannot_infill_is_said_to() -> None:
    refusal = {"error": "infill is not supported"}
    with infill_server(501, refusal) as url, pytest.raises(InfillError, match=refusal["error"]):
        await InfillServer(url=url).start()


def test_without_a_server_or_a_model_there_is_a_clear_error() -> None:
    with pytest.raises(InfillError, match="LLAMA_SERVER_URL"):
        InfillServer()


def test_lines_end_with_their_breaks() -> None:
    assert lines_of("a\nb\n") == ["a", "b"]
    assert lines_of("a\nb\n\n") == ["a", "b", ""]
