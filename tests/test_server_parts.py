"""The pure parts of asking a server: prompts, streams, addresses, keys, the breaker."""

from __future__ import annotations

import json
import re
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slm_lsp.deadline import FakeClock
from slm_lsp.engine import server_settings
from slm_lsp.engine.base import PromptError
from slm_lsp.engine.breaker import FIRST_OPEN_MS, LAST_OPEN_MS, LATE_OPEN_MS, PATIENCE, Breaker
from slm_lsp.engine.server_apis import APIS, Served, begin_grammar, controls_of
from slm_lsp.engine.server_settings import Key, ServerRefused, base_url, check_host, find_key
from slm_lsp.engine.server_stream import Events, Form, GarbledAnswer
from slm_lsp.engine.server_text import SIDES, as_mixed, as_sides, as_string, sides_as_text
from slm_lsp.prompt import fim
from slm_lsp.types import (
    CompletionContext,
    FileName,
    Prompt,
    Snippet,
    Special,
    Start,
    StopRule,
    Text,
    Want,
)

QWEN = fim.FAMILIES[0]
FAMILIES = [each for name in fim.family_names() if (each := fim.family(name)) is not None]
# Pieces that make control texts when they stand side by side.
SHARDS = ["<|", "fim_", "suffix", "|>", "<", ">", "fim_suffix|>", "<|fim_suffix|>", "[SUFFIX", "]"]
SHARDS += [
    "<fim_prefix>",
    "▁<PRE>",
    "<｜fim▁hole｜>",
    "<[fim-middle]>",
    "</s>",
    " ",
    "x",
    "\n",
    "é",
]
source = st.lists(st.sampled_from(SHARDS), max_size=12).map("".join)


def context(prefix: str, suffix: str, **more: Any) -> CompletionContext:
    return CompletionContext(prefix, suffix, want=Want.LINE, **more)


def spelled(text: str, controls: tuple[str, ...]) -> list[str]:
    """The control texts that a tokenizer that knows these would find."""
    longest_first = sorted(set(controls), key=len, reverse=True)
    return re.findall("|".join(map(re.escape, longest_first)), text)


@given(st.sampled_from(FAMILIES), source, source)
def test_no_file_forges_a_control_text_in_a_string(template: Any, prefix: str, suffix: str) -> None:
    prompt = fim.build(template, context(prefix, suffix), StopRule(), 8)
    controls = controls_of(template)
    try:
        text = as_string(prompt.segments, prompt.heal, controls)
    except PromptError:
        return  # refused is safe, too
    own = [part.text for part in prompt.segments if isinstance(part, Special)]
    assert spelled(text, controls) == own


@given(st.sampled_from(FAMILIES), source, source)
def test_no_file_forges_a_control_text_among_tokens(
    template: Any, prefix: str, suffix: str
) -> None:
    prompt = fim.build(template, context(prefix, suffix), StopRule(), 8)
    controls = controls_of(template)
    ids = {text: n for n, text in enumerate(controls)}
    mixed = as_mixed(prompt.segments, prompt.heal, ids, (), controls)
    assert not any(spelled(part, controls) for part in mixed if isinstance(part, str))
    # Nothing is lost: the strings between are the source's own text.
    texts = [part.text for part in prompt.segments if isinstance(part, Text)]
    assert "".join(part for part in mixed if isinstance(part, str)) == "".join(texts) + prompt.heal


def test_ordinary_source_is_sent_as_it_is() -> None:
    text = "if a < b and c[0] > d: return Vec<String>()  # <div> [x] <T>"
    assert as_string((Text(text),), "", controls_of(QWEN)) == text
    assert as_mixed((Text(text),), "", {}, (1,), controls_of(QWEN)) == [1, text]


@given(source, source, source, st.lists(st.tuples(source, source), max_size=2))
def test_sides_give_back_what_stands_around_the_cursor(
    prefix: str, typed: str, suffix: str, files: list[tuple[str, str]]
) -> None:
    snippets = tuple(Snippet(path, text) for path, text in files)
    at = context(prefix + typed, suffix, snippets=snippets, file=FileName("r", "p"))
    prompt = fim.build(SIDES, at, StopRule(), 8, len(typed))
    sides = as_sides(prompt.segments, prompt.heal)
    assert (sides.prefix, sides.typed, sides.suffix) == (prefix, typed, suffix)
    assert len(sides.files) == len(files)
    safe = sides_as_text(sides)
    assert not spelled(safe.prefix + "\0" + safe.suffix, controls_of(QWEN))


