"""`.slm-lsp.toml` in a folder of the workspace: what a repository may ask for, which is less.

Owns: the names that such a file may have, and what of them follows for a document.

Invariant: a repository, which may be anybody's, can only narrow: switch off, make smaller, leave
out. Nothing in it names a server, a model, a file or a program; every other name is refused with a
sentence that says where it belongs. Never raises; reads no more than `reading` does.

Threads: any; values.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pathspec import GitIgnoreSpec

from slm_lsp.workspace.reading import read_text
from slm_lsp.workspace.roots import path_of

NAME = ".slm-lsp.toml"
# May be "off". Not `keep_kv` and `drafts`: they are the model's process's, which all windows share,
# and switching the first off deletes what is kept of every workspace.
SWITCHES = (
    *("snippets", "workspace_index", "lexical", "carry_on", "warm_ahead", "speculate"),
    "secret_files",
)
# May be smaller than the user's.
NUMBERS = (
    *("automatic_budget_ms", "invoked_budget_ms", "prompt_tokens"),
    *("max_line_tokens", "max_block_tokens", "max_block_lines"),
)
MAX_PROBLEMS = 5


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What one folder's file asks for; `exclude` are patterns as in `.gitignore`."""

    folder: Path
    enabled: bool = True
    languages_off: frozenset[str] = frozenset()
    exclude: GitIgnoreSpec = field(default_factory=lambda: GitIgnoreSpec.from_lines([]))
    settings: Mapping[str, Any] = field(default_factory=dict)

    def leaves_out(self, path: Path, language: str) -> bool:
        """Whether nothing is to be completed in a document of this folder."""
        if not path.is_relative_to(self.folder):
            return False
        inner = path.relative_to(self.folder).as_posix()
        excluded = self.exclude.match_file(inner)
        return not self.enabled or language in self.languages_off or excluded

    def narrower(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Which of the user's settings become which, with those that are smaller already left."""
        return {
            name: value
            for name, value in self.settings.items()
            if name in SWITCHES or value < values[name]
        }


def read(folder: Path) -> tuple[Narrowing | None, list[str]]:
    """What a folder's file asks for, if there is one, and what is wrong with it."""
    text = read_text(folder / NAME)
    if text is None:
        return None, []
    import tomllib

    where = f"{folder / NAME}"
    try:
        values = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        return None, [f"{where}: cannot be read: {error}"[:300]]
    good, problems = {}, []
    for name, value in values.items():
        why = _wrong(name, value)
        if why is None:
            good[name] = value
        else:
            problems.append(f"{where}: {name[:40]!r} {why}")
    return _narrowing(folder, good), problems[:MAX_PROBLEMS]


def _narrowing(folder: Path, good: Mapping[str, Any]) -> Narrowing:
    settings = {name: good[name] for name in (*SWITCHES, *NUMBERS) if name in good}
    return Narrowing(
        folder,
        good.get("enabled", True),
        frozenset(good.get("languages_off", ())),
        GitIgnoreSpec.from_lines(good.get("exclude", [])),
        settings,
    )


def _wrong(name: str, value: Any) -> str | None:
    """Why a value is not taken."""
    if name in SWITCHES:
        return None if value == "off" else 'may only be "off" in a workspace'
    if name in NUMBERS:
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        return None if is_number and value > 0 else "must be a number above 0"
    if name == "enabled":
        return None if isinstance(value, bool) else "must be true or false"
    if name in ("exclude", "languages_off"):
        is_list = isinstance(value, list) and all(isinstance(each, str) for each in value)
        if not is_list:
            return "must be a list of texts"
        return None if name == "languages_off" or _are_patterns(value) else "has a wrong pattern"
    return "may not be set by a workspace; it belongs into your own settings (config.toml)"


def _are_patterns(lines: list[str]) -> bool:
    try:
        GitIgnoreSpec.from_lines(lines)
    except (ValueError, re.error):
        return False
    return True


class Narrowings:
    """Those of all folders of a workspace."""

    def __init__(self, uris: Iterable[str] = ()) -> None:
        paths = dict.fromkeys(path for path in map(path_of, uris) if path is not None)
        found = [read(path) for path in paths]
        self.all = [narrowing for narrowing, _ in found if narrowing is not None]
        self.problems = [problem for _, problems in found for problem in problems]

    def leave_out(self, uri: str, language: str) -> bool:
        """Whether nothing is to be completed in a document."""
        path = path_of(uri) if self.all else None
        return path is not None and any(each.leaves_out(path, language) for each in self.all)
