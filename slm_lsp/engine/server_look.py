"""What a server says of itself: which API it has, which model, and that model's control tokens.

Owns: the few requests that find it out, none of which holds anything of a document.

Invariant: what the user has named is taken as it is. What a server does not tell is not guessed
beyond its model's name, and `notes` say in plain words what is missing.

Threads: the event loop.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from slm_lsp.engine.server_apis import APIS, Served
from slm_lsp.engine.server_link import ADVICE, HOPELESS_WAIT_MS, Link, Reply, Trouble
from slm_lsp.engine.server_settings import ServerSettings, host_of
from slm_lsp.engine.server_stream import Json, shown
from slm_lsp.engine.server_text import SIDES
from slm_lsp.types import FimTemplate, ModelInfo

# Hosts whose API is known by their name.
HOSTS = {
    "api.mistral.ai": "mistral",
    "codestral.mistral.ai": "mistral",
    "api.deepseek.com": "deepseek",
}
MAX_CTX = 131_072
# What llama_cpp.server and LM Studio call the owner of their models. The first takes 1.1 for the
# penalty of what was written before where it is told none (llama_cpp/server/types.py).
PENALIZING = ("me", "organization_owner")


@dataclass(frozen=True, slots=True)
class Found:
    """All that is known of a server."""

    served: Served
    info: ModelInfo
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Known:
    """What the project knows of models: `sentinels` of all templates, which template a model of
    some name has, and which one a vocabulary shows."""

    sentinels: tuple[str, ...] = ()
    by_name: Callable[[str], FimTemplate | None] = lambda name: None
    choose: Callable[[ModelInfo], FimTemplate | None] = lambda info: None


async def look_at(link: Link, settings: ServerSettings, known: Known) -> Found:
    """Find out about the server. Raises Trouble."""
    props = await _props(link, settings.api)
    api = settings.api
    if api == "auto":
        api = await _api(link, settings, props)
    listed = {} if api in ("llama", "infill") and props else await _models(link, api)
    model = settings.model or _model_of(props, listed)
    if settings.model and listed and settings.model not in listed:
        names = ", ".join(sorted(listed)[:8])
        raise Trouble(
            f"has no model {settings.model!r}, but {names}: set server_model",
            wait_ms=HOPELESS_WAIT_MS,
        )
    n_ctx = _n_ctx(props, listed.get(model, {}), settings.n_ctx)
    ids, start = await _tokens(link, known.sentinels) if api == "llama" else ({}, ())
    info = ModelInfo(
        model or host_of(settings.url),
        n_ctx,
        specials=frozenset(ids),
        metadata={"general.name": model},
    )
    template, notes = _template(api, settings, info, known)
    penalizes = listed.get(model, {}).get("owned_by") in PENALIZING
    served = Served(api, model, template, ids, start, APIS[api].tells, penalizes)
    return Found(served, _with_template(info, template), notes)


def _with_template(info: ModelInfo, template: FimTemplate) -> ModelInfo:
    return ModelInfo(info.name, info.n_ctx, info.n_vocab, info.specials, info.metadata, template)


def _template(
    api: str, settings: ServerSettings, info: ModelInfo, known: Known
) -> tuple[FimTemplate, tuple[str, ...]]:
    """How prompts are put together, and what should be said of that."""
    if APIS[api].by_sides:
        return SIDES, ()
    found = settings.template
    if found is None and info.specials:
        found = known.choose(info)
    if found is None or "{suffix}" not in found.layout:
        found = known.by_name(info.metadata["general.name"]) or found
    if found is not None and (missing := _missing(api, info, found)):
        note = f"the server's model lacks {missing}: set server_template to its own"
        return FimTemplate("prefix-only", ("{prefix}",)), (note,)
    if found is not None and "{suffix}" in found.layout:
        return found, ()
    if api == "ollama":
        # Its own template for the model puts the two together, or it refuses.
        return SIDES, ()
    note = (
        f"how {info.name} is shown the text behind the cursor is not known: set server_template, "
        "or only what stands before it is shown"
    )
    return found or FimTemplate("prefix-only", ("{prefix}",)), (note,)


def _missing(api: str, info: ModelInfo, template: FimTemplate) -> str:
    """A control text that the server's tokenizer does not know, where it can be asked."""
    if api != "llama" or not info.specials:
        return ""
    needed = (part for part in template.layout if "{" not in part)
    return next((part for part in needed if part not in info.specials), "")


