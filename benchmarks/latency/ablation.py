"""`python -m benchmarks.latency.ablation`: the same sessions with each part of the policy off.

Owns: the variants, which are settings of the server (`SLM_LSP_ANCHORS=off`), and the table of
what each changes. The plain run comes first and last: what lies between the two is noise.

Invariant: every variant types the same sessions; each is a run of `benchmarks.latency`.

Threads: the main thread; servers are children of children.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from slm_lsp.completion.policy import SWITCHES
from slm_lsp.config import ENV_PREFIX, FIELDS

PLAIN = "as it is"
COLUMNS = (
    "Variant",
    "Keys with text within 250 ms",
    "of those not overtaken",
    "Key to answer p50 / p95, ms",
    "Tokens read a warm key, mean",
    "after a jump",
    "CPU-s a session",
)


def variants() -> dict[str, dict[str, str]]:
    """The environment of each variant, by its name."""
    found: dict[str, dict[str, str]] = {PLAIN: {}}
    for name in (*SWITCHES, "drafts"):
        other = "off" if FIELDS[name].default == "on" else "on"
        found[f"{name} {other}"] = {ENV_PREFIX + name.upper(): other}
    return {**found, f"{PLAIN}, again": {}}


def row(name: str, summary: Mapping[str, Any]) -> list[str]:
    """A variant's line of the table."""
    read, fates = summary["read_per_keystroke"], summary["fates"]
    answer = summary["answer_ms"]
    return [
        name,
        _percent(summary["shown_within"]["250"]),
        _percent(fates["not_overtaken"]["shown_within_budget"]),
        f"{_number(answer['p50'])} / {_number(answer['p95'])}",
        _number(read["warm"]["mean"], 1),
        _number(read["after_jump"]["mean"], 1),
        _number(summary["cpu_s_per_session"], 1),
    ]


def table(summaries: Mapping[str, Mapping[str, Any]]) -> str:
    """All variants, in Markdown."""
    lines = [COLUMNS, ["---"] * len(COLUMNS), *(row(*item) for item in summaries.items())]
    return "".join("| " + " | ".join(cells) + " |\n" for cells in lines)


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{share * 100:.0f} %"


def _number(value: float | None, digits: int = 0) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def measure(arguments: Sequence[str], environment: Mapping[str, str]) -> dict[str, Any]:
    """One variant's result. Raises CalledProcessError."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "result.json"
        command = [sys.executable, "-m", "benchmarks.latency", "--policy", "ours", *arguments]
        env = {**os.environ, **environment}
        subprocess.run([*command, "--json", str(path)], check=True, env=env, stdout=sys.stderr)
        return dict(json.loads(path.read_text(encoding="utf-8")))


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.latency.ablation", description=__doc__
    )
    parser.add_argument("--model", default="")
    parser.add_argument("--sessions", type=int, default=2)
    parser.add_argument("--keystrokes", type=int, default=100)
    parser.add_argument("--only", default="", help="variants whose names hold this")
    parser.add_argument("--json", type=Path, required=True)
    options = parser.parse_args()
    arguments = ["--model", options.model, "--sessions", str(options.sessions)]
    arguments += ["--keystrokes", str(options.keystrokes)]
    result: dict[str, Any] = {"benchmark": "ablation", "arguments": arguments, "variants": {}}
    for name, environment in variants().items():
        if options.only in name:
            measured = measure(arguments, environment)
            result["variants"][name] = measured["policies"]["ours"]["summary"]
            # After each: a stop loses nothing.
            options.json.write_text(json.dumps(result) + "\n", encoding="utf-8")
    sys.stdout.write(table(result["variants"]))
    return 0


if __name__ == "__main__":
    sys.exit(main())
