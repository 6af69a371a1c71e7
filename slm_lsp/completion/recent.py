"""What became of the last requests: the answer to "why is there no suggestion?".

Owns: a ring of the last requests of all documents, and for each open document its last one.

Invariant: numbers, and names that this program gave: no source text, no name of a file or a
model, no URI in an `Entry`; one that is read from the disk and holds more is refused. Bounded.

Threads: the event loop; entries are values.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any

from slm_lsp.completion.outcome import Outcome
from slm_lsp.completion.postprocess import RejectReason
from slm_lsp.completion.reasons import explain
from slm_lsp.context.languages import LANGUAGES
from slm_lsp.deadline import wall_s
from slm_lsp.prompt.plan import Speed
from slm_lsp.trace import Span
from slm_lsp.types import CompletionRequest

N_KEPT = 50
N_DOCUMENTS = 64
NAME = re.compile(r"[a-z][a-z_]{0,39}|")
OTHER_LANGUAGE = "other"
# Nobody looks for a suggestion that was given up.
GIVEN_UP = frozenset({RejectReason.CANCELLED, RejectReason.SUPERSEDED})


@dataclass(frozen=True, slots=True)
class Entry:
    """One request. `at_s` is the time of day; `score` how likely the model thought its first
    line, and `bar` what was asked of it, both natural logarithms, 0 where nothing was judged."""

    at_s: float = 0.0
    language: str = ""
    want: str = ""
    trigger: str = ""
    origin: str = ""
    reject: str = ""
    finish: str = ""
    budget_ms: float = 0.0
    request_ms: float = 0.0
    n_window: int = 0
    n_prompt: int = 0
    n_cached: int = 0
    n_predicted: int = 0
    n_chars: int = 0
    prefill_ms_per_token: float = 0.0
    decode_ms: float = 0.0
    score: float = 0.0
    bar: float = 0.0
    stages_ms: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_given_up(self) -> bool:
        """Whether the client did not want an answer any more."""
        return self.reject in GIVEN_UP

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, value: Any) -> Entry:
        """The opposite of `to_json`. Raises ValueError."""
        if not isinstance(value, dict) or value.keys() != {each.name for each in fields(cls)}:
            raise ValueError("fields are missing, or more than there are")
        return cls(**{each.name: _checked(value[each.name], each.type) for each in fields(cls)})


def _checked(value: Any, kind: Any) -> Any:
    """A value of a field, whose type is written as text."""
    if kind == "str":
        if not isinstance(value, str) or not NAME.fullmatch(value):
            raise ValueError("a name that is none of ours")
        return value
    if kind in ("int", "float"):
        if type(value) not in (int, float) or not -1e12 < value < 1e12:
            raise ValueError("not a number")
        return int(value) if kind == "int" else float(value)
    if not isinstance(value, dict) or len(value) > 20:
        raise ValueError("no stages")
    return {_checked(name, "str"): _checked(ms, "float") for name, ms in value.items()}


def entry_of(
    request: CompletionRequest, outcome: Outcome, span: Span, budget_ms: float, speed: Speed
) -> Entry:
    """What is kept of a request."""
    generation, completion, facts = outcome.generation, outcome.completion, span.facts
    language = request.snapshot.language
    return Entry(
        at_s=wall_s(),
        language=language if language in LANGUAGES else OTHER_LANGUAGE,
        want=str(facts.get("want") or ""),
        trigger=str(request.trigger),
        origin=str(completion.origin) if completion else "",
        reject=str(outcome.reject or ""),
        finish=str(generation.finish) if generation else "",
        budget_ms=round(budget_ms, 1),
        request_ms=round(span.elapsed_ms(), 1),
        n_window=int(facts.get("n_window") or 0),
        n_prompt=generation.n_prompt if generation else 0,
        n_cached=generation.n_cached if generation else 0,
        n_predicted=generation.n_predicted if generation else 0,
        n_chars=len(completion.text) if completion else 0,
        prefill_ms_per_token=round(speed.prefill_ms, 3),
        decode_ms=round(speed.decode_ms, 3),
        score=round(outcome.score or 0.0, 3),
        bar=round(outcome.bar or 0.0, 3),
        stages_ms={name: round(ms, 1) for name, ms in span.stages_ms.copy().items()},
    )


def detail(entry: Entry) -> str:
    """The numbers behind a reason, in words; empty where there are none."""
    match entry.reject:
        case RejectReason.NO_TIME | RejectReason.UNFINISHED:
            return _time_detail(entry)
        case RejectReason.UNSURE:
            said, asked = (100 * 2.718281828**each for each in (entry.score, entry.bar))
            return f"the model gave its line {said:.2g} %, the bar is at {asked:.2g} %"
        case RejectReason.MOVED_ON:
            return f"the answer took {entry.request_ms:.0f} ms"
    return ""


def _time_detail(entry: Entry) -> str:
    n_unread = entry.n_prompt - entry.n_cached
    is_known = n_unread > 0
    n_unread = n_unread if is_known else entry.n_window
    reading_ms = n_unread * entry.prefill_ms_per_token
    if not entry.n_predicted and reading_ms > 0.0:
        up_to = "" if is_known else "up to "
        return (
            f"reading {up_to}{n_unread} tokens of context takes {up_to}about {reading_ms:.0f} ms, "
            f"the budget was {entry.budget_ms:.0f} ms"
        )
    if entry.n_predicted:
        return (
            f"{entry.n_predicted} tokens were written, about {entry.decode_ms:.0f} ms each, "
            f"the budget was {entry.budget_ms:.0f} ms"
        )
    return f"the budget was {entry.budget_ms:.0f} ms"


def explained(entry: Entry) -> dict[str, Any]:
    """An entry with its reason in words, as a JSON object."""
    shown = entry.to_json()
    if entry.reject:
        explanation = explain(entry.reject)
        shown |= {
            "sentence": explanation.sentence,
            "advice": explanation.advice,
            "detail": detail(entry),
        }
    return shown


class Recent:
    """See the module. `on_new` is told of every entry."""

    def __init__(self) -> None:
        self.on_new: Callable[[], None] = lambda: None
        self._entries: deque[Entry] = deque(maxlen=N_KEPT)
        self._last: dict[str, Entry] = {}

    def add(self, uri: str, entry: Entry) -> None:
        """One more request has ended."""
        self._entries.append(entry)
        if not entry.is_given_up or uri not in self._last:
            self._last.pop(uri, None)
            self._last[uri] = entry
        while len(self._last) > N_DOCUMENTS:
            del self._last[next(iter(self._last))]
        self.on_new()

    def entries(self) -> list[Entry]:
        """All that are kept, the oldest first."""
        return list(self._entries)

    def last(self, uri: str | None = None) -> Entry | None:
        """The last request of a document, or of all, that was not given up, if there is one."""
        if uri is not None:
            return self._last.get(uri)
        wanted = [entry for entry in self._entries if not entry.is_given_up]
        return wanted[-1] if wanted else (self._entries[-1] if self._entries else None)

    def forget(self, uri: str) -> None:
        """Drop what is kept for a document."""
        self._last.pop(uri, None)