def test_files_are_given_beside_prefix_and_suffix() -> None:
    at = context("x = ", "\ny", snippets=(Snippet("a.py", "A = 1"),), file=FileName("r", "p.py"))
    prompt = fim.build(SIDES, at, StopRule(strings=("\n",)), 8, 0)
    body = APIS["infill"].body(Served("infill", "m", SIDES), prompt)
    assert body["input_extra"] == [{"filename": "a.py", "text": "A = 1\n"}]
    assert (body["input_prefix"] + body["prompt"], body["input_suffix"]) == ("x = ", "\ny")
    asked = APIS["deepseek"].body(Served("deepseek", "m", SIDES), prompt)
    assert (asked["prompt"], asked["suffix"]) == ("a.py\nA = 1\n\nx = ", "\ny")


@pytest.mark.parametrize("start", list(Start))
def test_a_grammar_quotes_what_a_text_begins_with(start: Start) -> None:
    grammar = begin_grammar('"\\', start)
    assert grammar.startswith('root ::= "\\"\\\\" ')
    assert bool(begin_grammar("", start)) is (start is not Start.ANY)


def test_every_api_names_its_stops_and_is_greedy() -> None:
    prompt = Prompt((Special("<|fim_prefix|>"),), StopRule(strings=("\n",)), ("<|endoftext|>",))
    sides = fim.build(SIDES, context("a", "b"), StopRule(strings=("\n",)), 8, 0)
    for name, api in APIS.items():
        served = Served(name, "m", SIDES if api.by_sides else QWEN, {"<|fim_prefix|>": 1})
        body = api.body(served, sides if api.by_sides else prompt)
        asked = body.get("options", body)
        assert (asked["stop"][0], asked["temperature"]) == ("\n", 0), name
        assert body["stream"] is True


NAMES = ["text", "content", "finish_reason", "logprobs", "usage", "delta", "stop", "response"]
values = st.sampled_from(
    [None, 0, -1, "", "x", [], [1], {}, {"tokens": [1]}, {"content": None}, True]
)


@settings(max_examples=50)
@given(st.dictionaries(st.sampled_from(NAMES), values, max_size=4))
def test_a_reader_takes_any_object(found: dict[str, Any]) -> None:
    for api in APIS.values():
        for wrapped in (found, {"choices": [found]}, {"choices": found}, {"timings": found}):
            if not wrapped.get("error"):
                api.read(wrapped)


# --- streams ---


@given(st.lists(st.integers(0, 9), max_size=5), st.data(), st.sampled_from(["\n", "\r\n", "\r"]))
def test_it_does_not_matter_in_which_pieces_a_stream_comes(
    values: list[int], data: st.DataObject, end: str
) -> None:
    said = [f"data: {json.dumps({'n': v, 't': 'é'})}{end}{end}" for v in values]
    raw = (f": hello{end}{end}event: x{end}" + "".join(said) + f"data: [DONE]{end}{end}").encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=6)))
    events = Events(Form.EVENTS)
    parts = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    found = [each for part in parts for each in events.feed(part)]
    found += events.end()
    assert [each["n"] for each in found] == values
    assert events.done


@pytest.mark.parametrize("kind", ["", "text/html", "application/octet-stream"])
def test_what_is_no_stream_is_refused_by_its_name(kind: str) -> None:
    with pytest.raises(GarbledAnswer, match=kind or "no kind"):
        Form.of(kind)


