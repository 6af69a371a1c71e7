"""What is asked of each kind of server, and what it answers.

Owns: for each API its paths, the body of a request, and the reading of one object of its answer.

Invariant: pure. Every request is greedy, streams, and names its stops; what a body holds of a
document is what the prompt holds. A reader takes any JSON object: what it lacks is left out, and
an error in it raises `Complaint`.

Threads: any; values and functions.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from slm_lsp.engine.server_stream import shown
from slm_lsp.engine.server_text import as_mixed, as_sides, as_string, sides_as_text
from slm_lsp.types import FimTemplate, Finish, Prompt, Start

Json = dict[str, Any]
# OpenAI's API takes no more; those that take more are none the worse for it, as all of them are
# looked for here, too.
MAX_STOPS = 4
KEEP_ALIVE = "30m"


class Complaint(Exception):
    """The server says in its stream what went wrong."""


@dataclass(frozen=True, slots=True)
class Served:
    """A server's model, as far as it is known: what a body depends on. `ids` are the tokens of
    the control texts that the server's own tokenizer knows, `start` those before any text.
    `penalizes`: unless told otherwise, the server makes what was written before less likely, which
    no code can do with."""

    api: str
    model: str
    template: FimTemplate
    ids: Mapping[str, int] = field(default_factory=dict)
    start: tuple[int, ...] = ()
    logprobs: bool = False
    penalizes: bool = False


@dataclass(frozen=True, slots=True)
class Piece:
    """What one object of an answer adds. `tokens` are texts with their log-probabilities;
    `n_prompt` and `n_cached` and the rates where the server tells them."""

    text: str = ""
    tokens: tuple[tuple[str, float], ...] = ()
    finish: Finish | None = None
    n_prompt: int = 0
    n_cached: int = 0
    prefill_ms: float = 0.0
    decode_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Api:
    """One kind of server. `heals`: generated text can be made to begin with what is left out of
    the prompt; `tells` log-probabilities if asked."""

    name: str
    path: str
    body: Callable[[Served, Prompt], Json]
    read: Callable[[Json], Piece]
    heals: bool = False
    tells: bool = False
    by_sides: bool = False


def controls_of(template: FimTemplate) -> tuple[str, ...]:
    """Every control text that the template may put into a prompt, or that ends a text."""
    parts = (*template.layout, *template.files_layout, *template.file)
    return (*(part for part in parts if "{" not in part), *template.stop)


def _stops(prompt: Prompt, n_most: int = MAX_STOPS) -> list[str]:
    return [*prompt.stop.strings, *prompt.stop_specials][:n_most]


# --- OpenAI's completions: vLLM, SGLang, TGI, LM Studio, llama_cpp.server ---


def _openai_body(served: Served, prompt: Prompt) -> Json:
    text = as_string(prompt.segments, prompt.heal, controls_of(served.template))
    asked: Json = {"logprobs": 1} if served.logprobs else {}
    if served.penalizes:
        asked["repeat_penalty"] = 1.0
    return {**_basics(served, prompt), "prompt": text, **asked}


def _basics(served: Served, prompt: Prompt) -> Json:
    named = {"model": served.model} if served.model else {}
    return {
        **named,
        "max_tokens": prompt.max_tokens,
        "temperature": 0,
        "stream": True,
        "stop": _stops(prompt),
    }


def _openai_read(found: Json) -> Piece:
    _complain(found)
    choice = _first(found.get("choices"))
    text = _text(choice.get("text"))
    usage = _table(found.get("usage"))
    details = _table(usage.get("prompt_tokens_details"))
    return Piece(
        text,
        _openai_logprobs(choice, text),
        _openai_finish(choice),
        n_prompt=_count(usage.get("prompt_tokens")),
        n_cached=_count(details.get("cached_tokens")),
    )


def _openai_logprobs(choice: Json, text: str) -> tuple[tuple[str, float], ...]:
    told = _table(choice.get("logprobs"))
    texts, values = told.get("tokens"), told.get("token_logprobs")
    if not isinstance(texts, list) or not isinstance(values, list):
        return ()
    pairs = [
        (token, float(value))
        for token, value in zip(texts, values, strict=False)
        if isinstance(token, str) and isinstance(value, (int, float))
    ]
    # Some name bytes or control tokens; what does not add up to the text says nothing of it.
    return tuple(pairs) if "".join(token for token, _ in pairs) == text else ()


def _openai_finish(choice: Json) -> Finish | None:
    reason = choice.get("finish_reason")
    if reason == "length":
        return Finish.LENGTH
    if reason in ("stop", "eos", "eos_token", "stop_sequence"):
        return Finish.STOP if isinstance(choice.get("stop_reason"), str) else Finish.EOS
    return None


# --- llama.cpp's own server ---


def _llama_body(served: Served, prompt: Prompt) -> Json:
    controls = controls_of(served.template)
    mixed = as_mixed(prompt.segments, "", served.ids, served.start, controls)
    is_mixed = {type(part) for part in mixed} == {int, str}
    # Strings alone would be several prompts; tokens alone are one.
    text = mixed if is_mixed or not mixed else as_string(prompt.segments, "", controls)
    return {"prompt": text if text else " ", **_llama_basics(served, prompt)}


def _llama_basics(served: Served, prompt: Prompt) -> Json:
    asked: Json = {"n_probs": 1} if served.logprobs else {}
    if grammar := begin_grammar(prompt.heal, prompt.start):
        asked["grammar"] = grammar
    return {
        "n_predict": prompt.max_tokens,
        "temperature": 0,
        "repeat_penalty": 1.0,
        "stream": True,
        "cache_prompt": True,
        "stop": _stops(prompt, 16),
        **asked,
    }


def begin_grammar(heal: str, start: Start) -> str:
    """A grammar for texts that begin as a prompt wants it; empty where any text may follow."""
    if not heal and start is Start.ANY:
        return ""
    rest = {
        Start.ANY: "any*",
        Start.NO_BREAK: "[ \\t]* ([^ \\t\\r\\n] any*)?",
        Start.TEXT: "[ \\t]* [^ \\t\\r\\n] any*",
    }[start]
    literal = f"{json.dumps(heal)} " if heal else ""
    return f"root ::= {literal}{rest}\nany ::= [^\\x00]"


def _llama_read(found: Json) -> Piece:
    _complain(found)
    text, timings = _text(found.get("content")), _table(found.get("timings"))
    finish = None
    if found.get("stop") is True:
        kinds = {"limit": Finish.LENGTH, "word": Finish.STOP}
        finish = kinds.get(str(found.get("stop_type")), Finish.EOS)
    return Piece(
        text,
        _llama_logprobs(found, text),
        finish,
        n_prompt=_count(found.get("tokens_evaluated")),
        n_cached=_count(found.get("tokens_cached")) if finish is None else _cached(found, timings),
        prefill_ms=_number(timings.get("prompt_per_token_ms")),
        decode_ms=_number(timings.get("predicted_per_token_ms")),
    )


def _cached(found: Json, timings: Json) -> int:
    """Tokens that were in the cache: what was evaluated is told without them in `timings`."""
    return max(0, _count(found.get("tokens_evaluated")) - _count(timings.get("prompt_n")))


def _llama_logprobs(found: Json, text: str) -> tuple[tuple[str, float], ...]:
    told = found.get("completion_probabilities")
    pairs = []
    for each in told if isinstance(told, list) else ():
        each = _table(each)
        token, value = each.get("token"), each.get("logprob")
        if isinstance(token, str) and isinstance(value, (int, float)):
            pairs.append((token, float(value)))
    return tuple(pairs) if "".join(token for token, _ in pairs) == text else ()


def _infill_body(served: Served, prompt: Prompt) -> Json:
    sides = sides_as_text(as_sides(prompt.segments, prompt.heal))
    extra = [{"filename": path, "text": text} for path, text in sides.files]
    bare = Prompt((), prompt.stop, (), prompt.max_tokens)
    return {
        "input_prefix": sides.prefix,
        "input_suffix": sides.suffix,
        "input_extra": extra,
        "prompt": sides.typed,
        **_llama_basics(served, bare),
    }


# --- Ollama ---


def _ollama_body(served: Served, prompt: Prompt) -> Json:
    if served.template.layout and not is_by_sides(served):
        text = as_string(prompt.segments, prompt.heal, controls_of(served.template))
        shape: Json = {"prompt": text, "raw": True}
    else:
        sides = sides_as_text(as_sides(prompt.segments, prompt.heal))
        shape = {"prompt": sides.prefix + sides.typed, "suffix": sides.suffix or "\n"}
    options = {
        "temperature": 0,
        "repeat_penalty": 1.0,
        "num_predict": prompt.max_tokens,
        "stop": _stops(prompt, 16),
    }
    return {
        "model": served.model,
        **shape,
        "stream": True,
        "keep_alive": KEEP_ALIVE,
        "options": options,
    }


def _ollama_read(found: Json) -> Piece:
    _complain(found)
    finish = None
    if found.get("done") is True:
        finish = Finish.LENGTH if found.get("done_reason") == "length" else Finish.EOS
    return Piece(
        _text(found.get("response")), finish=finish, n_prompt=_count(found.get("prompt_eval_count"))
    )


# --- Mistral and DeepSeek ---


def _sides_body(served: Served, prompt: Prompt) -> Json:
    sides = sides_as_text(as_sides(prompt.segments, prompt.heal))
    shown_too = "".join(f"{path}\n{text}\n" for path, text in sides.files)
    return {
        **_basics(served, prompt),
        "prompt": shown_too + sides.prefix + sides.typed,
        "suffix": sides.suffix,
    }


def _mistral_read(found: Json) -> Piece:
    _complain(found)
    choice = _first(found.get("choices"))
    delta = _table(choice.get("delta") or choice.get("message"))
    usage = _table(found.get("usage"))
    return Piece(
        _text(delta.get("content")),
        finish=_openai_finish(choice),
        n_prompt=_count(usage.get("prompt_tokens")),
    )


APIS = {
    each.name: each
    for each in (
        Api("openai", "/v1/completions", _openai_body, _openai_read, tells=True),
        Api("llama", "/completion", _llama_body, _llama_read, heals=True, tells=True),
        Api("infill", "/infill", _infill_body, _llama_read, tells=True, by_sides=True),
        Api("ollama", "/api/generate", _ollama_body, _ollama_read),
        Api("mistral", "/v1/fim/completions", _sides_body, _mistral_read, by_sides=True),
        Api("deepseek", "/beta/completions", _sides_body, _openai_read, by_sides=True),
    )
}


def is_by_sides(served: Served) -> bool:
    """Whether the server is given prefix and suffix, and puts them together itself."""
    return served.template.name == "prefix-and-suffix"


# --- any JSON ---


def _complain(found: Json) -> None:
    error = found.get("error")
    if error:
        said = error.get("message", error) if isinstance(error, dict) else error
        raise Complaint(shown(str(said)))


def _first(found: Any) -> Json:
    return _table(found[0]) if isinstance(found, Sequence) and found else {}


def _table(found: Any) -> Json:
    return found if isinstance(found, dict) else {}


def _text(found: Any) -> str:
    return found if isinstance(found, str) else ""


def _count(found: Any) -> int:
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0


def _number(found: Any) -> float:
    return float(found) if isinstance(found, (int, float)) and 0 < found < 1e6 else 0.0
