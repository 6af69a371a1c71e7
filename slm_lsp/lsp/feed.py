"""What the client says of the workspace's files, for what keeps an index of them.

Owns: the workspace's folders, from `initialize` and from changes, and the registration for
changes of files on the disk.

Invariant: everything is handed on at once, nothing here looks at a file. A client that does not
watch files is not asked to.

Threads: the event loop.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsprotocol import types as lsp

from slm_lsp.config import Config

if TYPE_CHECKING:
    from slm_lsp.lsp.server import SlmServer
    from slm_lsp.workspace.source import WorkspaceSource

log = logging.getLogger(__name__)

WATCH_ID = "slm-lsp-files"
MakeWorkspace = Callable[[Config], "WorkspaceSource"]


class WorkspaceFeed:
    """See the module."""

    def __init__(self, server: SlmServer, make: MakeWorkspace | None) -> None:
        self._server, self._make = server, make
        self._uris: list[str] = []
        self._may_watch = False
        self.workspace: WorkspaceSource | None = None

    def initialized_with(self, params: lsp.InitializeParams) -> None:
        """Take the folders that the client has open, and what it can do."""
        folders = params.workspace_folders or ()
        self._uris = [folder.uri for folder in folders]
        if not self._uris and params.root_uri:
            self._uris = [params.root_uri]
        elif not self._uris and params.root_path:
            # The oldest way: not a URI.
            self._uris = [Path(params.root_path).absolute().as_uri()]
        capabilities = params.capabilities.workspace
        watching = capabilities.did_change_watched_files if capabilities is not None else None
        self._may_watch = watching is not None and bool(watching.dynamic_registration)

    @property
    def uris(self) -> list[str]:
        """The workspace's folders."""
        return self._uris

    def start(self, config: Config) -> WorkspaceSource | None:
        """Make what keeps the index, once, and tell it the folders."""
        if self._make is not None and self.workspace is None:
            self.workspace = self._make(config)
            self._tell_folders()
        return self.workspace

    def watch(self) -> None:
        """Ask the client to tell of changes on the disk, if it can."""
        if self.workspace is None or not self._may_watch:
            return
        options = lsp.DidChangeWatchedFilesRegistrationOptions(
            watchers=[lsp.FileSystemWatcher(glob_pattern="**/*")]
        )
        registration = lsp.Registration(
            id=WATCH_ID,
            method=lsp.WORKSPACE_DID_CHANGE_WATCHED_FILES,
            register_options=options,
        )
        params = lsp.RegistrationParams(registrations=[registration])
        self._server.client_register_capability(params).add_done_callback(_look_at)

    def saved(self, uri: str) -> None:
        """A document was saved."""
        if self.workspace is not None:
            self.workspace.saved(uri)

    def watched(self, changes: Iterable[lsp.FileEvent]) -> None:
        """Files have changed on the disk."""
        if self.workspace is not None:
            self.workspace.watched([change.uri for change in changes])

    def changed_folders(self, event: lsp.WorkspaceFoldersChangeEvent) -> None:
        """Folders were opened or closed."""
        removed = {folder.uri for folder in event.removed}
        added = [folder.uri for folder in event.added]
        self._uris = [uri for uri in self._uris if uri not in removed] + added
        self._tell_folders()
        self._server.narrow()

    def close(self) -> None:
        """Nothing is built any more."""
        if self.workspace is not None:
            self.workspace.close()

    def _tell_folders(self) -> None:
        if self.workspace is not None:
            self.workspace.set_folder_uris(self._uris)


def _look_at(answer: Any) -> None:
    if not answer.cancelled() and (error := answer.exception()) is not None:
        log.info("the client does not watch files: %s", error)
