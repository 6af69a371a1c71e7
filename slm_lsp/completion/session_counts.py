"""What is kept of a session: counters, latencies, processor time.

Owns: the value, its sum over sessions, and how it is written.

Invariant: numbers, and names of origins and reasons that this program gave them. No source
text, no name of a file or a model, no URI, no clock reading: there is no field that could
hold one, and a file that has more is refused.

Threads: any; values.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from slm_lsp.completion.histogram import Histogram, count_of

# To be raised whenever a field, its meaning or the histogram's scale changes.
FORMAT = 1
MAX_NAMES = 100
MAX_CPU_S = 1e10
NAME = re.compile(r"[a-z][a-z_]{0,39}")


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """One session's, or the sum of several.

    `answered_ms` holds the requests that an answer was given to, `suggested_ms` those of them
    whose answer was a suggestion. `n_shown` and `n_accepted` are what the editor told.
    `daemon_cpu_s` is all that the daemon spent from when it was ready for the session to the
    session's end, for whomever; loading the model is not in it.
    """

    n_requests: int = 0
    n_shown: int = 0
    n_accepted: int = 0
    origins: Mapping[str, int] = field(default_factory=dict)
    rejects: Mapping[str, int] = field(default_factory=dict)
    answered_ms: Histogram = field(default_factory=Histogram)
    suggested_ms: Histogram = field(default_factory=Histogram)
    server_cpu_s: float = 0.0
    daemon_cpu_s: float = 0.0

    @property
    def n_suggestions(self) -> int:
        """Requests that were answered by a suggestion."""
        return sum(self.origins.values())

    def __add__(self, other: SessionCounts) -> SessionCounts:
        return SessionCounts(
            self.n_requests + other.n_requests,
            self.n_shown + other.n_shown,
            self.n_accepted + other.n_accepted,
            Counter(self.origins) + Counter(other.origins),
            Counter(self.rejects) + Counter(other.rejects),
            self.answered_ms + other.answered_ms,
            self.suggested_ms + other.suggested_ms,
            self.server_cpu_s + other.server_cpu_s,
            self.daemon_cpu_s + other.daemon_cpu_s,
        )

    def to_json(self) -> dict[str, Any]:
        """What `from_json` takes."""
        return {
            "format": FORMAT,
            "n_requests": self.n_requests,
            "n_shown": self.n_shown,
            "n_accepted": self.n_accepted,
            "origins": {str(name): n for name, n in self.origins.items()},
            "rejects": {str(name): n for name, n in self.rejects.items()},
            "answered_ms": self.answered_ms.to_json(),
            "suggested_ms": self.suggested_ms.to_json(),
            "server_cpu_s": round(self.server_cpu_s, 3),
            "daemon_cpu_s": round(self.daemon_cpu_s, 3),
        }

    @classmethod
    def from_json(cls, value: Any) -> SessionCounts:
        """The opposite of `to_json`. Raises ValueError."""
        if not isinstance(value, dict) or value.get("format") != FORMAT:
            raise ValueError(f"not of format {FORMAT}")
        if value.keys() != SessionCounts().to_json().keys():
            raise ValueError("fields are missing, or more than there are")
        return cls(
            count_of(value["n_requests"]),
            count_of(value["n_shown"]),
            count_of(value["n_accepted"]),
            _counts_of(value["origins"]),
            _counts_of(value["rejects"]),
            Histogram.from_json(value["answered_ms"]),
            Histogram.from_json(value["suggested_ms"]),
            _seconds_of(value["server_cpu_s"]),
            _seconds_of(value["daemon_cpu_s"]),
        )


def total(sessions: Iterable[SessionCounts]) -> SessionCounts:
    """The sum of sessions."""
    return sum(sessions, SessionCounts())


def _counts_of(value: Any) -> dict[str, int]:
    """Numbers by name; the names are going to be printed."""
    if not isinstance(value, dict) or len(value) > MAX_NAMES:
        raise ValueError("no numbers by name")
    if not all(map(NAME.fullmatch, value)):
        raise ValueError("a name that is none of ours")
    return {name: count_of(n) for name, n in value.items()}


def _seconds_of(value: Any) -> float:
    if type(value) not in (int, float) or not 0 <= value <= MAX_CPU_S:
        raise ValueError("not a number of seconds")
    return float(value)
