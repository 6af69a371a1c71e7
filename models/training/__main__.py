"""`python -m models.training --work DIR`: from nothing to the default model's file, in one command.

Owns: the order of the steps and the settings they are run with. Each step leaves files in DIR, and
a step whose files are there is not done again; training goes on from its last checkpoint.

    corpus/    collect     source text, cleaned (for `--recipe smoke`, this repository's)
    shards/    shards      samples as tokens
    run/       train       checkpoints, log.jsonl
    *.gguf     export      the model; curve.svg beside it

Threads: the main one.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from models.training import checkpoint, collect, curve, export, shards, train
from models.training.document import Document
from models.training.recipe import RECIPES
from slm_lsp.registry.pull import pull
from slm_lsp.registry.specs import load_specs

BASE = "smollm2-135m"
REPOSITORY = Path(__file__).resolve().parents[2]
# Small documented functions teach most for a token; the rest keeps the model broad.
ALGORITHMS = (
    "python",
    "keon",
    "tryalgo",
    "pygorithm",
    "aima",
    "all",
    "python-ds",
    "coding-challenges",
    "exercism",
    "pytudes",
)
WEIGHTS = {
    **{f"algorithms/{name}": 12.0 for name in ALGORITHMS},
    **dict.fromkeys(("more-itertools", "toolz", "boltons"), 6.0),
    **dict.fromkeys(("algorithms/funcy", "algorithms/sortedcontainers"), 6.0),
    "stdlib": 2.0,
    "networkx": 2.0,
    "twisted": 0.5,
}
LANGUAGES = "python,javascript,typescript,go,java,rust,c,cpp"
SHARDS = {
    "cpu": "--lengths short --languages python --samples-per-kib 0.3 --max-tokens 12000000",
    "accelerator": f"--lengths long --languages {LANGUAGES} --max-tokens 300000000",
    "smoke": "--lengths short --languages python --samples-per-kib 1 --max-tokens 20000",
}


def own_source(work: Path) -> None:
    """A corpus of this repository's own files, for the smoke run."""
    files = sorted((REPOSITORY / "slm_lsp").rglob("*.py"))
    documents = [
        Document("smoke", str(file.relative_to(REPOSITORY)), "python", file.read_text("utf-8"))
        for file in files
    ]
    folder = work / "corpus"
    folder.mkdir(parents=True, exist_ok=True)
    collect.write_documents(folder / "python.jsonl.gz", documents)


def make_corpus(options: argparse.Namespace) -> None:
    if options.recipe == "smoke":
        own_source(options.work)
        return
    arguments = ["--work", str(options.work)]
    for name in ("mirror", "mbpp"):
        if value := getattr(options, name):
            arguments += [f"--{name}", str(value)]
    if collect.main(arguments):
        raise SystemExit("some sources failed, as said above; correct them and run again")


def shard_files(folder: Path, recipe: str) -> list[Path]:
    """The training shards of a recipe, in order."""
    return [
        path
        for path in sorted(folder.glob(f"{recipe}*.xz"))
        if not path.stem.endswith(("-lines", "-valid"))
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    work: Path = options.work
    base = options.base or pull(load_specs()[BASE], quantization="Q4_1")
    if not (work / "corpus" / "python.jsonl.gz").exists():
        make_corpus(options)
    folder = work / "shards"
    if not shard_files(folder, options.recipe):
        weights = [f"--weight={source}={factor}" for source, factor in WEIGHTS.items()]
        common = ["--work", str(work), "--base", str(base), "--out", str(folder / options.recipe)]
        shards.main([*common, *SHARDS[options.recipe].split(), *weights])
    run = work / "run"
    found = [str(path) for path in shard_files(folder, options.recipe)]
    begun = ["--base", str(base), "--run", str(run), "--recipe", options.recipe]
    smoke = ["--no-compile", "--evaluate-samples", "10"] if options.recipe == "smoke" else []
    train.main([*begun, *smoke, "--shards", *found, "--set", *options.set])
    out = work / "slm-fim-135m.gguf"
    latest = run / checkpoint.LATEST
    export.main(["--base", str(base), "--checkpoint", str(latest), "--out", str(out)])
    curve.main(["--log", str(run / train.LOG), "--out", str(work / "curve.svg")])
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m models.training", description=__doc__)
    add = parser.add_argument
    add("--work", type=Path, required=True, help="folder for all files; 5 GB")
    add("--recipe", choices=sorted(RECIPES), default="cpu")
    add("--base", type=Path, help="GGUF of the base model (default: fetched)")
    add("--mirror", type=Path, help="folder of bare clones named OWNER+NAME, instead of cloning")
    add("--mbpp", type=Path, help="mbpp.jsonl, whose problems are then removed from the text")
    add("--set", nargs="*", default=[], metavar="NAME=VALUE", help="change the recipe")
    return parser


if __name__ == "__main__":
    sys.exit(main())
