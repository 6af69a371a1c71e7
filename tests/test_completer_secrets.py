"""No secret gets to the engine, into the index or on the screen, whatever is done for a request.

Owns: the whole completer beside secrets: typing, background jobs, alternatives with more context,
other files' words; files of secrets; and the reasons given.

Invariant: no secret stands in this file; the engine only looks at what it is asked.
"""

from __future__ import annotations

import asyncio
import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest
from completer_scene import Scene

from benchmarks.secrets.corpus import ALNUM, BASE64, HEX, Maker, left_of
from slm_lsp.completion import lexical, reading
from slm_lsp.completion.policy import PLAIN, SWITCHES, Policy
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.completion.token_index import TokenIndex
from slm_lsp.completion.tokens import DocumentTokens
from slm_lsp.config import Config
from slm_lsp.engine.base import EngineStats
from slm_lsp.engine.fake import FakeEngine
from slm_lsp.secrets import search
from slm_lsp.secrets.spans import KEY
from slm_lsp.types import (
    DocumentSnapshot,
    Finish,
    Generation,
    GenerationRequest,
    ModelInfo,
    Priority,
    Prompt,
    Text,
)

MAKER = Maker(8)
GITHUB = "gh" + "p_" + MAKER.of(ALNUM, 36)
SECRETS = {
    "token": GITHUB,
    "hex": MAKER.of(HEX, 32),
    "password": "hunter" + "2-and-more",
    "line": MAKER.of(BASE64, 64),
    "typed": "sk-" + "ant-api03-" + MAKER.of(ALNUM, 60),
}
KEY_FILE = "-----BEGIN PRIVATE KEY-----\n{line}\n-----END PRIVATE KEY-----"
ABOVE = f"""import os

TOKEN = "{{token}}"
URL = "postgres://me:{{password}}@db/app"
PEM = '''{KEY_FILE}'''
"""
BELOW = """
def other(x):
    # {token}
    return connect(api_key="{hex}", password="{password}")
"""
DOCUMENT = (ABOVE * 6 + "def f(x):\n    return <CURSOR>\n" + BELOW * 8).format(**SECRETS)
QWEN = ModelInfo(
    "qwen", 4096, specials=frozenset(f"<|fim_{each}|>" for each in ("prefix", "suffix", "middle"))
)
SUFFIX_FIRST = ModelInfo(
    "seed", 4096, specials=frozenset(f"<[fim-{each}]>" for each in ("prefix", "suffix", "middle"))
)
MODELS = [QWEN, SUFFIX_FIRST, ModelInfo("plain", 4096)]


class Watcher(FakeEngine):
    """Answers every request by a text that its deadline cut, and those of the background whole."""

    def __init__(self, info: ModelInfo) -> None:
        super().__init__(info)
        self.says = "compute(x"

    def stats(self) -> EngineStats:
        return dataclasses.replace(super().stats(), prefill_ms_per_token=1.0, decode_ms=10.0)

    async def generate(self, request: GenerationRequest) -> Generation:
        self.requests.append(request)
        if request.prompt.max_tokens == 0:
            return Generation("", Finish.LENGTH)
        if request.priority is Priority.INTERACTIVE:
            return Generation(self.says, Finish.DEADLINE)
        return Generation(self.says + ", 1)", Finish.STOP)

    @property
    def prompts(self) -> list[Prompt]:
        return [each for job in self.requests for each in (job.prompt, *job.others)]


class SecretScene(Scene):
    """A completer with all that it can do, on a watcher."""

    def __init__(self, folder: Path, info: ModelInfo, policy: Policy) -> None:
        super().__init__(folder, policy)
        self.watcher = Watcher(info)
        self.completer.engine = self.engine = self.watcher

    async def settled(self) -> None:
        """All background work has ended."""
        flight = self.completer._flights.background("s")
        if flight is not None:
            await asyncio.wait_for(flight.landed.wait(), 10)

    def asked(self, fixture: str) -> DocumentSnapshot:
        return self.request(fixture).snapshot


def words_of(prompt: Prompt) -> str:
    """All of the document's text that a prompt holds, and what is forced on its answer."""
    texts = (each.text for each in prompt.segments if isinstance(each, Text))
    return "".join(texts) + prompt.heal


@pytest.fixture(params=MODELS, ids=lambda info: info.name)
def scene(
    tmp_path: Path, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SecretScene]:
    monkeypatch.setattr(reading, "PAUSE_S", 0.0)
    policy = Policy(**dict.fromkeys(SWITCHES, True))
    made = SecretScene(tmp_path, request.param, policy)
    yield made
    made.close()


@pytest.fixture
def plain(tmp_path: Path) -> Iterator[Scene]:
    made = Scene(tmp_path, dataclasses.replace(PLAIN, anchors=True))
    made.engine.info = QWEN
    yield made
    made.close()


# --- prompts ---


async def test_no_prompt_of_any_kind_holds_a_secret(scene: SecretScene) -> None:
    scene.completer.opened(scene.asked(DOCUMENT))
    for typed in ("", "c", "co", f"connect('{SECRETS['typed']}', 'me", ")\n    y = "):
        await scene.complete(DOCUMENT.replace("<CURSOR>", f"{typed}<CURSOR>"))
        await scene.settled()
        scene.completer.idle(scene.asked(DOCUMENT), len(ABOVE))
    kinds = {each.priority for each in scene.watcher.requests}
    assert {Priority.INTERACTIVE, Priority.SPECULATIVE, Priority.WARMUP} <= kinds
    assert any(each.others for each in scene.watcher.requests)
    for prompt in scene.watcher.prompts:
        words = words_of(prompt)
        assert not [kind for kind, each in SECRETS.items() if left_of(each, words, 8)]
        assert not search.in_text(words)
    assert any(KEY in words_of(each) for each in scene.watcher.prompts)


