"""The report of a matrix: every figure that is promised, beside what was promised.

Owns: the order of its sections, and those that are about no typed session.

Invariant: pure; only results are read, so that it can be written again at any time. What was not
measured is left out, and a part that was cut short says so.

Threads: any.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.latency import sections
from benchmarks.latency.report import main_table, number
from benchmarks.latency.sections import Result, section, verdict

Results = Mapping[str, Result]

EACH_MORE_GOAL_MB = 60.0


def document(results: Results) -> str:
    """The report in Markdown; `results` by their files' names."""
    typed = [result for result in results.values() if result.get("policies")]
    texts = {
        "All configurations": main_table(typed),
        "Overrun of the deadline": sections.overrun(typed),
        "What became of the keys": sections.fates(typed),
        "Tokens read after a key": sections.reading(typed),
        "Against the peer": sections.paired(typed),
        "Shown where something can be": sections.covered(typed),
        "First text after a start": _first(results.values()),
        "Memory": _memory(results.values()),
    }
    written = "\n".join(f"## {title}\n\n{text}" for title, text in texts.items() if text)
    return f"# Latency\n\n{_conditions(results)}\n{written}"


def _conditions(results: Results) -> str:
    """On what it was measured, and what is not whole."""
    lines = [
        f"slm-lsp {version}, Python {python}, {cores} cores.\n"
        for version, python, cores in sorted(
            {(r["slm_lsp"], r["python"], r["cores"]) for r in results.values() if "cores" in r}
        )
    ]
    lines += [f"Cut short: {name}.\n" for name, r in results.items() if r.get("complete") is False]
    lines += [
        f"{name}: {policy} is left out: {why}.\n"
        for name, result in results.items()
        for policy, why in result.get("left_out", {}).items()
    ]
    return "".join(lines)


def _first(results: Iterable[Result]) -> str:
    rows = []
    for result in results:
        for case, figures in result.get("cases", {}).items():
            goal_ms, median_ms = figures["goal_ms"], figures["text_ms"]["median"]
            of_model_ms = figures["model_ms"]["median"]
            times = [
                " / ".join(number(figures[field][q]) for q in ("median", "max"))
                for field in ("initialized_ms", "text_ms", "model_ms", "after_initialized_ms")
            ]
            judged = ", the model's ".join(
                verdict(None if ms is None or goal_ms is None else ms <= goal_ms)
                for ms in (median_ms, of_model_ms)
            )
            silent = f"{figures['n_silent']} of {figures['n']}"
            rows.append([result["model"], case, *times, number(goal_ms), judged, silent])
    columns = (
        "Model",
        "Case",
        "initialize, ms",
        "first text, ms",
        "first of the model, ms",
        "first text after initialize, ms",
        "goal, ms",
        "",
        "silent",
    )
    note = "Median / largest, from the start of the process. Silent: no text came at all.\n"
    return section(columns, rows, note)


def _memory(results: Iterable[Result]) -> str:
    rows = []
    for result in results:
        servers = result.get("servers") or {}
        for n_servers, held in servers.items():
            if n_servers != "each_more":
                sizes = [
                    number(held[who][kind])
                    for who in ("all", "daemons", "server")
                    for kind in ("rss_mb", "pss_mb")
                ]
                rows.append([result["model"], n_servers, *sizes])
        if servers:
            more = servers["each_more"]
            judged = verdict(more["rss_mb"] <= EACH_MORE_GOAL_MB)
            sizes = [number(more["rss_mb"], 1), number(more["pss_mb"], 1)]
            rows.append([result["model"], f"each more (≤ 60) {judged}", *sizes, "", "", "", ""])
    columns = ("Model", "Servers", "all RSS, MB", "PSS", "daemon RSS", "PSS", "a server RSS", "PSS")
    return section(columns, rows)
