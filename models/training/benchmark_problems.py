"""Reads the problems of benchmarks that no training text may hold.

Owns: the formats. HumanEval's infilling sets are in this repository. MBPP (Austin et al. 2021,
google-research/google-research, folder mbpp) is read from a copy that the caller names. SAFIM is
not covered: its problems could not be obtained.

Threads: the main one.
"""

import gzip
import json
import re
from pathlib import Path

from models.training.decontaminate import Benchmark, name_hash, problem_shingles

_DEFINITION = re.compile(r"^def[ \t]+(\w+)", re.M)


def read_infilling_benchmark(folder: Path) -> Benchmark:
    """HumanEval from the infilling sets: every problem whole, prompt to suffix."""
    texts: dict[str, set[str]] = {}
    for archive in sorted(folder.glob("*.jsonl.gz")):
        for line in gzip.decompress(archive.read_bytes()).splitlines():
            row = json.loads(line)
            whole = row["prompt"] + row["canonical_solution"] + row["suffix"]
            texts.setdefault(row["entry_point"], set()).add(whole)
    if not texts:
        raise FileNotFoundError(f"no HumanEval infilling set in {folder}")
    problems = [problem_shingles(texts[name]) for name in sorted(texts)]
    return Benchmark("humaneval", problems, frozenset(map(name_hash, texts)), single_words=True)


def read_mbpp(path: Path) -> Benchmark:
    """MBPP from its JSON lines: texts, solutions, and the functions that the tests call."""
    problems = []
    names: set[str] = set()
    for line in path.read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        tests = " ".join(row["test_list"])
        called = set(re.findall(r"\w+", tests))
        names |= called & set(_DEFINITION.findall(row["code"]))
        problems.append(problem_shingles([row["text"], row["code"]]))
    return Benchmark("mbpp", problems, frozenset(map(name_hash, names)))