async def test_a_secret_that_is_typed_is_in_no_prompt_once_its_mark_tells(
    scene: SecretScene,
) -> None:
    line, secret = "    t = '", SECRETS["typed"]
    for n in range(0, len(secret) + 1):
        await scene.complete(f"def f():\n{line}{secret[:n]}<CURSOR>'\n")
        await scene.settled()
    held = [left_of(secret[10:], words_of(each), 12) for each in scene.watcher.prompts]
    assert not any(held)


async def test_typing_beside_secrets_leaves_what_was_read_as_it_is(plain: Scene) -> None:
    for n in range(23):
        plain.engine.enqueue("x")
        await plain.complete(
            DOCUMENT.replace("<CURSOR>", "compute(x, len(values))\n"[:n] + "<CURSOR>")
        )
    read = [each.prompt.segments[:5] for each in plain.engine.requests]
    assert len(read) == 23
    assert set(read) == {read[0]}


@pytest.mark.parametrize("info", MODELS, ids=lambda info: info.name)
async def test_a_secret_makes_the_prompt_that_its_placeholder_makes(
    tmp_path: Path, info: ModelInfo
) -> None:
    prompts = []
    for secret in (SECRETS["token"], KEY):
        scene = Scene(tmp_path, PLAIN)
        scene.engine.info = info
        scene.engine.enqueue("x")
        await scene.complete(f"a = '{secret}'\nb = <CURSOR>\nc = '{secret}'\n")
        prompts.append(scene.engine.requests[0].prompt)
        scene.close()
    assert prompts[0] == prompts[1]


# --- answers ---


@pytest.mark.parametrize(
    ("fixture", "says"),
    [
        ("token = <CURSOR>\n", f"'{GITHUB}'"),
        (f"token = '{GITHUB[:12]}<CURSOR>'\n", GITHUB[12:]),
        ("password = '<CURSOR>'\n", SECRETS["password"]),
        (f"a = '{GITHUB}'\nb = <CURSOR>\n", f"'{KEY}'"),
        ("def f():\n    <CURSOR>\n", f"x = 1\n    token = '{GITHUB}'"),
    ],
)
async def test_a_completion_that_would_print_a_secret_is_rejected(
    plain: Scene, fixture: str, says: str
) -> None:
    plain.engine.enqueue(says)
    outcome = await plain.complete(fixture)
    assert (outcome.completion, outcome.reject) == (None, RejectReason.SECRET)
    assert plain.trace.rejects == {RejectReason.SECRET: 1}


async def test_other_completions_beside_secrets_are_shown(plain: Scene) -> None:
    plain.engine.enqueue("os.environ['TOKEN']")
    outcome = await plain.complete(f"a = '{GITHUB}'\ntoken = <CURSOR>\n")
    assert outcome.completion is not None


# --- the words of open files ---


def test_the_index_knows_no_secret() -> None:
    index = TokenIndex()
    text = DOCUMENT.replace("<CURSOR>", "")
    index.update("a", text)
    lines = "\n".join(index._documents["a"].lines)
    for secret in SECRETS.values():
        assert not left_of(secret, lines, 8)
        assert not [word for word in index.words if len(word) > 7 and word in secret]
    assert "compute" not in index.words
    assert "connect" in index.words
    other = "x = hunt"
    index.update("b", other)
    assert lexical.guess(index, "b", other, len(other)) == ""


def test_a_key_that_is_edited_stays_unknown() -> None:
    text = f"x = 1\n{KEY_FILE.format(**SECRETS)}\ny = 2\n"
    document = DocumentTokens()
    document.update(text)
    at = text.index(SECRETS["line"]) + 20
    for edited in (text[:at] + text[at + 9 :], text[:at] + "\n" + text[at:], text + "z"):
        document.update(edited)
        fresh = DocumentTokens()
        fresh.update(edited)
        assert document.lines == fresh.lines
        assert not left_of(SECRETS["line"][:20], "\n".join(document.lines))


# --- files of secrets ---


async def test_in_a_file_of_secrets_nothing_is_done(scene: SecretScene) -> None:
    request = scene.request("API_URL=<CURSOR>\n")
    snapshot = dataclasses.replace(request.snapshot, uri="file:///app/.env.local")
    scene.completer.opened(snapshot)
    scene.completer.idle(snapshot, 8)
    outcome = await scene.completer.complete(dataclasses.replace(request, snapshot=snapshot))
    assert (outcome.completion, outcome.reject) == (None, RejectReason.SECRET_FILE)
    assert scene.trace.rejects == {RejectReason.SECRET_FILE: 1}
    assert scene.completer._flights.background(snapshot.uri) is None
    assert scene.watcher.requests == []
    assert snapshot.uri not in scene.completer._preparer.index


async def test_who_wants_it_gets_completions_there_without_the_secrets(plain: Scene) -> None:
    plain.completer.config = Config(secret_files="on")
    request = plain.request(f"PASSWORD={SECRETS['password']}\nAPI_URL=<CURSOR>\n")
    snapshot = dataclasses.replace(request.snapshot, uri="file:///app/.env")
    plain.engine.enqueue("http://localhost")
    outcome = await plain.completer.complete(dataclasses.replace(request, snapshot=snapshot))
    assert outcome.completion is not None
    (asked,) = plain.engine.requests
    assert not left_of(SECRETS["password"], words_of(asked.prompt))