# --- addresses and keys ---


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("http://localhost:8000", "http://localhost:8000"),
        ("http://localhost:8000/v1/", "http://localhost:8000"),
        ("https://h/proxy/v1/completions", "https://h/proxy"),
        ("https://api.deepseek.com/beta", "https://api.deepseek.com"),
        ("http://[::1]:9/infill", "http://[::1]:9"),
    ],
)
def test_an_address_is_taken_without_its_api(url: str, base: str) -> None:
    assert base_url(url) == base


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("localhost:8000", "must begin with"),
        ("ftp://h", "must begin with"),
        ("http://", "names no host"),
        ("https://user:secret@h", "holds a name or a password"),
        ("https://h/v1?key=secret", "must end before"),
        ("http://h:port", "not an address"),
    ],
)
def test_a_wrong_address_is_refused_without_repeating_it(url: str, said: str) -> None:
    with pytest.raises(ServerRefused, match=said) as caught:
        base_url(url)
    assert "secret" not in str(caught.value)


def test_without_tls_nothing_leaves_for_a_public_address(monkeypatch: pytest.MonkeyPatch) -> None:
    addresses = {"box.lan": "192.168.1.9", "far.example": "93.184.216.34"}

    def found(host: str, *args: Any, **more: Any) -> list[Any]:
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (addresses[host], 0))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    for url in ("https://far.example", "http://127.0.0.1:1", "http://localhost", "http://[::1]"):
        check_host(url, insecure=False)
    check_host("http://box.lan", insecure=True)
    for url, insecure in (("http://box.lan", False), ("http://far.example", True)):
        with pytest.raises(ServerRefused, match=r"TLS|public"):
            check_host(url, insecure)


def test_a_key_comes_from_the_variable_or_the_keyring(monkeypatch: pytest.MonkeyPatch) -> None:
    held = SimpleNamespace(get_password=lambda service, host: f" {service}-{host}\n")
    monkeypatch.setitem(__import__("sys").modules, "keyring", held)
    assert find_key("K", "h", {"K": "sk-1"}) == Key("sk-1")
    assert find_key("K", "h", {}) == Key("slm-lsp-h")
    with pytest.raises(ServerRefused, match="characters"):
        find_key("K", "h", {"K": "a\nb"})

    def broken(service: str, host: str) -> str:
        raise RuntimeError("locked")

    monkeypatch.setattr(held, "get_password", broken)
    assert find_key("K", "h", {}) == Key()
    assert Key().headers() == {}
    assert server_settings.KEYRING_SERVICE == "slm-lsp"


def test_a_key_shows_itself_to_nobody() -> None:
    key = Key("sk-secret")
    assert "secret" not in repr(key) + str(key)
    assert key.hide("bad key sk-secret!") == "bad key …!"
    assert Key().hide("text") == "text"


# --- the breaker ---


def test_it_opens_after_failures_in_a_row_for_a_growing_time() -> None:
    clock = FakeClock()
    breaker = Breaker(clock)
    for _ in range(PATIENCE):
        assert breaker.allows()
        breaker.failed("down")
    assert (breaker.is_open, breaker.reason) == (True, "down")
    waits = []
    for _ in range(9):
        assert not breaker.allows()
        waits.append(breaker.retry_in_ms())
        clock.advance(waits[-1])
        assert breaker.allows()
        assert not breaker.allows()  # one at a time
        breaker.failed("down")
    assert waits[:3] == [FIRST_OPEN_MS, 2 * FIRST_OPEN_MS, 4 * FIRST_OPEN_MS]
    assert waits[-1] == LAST_OPEN_MS


def test_one_success_closes_it_and_a_request_taken_back_decides_nothing() -> None:
    clock = FakeClock()
    breaker = Breaker(clock)
    breaker.failed("401", wait_ms=5_000)
    assert breaker.retry_in_ms() == 5_000
    clock.advance(5_000)
    assert breaker.allows()
    breaker.undecided()
    assert breaker.allows()
    breaker.succeeded()
    assert (breaker.is_open, breaker.reason, breaker.retry_in_ms()) == (False, "", 0.0)
    for _ in range(PATIENCE - 1):
        breaker.failed("late", late=True)
    breaker.succeeded()
    breaker.failed("late", late=True)
    assert breaker.allows()


def test_lateness_is_forgiven_soon() -> None:
    clock = FakeClock()
    breaker = Breaker(clock)
    for _ in range(20):
        clock.advance(breaker.retry_in_ms())
        assert breaker.allows()
        breaker.failed("late", late=True)
    assert breaker.retry_in_ms() == LATE_OPEN_MS
