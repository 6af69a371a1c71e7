"""The folders of a workspace, as the editor names them.

Owns: the way from a document's URI to a folder and a path in it, and what keeps a document from
being shown in another's prompt.

Invariant: a document that the walk through the folder would leave out is never shown, open or not.

Threads: the completer's worker.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from slm_lsp.context.languages import PLAIN_TEXT
from slm_lsp.secrets.paths import is_secret_path
from slm_lsp.workspace.files import in_left_out_folder, is_wanted_path, is_written
from slm_lsp.workspace.ignore import IgnoreRules
from slm_lsp.workspace.reader import IndexReader
from slm_lsp.workspace.store import index_path

# Files of which it is remembered where they are: that of the cursor is asked for twice a request.
MAX_LOCATED = 256


@dataclass(slots=True, eq=False)
class Root:
    """One folder, its index and its rules. `prefix` is put before its paths where there are
    several folders."""

    folder: Path
    reader: IndexReader
    rules: IgnoreRules
    prefix: str = ""


class Roots:
    """The folders of now; `index_folder` holds their indexes, if there are any."""

    def __init__(self, index_folder: Path | None) -> None:
        self._index_folder = index_folder
        self.all: tuple[Root, ...] = ()
        self._located: dict[Path, tuple[Root, str] | None] = {}

    def set(self, folders: tuple[Path, ...]) -> None:
        """Take these folders for those that there were."""
        self._located.clear()
        known = {root.folder: root for root in self.all}
        for gone in set(known) - set(folders):
            known[gone].reader.close()
        self.all = tuple(known.get(folder) or self._root(folder) for folder in folders)
        for root in self.all:
            root.prefix = f"{root.folder.name}/" if len(self.all) > 1 else ""

    def _root(self, folder: Path) -> Root:
        index = self._index_folder and index_path(self._index_folder, folder)
        return Root(folder, IndexReader(index), IgnoreRules(folder))

    def forget_rules(self) -> None:
        """The files that hold rules may have changed."""
        for root in self.all:
            root.rules = IgnoreRules(root.folder)

    def locate(self, path: Path | None) -> tuple[Root, str] | None:
        """The innermost folder that holds a file, and the file's path in it."""
        if path is None:
            return None
        if path not in self._located:
            if len(self._located) == MAX_LOCATED:
                self._located.clear()
            self._located[path] = self._locate(path)
        return self._located[path]

    def _locate(self, path: Path) -> tuple[Root, str] | None:
        holders = [root for root in self.all if path.is_relative_to(root.folder)]
        if not holders:
            return None
        root = max(holders, key=lambda each: len(each.folder.parts))
        return root, path.relative_to(root.folder).as_posix()

    def shown_path(self, path: Path | None) -> str:
        """What a file is called to the model."""
        found = self.locate(path)
        if found is not None:
            return found[0].prefix + found[1]
        return path.name if path is not None else ""

    def may_show(self, path: Path | None, language: str, text: str) -> bool:
        """Whether a document may be shown in another's prompt."""
        if path is None or language == PLAIN_TEXT or is_secret_path(path.as_posix()):
            return False
        found = self.locate(path)
        if found is not None:
            root, relative = found
            if not is_wanted_path(relative) or in_left_out_folder(relative):
                return False
            if root.rules.leaves_out(relative):
                return False
        return is_written(text.encode("utf-8", "replace"))

    def close(self) -> None:
        """Close the indexes."""
        for root in self.all:
            root.reader.close()


@lru_cache(256)
def path_of(uri: str) -> Path | None:
    """The file that a URI names; None if it names none."""
    try:
        parts = urlsplit(uri)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.fragment:
            return None
        path = url2pathname(parts.path)
    except ValueError:
        return None
    # As the editor spells it: links are not resolved, which would have to look at the disk.
    return Path(os.path.normpath(path)) if os.path.isabs(path) and "\0" not in path else None