# --- requests ---


async def _props(link: Link, api: str) -> Json:
    """What llama.cpp's server tells; nothing, where it is another."""
    if api not in ("auto", "llama", "infill"):
        return {}
    reply = await link.look("/props")
    _check(reply)
    if reply.status == 503:
        raise Trouble("is loading its model", retriable=True, status=503)
    body = reply.body or {}
    return body if reply.status == 200 and "default_generation_settings" in body else {}


async def _api(link: Link, settings: ServerSettings, props: Json) -> str:
    known = HOSTS.get(host_of(settings.url))
    if known is not None:
        return known
    if props:
        return "llama"
    reply = await link.look("/api/version")
    if reply.status == 200 and reply.body is not None and "version" in reply.body:
        return "ollama"
    return "openai"


async def _models(link: Link, api: str) -> dict[str, Json]:
    """The models that a server lists, by name; none where it does not tell."""
    path = "/api/tags" if api == "ollama" else "/v1/models"
    reply = await link.look("/models" if api == "deepseek" else path)
    _check(reply)
    if reply.status >= 500:
        raise Trouble(f"answered {reply.status}", retriable=True, status=reply.status)
    body = reply.body or {}
    entries = body.get("models") if api == "ollama" else body.get("data")
    found: dict[str, Json] = {}
    for each in entries if isinstance(entries, list) else ():
        name = each.get("name" if api == "ollama" else "id") if isinstance(each, dict) else None
        if isinstance(name, str):
            found[name] = each
            found.setdefault(name.removesuffix(":latest"), each)
    return found


async def _tokens(link: Link, sentinels: Iterable[str]) -> tuple[dict[str, int], tuple[int, ...]]:
    """Which control texts are one token each, and what a text begins with."""
    start = await _tokenized(link, "", special=True)
    ids = {}
    for text in sentinels:
        tokens = await _tokenized(link, text)
        if len(tokens) == 1:
            ids[text] = tokens[0]
    return ids, tuple(start)


async def _tokenized(link: Link, text: str, *, special: bool = False) -> list[int]:
    body = {"content": text, "add_special": special, "parse_special": True}
    reply = await link.look("/tokenize", body)
    _check(reply)
    tokens: Any = (reply.body or {}).get("tokens")
    good = isinstance(tokens, list) and all(isinstance(token, int) for token in tokens)
    return tokens if good else []


def _check(reply: Reply) -> None:
    """Raise Trouble where the server does not speak with this user."""
    if reply.status in (401, 403):
        said = shown(str((reply.body or {}).get("error", ""))) if reply.body else ""
        text = "; ".join(part for part in (ADVICE[reply.status], said) if part)
        raise Trouble(
            f"answered {reply.status}: {text}", wait_ms=HOPELESS_WAIT_MS, status=reply.status
        )


# --- what they say ---


def _model_of(props: Json, listed: dict[str, Json]) -> str:
    name = props.get("model_alias") or props.get("model_path") or ""
    if isinstance(name, str) and name:
        return name.replace("\\", "/").rsplit("/", 1)[-1]
    return next(iter(listed), "")


def _n_ctx(props: Json, entry: Json, default: int) -> int:
    found: Any = None
    with contextlib.suppress(AttributeError):
        found = (props.get("default_generation_settings") or {}).get("n_ctx")
    found = found or entry.get("max_model_len")  # vLLM's
    return min(found, MAX_CTX) if isinstance(found, int) and found > 0 else default
