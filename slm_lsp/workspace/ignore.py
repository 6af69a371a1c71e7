"""Which paths of a workspace its `.gitignore` and `.slmignore` files leave out.

Owns: the rules of every folder, of the repository's own exclude file, and of the folders above
the workspace that belong to the same repository.

Invariant: paths are relative to the workspace, with slashes. As with git, a deeper folder's rules
win over those above it, and what is in an ignored folder cannot be brought back.

Threads: one owner, no locks; rules are read when a folder is first asked for.
"""

from __future__ import annotations

import re
from pathlib import Path

from pathspec import GitIgnoreSpec

from slm_lsp.workspace.reading import read_text

RULE_FILES = (".gitignore", ".slmignore")
# A repository is not searched for above so many folders.
MAX_ABOVE = 32


class IgnoreRules:
    """The rules of one workspace folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._specs: dict[str, tuple[GitIgnoreSpec, ...]] = {}
        # Of each folder above: its rules, and how it calls the workspace.
        self._above = _above(root)

    def ignores(self, path: str, *, is_folder: bool = False) -> bool:
        """Whether a path is left out whose folders are not."""
        verdict = False
        shown = f"{path}/" if is_folder else path
        for prefix, specs in self._above:
            verdict = _verdict(specs, prefix + shown, verdict)
        folder, rest = "", shown
        while True:
            verdict = _verdict(self._of(folder), rest, verdict)
            first, slash, after = rest.partition("/")
            if not slash or not after:
                return verdict
            folder, rest = f"{folder}{first}/", after

    def leaves_out(self, path: str) -> bool:
        """Whether a file or one of the folders it is in is ignored."""
        parts = path.split("/")
        folders = ("/".join(parts[:n]) for n in range(1, len(parts)))
        return any(self.ignores(each, is_folder=True) for each in folders) or self.ignores(path)

    def _of(self, folder: str) -> tuple[GitIgnoreSpec, ...]:
        if folder not in self._specs:
            self._specs[folder] = _read(self._root / folder if folder else self._root)
        return self._specs[folder]


def _verdict(specs: tuple[GitIgnoreSpec, ...], path: str, verdict: bool) -> bool:
    for spec in specs:
        found = spec.check_file(path).include
        verdict = verdict if found is None else found
    return verdict


def _read(folder: Path, names: tuple[str, ...] = RULE_FILES) -> tuple[GitIgnoreSpec, ...]:
    specs = []
    for name in names:
        text = read_text(folder / name)
        # pathspec refuses a whole file for one line that git would not match either.
        lines = [line for line in (text or "").splitlines() if _is_sound(line)]
        if lines:
            specs.append(GitIgnoreSpec.from_lines(lines))
    return tuple(specs)


def _is_sound(line: str) -> bool:
    try:
        GitIgnoreSpec.from_lines([line])
    except (ValueError, re.error):
        return False
    return bool(line.strip()) and not line.startswith("#")


def _above(root: Path) -> list[tuple[str, tuple[GitIgnoreSpec, ...]]]:
    """The rules of the repository's folders above the workspace, topmost first."""
    found: list[tuple[str, tuple[GitIgnoreSpec, ...]]] = []
    folder, prefix = root, ""
    for _ in range(MAX_ABOVE):
        specs = _read(folder) if prefix else ()
        if (folder / ".git").exists():
            exclude = _read(folder / ".git" / "info", ("exclude",))
            found.append((prefix, exclude + specs))
            return _unless_all_is_ignored([each for each in reversed(found) if each[1]])
        found.append((prefix, specs))
        if folder.parent == folder:
            break
        folder, prefix = folder.parent, f"{folder.name}/{prefix}"
    return []


def _unless_all_is_ignored(
    above: list[tuple[str, tuple[GitIgnoreSpec, ...]]],
) -> list[tuple[str, tuple[GitIgnoreSpec, ...]]]:
    """Who opens an ignored folder wants to see what is in it."""
    verdict = False
    for prefix, specs in above:
        verdict = _verdict(specs, prefix, verdict) if prefix else verdict
    return [] if verdict else above
