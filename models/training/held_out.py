"""What the corpus must never hold, because the project measures itself on it.

Invariant: this is the only place that names held-out files; the benchmarks may use them freely.
Pure values; any thread.
"""

HELD_OUT_STDLIB = (
    "textwrap",
    "bisect",
    "queue",
    "shlex",
    "heapq",
    "fnmatch",
    "calendar",
    "configparser",
    "csv",
    "difflib",
    "statistics",
    "string",
    "glob",
    "sched",
    "fractions",
    "colorsys",
)
"""Modules of Python's standard library that the latency sessions replay."""

HELD_OUT_PATHS = frozenset(f"{module}.py" for module in HELD_OUT_STDLIB)
"""Their paths inside the standard library's folder."""
