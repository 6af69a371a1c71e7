"""`slm-lsp stats`: how fast and how useful the completions were, over the user's sessions.

Owns: the figures that are made of the kept counters, and how they are shown.

Invariant: reads only; asks no server and no daemon. What is not known is said to be so, never
shown as 0.

Threads: the main thread.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from slm_lsp.completion.histogram import RESOLUTION, Histogram
from slm_lsp.completion.session_counts import SessionCounts, total
from slm_lsp.completion.sessions_file import default_folder, read_sessions
from slm_lsp.deadline import wall_s

DAY_S = 24 * 3600.0
PERCENTILES = (50, 95, 99)
# So that all of it fits on a screen; the JSON object has them all.
N_REASONS = 6
NOT_TOLD = "the editor does not tell"


def show_stats(days: float, *, as_json: bool) -> int:
    """Print the figures of the last `days` days; the exit status is 1 if there are none."""
    sessions = read_sessions(default_folder(), wall_s() - days * DAY_S)
    figures = figures_of(sessions, days)
    if as_json:
        print(json.dumps(figures))
    elif sessions:
        print("\n".join(lines_of(figures)))
    else:
        print(
            f"no session in the last {days:g} days: sessions are counted once "
            "`slm-lsp serve` has answered an editor"
        )
    return 0 if sessions else 1


def figures_of(sessions: Sequence[SessionCounts], days: float) -> dict[str, Any]:
    """All figures, as a JSON object; null is what is not known."""
    of_all = total(sessions)
    telling = [each for each in sessions if each.n_shown]
    told = total(telling)
    cpu_s = of_all.server_cpu_s + of_all.daemon_cpu_s
    return {
        "days": days,
        "n_sessions": len(sessions),
        "n_requests": of_all.n_requests,
        "latency_ms": {
            "answered": _latency(of_all.answered_ms),
            "suggested": _latency(of_all.suggested_ms),
        },
        "latency_resolution": round(RESOLUTION, 3),
        "n_suggestions": of_all.n_suggestions,
        "origins": dict(of_all.origins),
        "rejects": dict(of_all.rejects),
        # Where the editor does not tell what it showed, what it accepted is a share of nothing.
        "n_sessions_telling": len(telling),
        "n_shown": told.n_shown,
        "n_accepted": told.n_accepted,
        "acceptance": _ratio(told.n_accepted, told.n_shown),
        "cpu_s": {
            "server": round(of_all.server_cpu_s, 3),
            "daemon": round(of_all.daemon_cpu_s, 3),
        },
        "daemon_shared": of_all.daemon_cpu_s > 0,
        "cpu_s_per_suggestion": _ratio(cpu_s, of_all.n_suggestions),
    }


def _latency(histogram: Histogram) -> dict[str, float | None]:
    percentiles = {f"p{each}": histogram.percentile(each) for each in PERCENTILES}
    return {"n": histogram.n, **percentiles}


def _ratio(part: float, whole: float) -> float | None:
    return round(part / whole, 4) if whole else None


# --- for humans ---


def lines_of(figures: Mapping[str, Any]) -> Iterator[str]:
    """A screen of it."""
    n_requests, n_suggestions = figures["n_requests"], figures["n_suggestions"]
    yield (
        f"sessions: {figures['n_sessions']:,} in the last {figures['days']:g} days, "
        f"requests: {n_requests:,}"
    )
    yield ""
    yield from _latency_lines(figures["latency_ms"])
    yield ""
    yield _row("suggestions", n_suggestions, _share(n_suggestions, n_requests, "of requests"))
    yield from _parts(figures["origins"])
    yield _acceptance_line(figures)
    rejects = figures["rejects"]
    n_rejects = sum(rejects.values())
    yield _row("no suggestion", n_rejects, _share(n_rejects, n_requests, "of requests"))
    yield from _parts(rejects)
    yield ""
    yield from _cpu_lines(figures)


def _latency_lines(latency_ms: Mapping[str, Mapping[str, float | None]]) -> Iterator[str]:
    heads = "".join(f"{f'p{each}':>9}" for each in PERCENTILES)
    yield f"{'latency, ms':<22}{heads}{'requests':>11}"
    for name, label in (("answered", "every answer"), ("suggested", "a suggestion")):
        found = latency_ms[name]
        values = "".join(f"{_ms(found[f'p{each}']):>9}" for each in PERCENTILES)
        yield f"{'  ' + label:<22}{values}{found['n']:>11,}"
    yield (
        "  from the start of work on a request to its answer, what was cancelled left out; "
        f"to within {math.ceil(RESOLUTION * 100)} %"
    )


def _ms(ms: float | None) -> str:
    if ms is None:
        return "-"
    return f"{ms:,.0f}" if ms >= 10 else f"{ms:.1f}"


def _row(label: str, n: int, rest: str) -> str:
    return f"{label:<22}{n:>9,}    {rest}".rstrip()


def _share(part: float, whole: float, of_what: str = "") -> str:
    return f"{100 * part / whole:5.1f} % {of_what}".rstrip() if whole else ""


def _parts(counts: Mapping[str, int]) -> Iterator[str]:
    """A line each for the largest, and one for the rest."""
    ordered = sorted(counts.items(), key=lambda each: (-each[1], each[0]))
    shown, rest = ordered[:N_REASONS], ordered[N_REASONS:]
    if rest:
        shown.append((f"{len(rest)} more", sum(n for _, n in rest)))
    whole = sum(counts.values())
    for name, n in shown:
        yield _row(f"  {name}", n, _share(n, whole))


def _acceptance_line(figures: Mapping[str, Any]) -> str:
    n_shown = figures["n_shown"]
    if not n_shown:
        return f"{'accepted':<22}{'-':>9}    {NOT_TOLD}"
    n_telling, n_sessions = figures["n_sessions_telling"], figures["n_sessions"]
    of_what = (
        f"of {n_shown:,} shown, as the editor told in {n_telling:,} of {n_sessions:,} sessions"
    )
    return _row("accepted", figures["n_accepted"], _share(figures["n_accepted"], n_shown, of_what))


def _cpu_lines(figures: Mapping[str, Any]) -> Iterator[str]:
    server_s, daemon_s = figures["cpu_s"]["server"], figures["cpu_s"]["daemon"]
    parts = f"servers {server_s:,.1f}, daemon {daemon_s:,.1f}"
    yield f"{'CPU-seconds':<22}{server_s + daemon_s:>9,.1f}    {parts}"
    each_s = figures["cpu_s_per_suggestion"]
    per = "-" if each_s is None else f"{each_s:,.2f}"
    yield f"{'  for a suggestion':<22}{per:>9}"
    if figures["daemon_shared"]:
        yield (
            "  the daemon is shared: windows that were open together each count all that it "
            "spent, so this is the most it was"
        )
