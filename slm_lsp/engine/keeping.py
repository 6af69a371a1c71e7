"""Which KV sequences go to the disk when the engine ends, and when one is taken from there.

Owns: the choice at the end (those used last, of files that do not look like secrets), whether
a kept one is worth its reading, and what reading a prompt takes given all that is held.

A kept sequence is found by its tokens, not by its document: it is as good for any prompt that
begins like it, whatever the editor calls the file today. It is read when the first such prompt
comes, since only then it is known to be of use; that is when a document is opened, mostly.

Invariant: never raises. Keeping ends within SAVE_MS and one native call; a sequence is taken only
where that is expected to end before the deadline, and sooner than feeding what it saves.

Threads: the Scheduler's.
"""

from __future__ import annotations

import fnmatch
import logging
import re
from collections.abc import Sequence
from urllib.parse import unquote

from slm_lsp.deadline import Clock, Deadline
from slm_lsp.engine.kv import KvCache, n_alike
from slm_lsp.engine.kv_file import MAX_STATE_BYTES, Kept, KvFiles
from slm_lsp.types import Segment, Text

log = logging.getLogger(__name__)

N_KEPT = 2
MIN_TOKENS = 64
# Editors do not wait long for a server that ends.
SAVE_MS = 500.0
# Reading and writing are faster by far while the disk's cache holds the file.
BYTES_PER_MS = 200_000
# Of a prompt that is compared with what is held; where text is cut, its last tokens may differ.
BEGINNING_CHARS = 80
UNSURE_TOKENS = 4

# What a daemon calls a document: its client's number, its URI, and which of its places.
DOCUMENT = re.compile(r"(?:\d+/)?(?P<key>file:(?P<path>.*?)(?:#\d+)?)", re.DOTALL)
SECRET_NAMES = (
    *(".env", ".env.*", "*.env", "*.pem", "*.key", "*.p12", "*.pfx", "*.jks", "*.kdbx"),
    *("*.gpg", "*.asc", "id_rsa*", "id_dsa*", "id_ecdsa*", "id_ed25519*", "authorized_keys"),
    *("*credential*", "*secret*", "*password*", "*.tfvars", "*.tfstate", ".netrc", "_netrc"),
    *(".npmrc", ".pypirc", ".pgpass", ".my.cnf", ".htpasswd", ".git-credentials", ".*history"),
)
SECRET_FOLDERS = frozenset(
    (".ssh", ".gnupg", ".aws", ".azure", ".kube", ".docker", ".password-store", "secrets")
)


def key_of(document: str) -> str | None:
    """What a document's sequence is known by on the disk; None where it must not get there:
    what is no file was not meant to, and some files are secret."""
    found = DOCUMENT.fullmatch(document)
    if found is None:
        return None
    *folders, name = re.split(r"[/\\]", unquote(found["path"]).lower())
    is_secret = any(fnmatch.fnmatchcase(name, pattern) for pattern in SECRET_NAMES)
    return None if is_secret or not SECRET_FOLDERS.isdisjoint(folders) else found["key"]


def keep(kv: KvCache, clock: Clock) -> None:
    """Write what is warmest to the disk; the engine ends."""
    files, deadline = kv.files, Deadline.after(SAVE_MS, clock)
    if files is None:
        return
    try:
        for key, document in _warmest(kv):
            tokens = kv.held(document)
            if files.holds(key, tokens):
                continue
            max_bytes = min(MAX_STATE_BYTES, int(deadline.remaining_ms() * BYTES_PER_MS))
            state = kv.save(document, max_bytes)
            if state is not None:
                files.write(key, tokens, state, deadline)
    except Exception:
        log.exception("KV sequences could not be kept")


def _warmest(kv: KvCache) -> list[tuple[str, str]]:
    """Keys and documents of what is to be kept."""
    found: dict[str, str] = {}
    for document in kv.newest_first():
        key = key_of(document)
        if key is not None and len(kv.held(document)) >= MIN_TOKENS:
            found.setdefault(key, document)  # two windows may show one file
    return list(found.items())[:N_KEPT]


def beginning(segments: Sequence[Segment]) -> tuple[Segment, ...]:
    """The first of a prompt, which costs little to tokenize."""
    first: list[Segment] = []
    n_left = BEGINNING_CHARS
    for segment in segments:
        if n_left <= 0:
            break
        if isinstance(segment, Text):
            segment = Text(segment.text[:n_left])
            n_left -= len(segment.text)
        first.append(segment)
    return tuple(first)


def is_begun(kv: KvCache, tokens: list[int]) -> bool:
    """Whether anything that is held, in memory or on the disk, begins as a prompt does whose
    `beginning` is in tokens."""
    tokens = tokens[: max(1, len(tokens) - UNSURE_TOKENS)]
    n_held = kv.most_shared(tokens)[1]
    if kv.files is not None and kv.files.kept:
        n_held = max(n_held, _likest(kv.files, tokens)[1])
    return n_held == len(tokens)


def reading_ms(kv: KvCache, tokens: list[int]) -> float:
    """What it is expected to take until the current sequence holds `tokens`, whichever way."""
    rates, n_tokens = kv.rates, len(tokens)
    lender, n_shared = kv.most_shared(tokens)
    ways_ms = [rates.step_ms(max(1, n_tokens - kv.shared(tokens)))]
    if n_shared:
        ways_ms.append(rates.step_ms(max(1, n_tokens - n_shared + kv.borrow_tokens(lender))))
    if kv.files is not None and kv.files.kept:
        kept, n_alike_kept = _likest(kv.files, tokens)
        if n_alike_kept >= MIN_TOKENS:
            rest_ms = rates.step_ms(max(1, n_tokens - n_alike_kept))
            ways_ms.append(_taking_ms(kept) + rest_ms)
    return min(ways_ms)


def _likest(files: KvFiles, tokens: list[int]) -> tuple[Kept, int]:
    """Of the kept sequences, of which there is one, that which begins most like `tokens`."""
    kept = max(files.kept, key=lambda each: n_alike(each.tokens, tokens))
    return kept, n_alike(kept.tokens, tokens)


def _taking_ms(kept: Kept) -> float:
    return kept.n_bytes / BYTES_PER_MS


def take(kv: KvCache, tokens: list[int], remaining_ms: float) -> None:
    """Let the current sequence be the kept one that begins most like `tokens`, if that pays."""
    files = kv.files
    if files is None or not files.kept:
        return
    kept, n_alike_kept = _likest(files, tokens)
    n_saved = n_alike_kept - kv.shared(tokens)
    if n_saved < MIN_TOKENS or _taking_ms(kept) >= min(remaining_ms, kv.rates.step_ms(n_saved)):
        return
    try:
        state = files.read(kept)
        if state is None:
            return
        if kv.restore(kept.tokens, state):
            kv.stats.n_restored_tokens += n_saved
            return
        log.info("%s is deleted: the model does not take it", kept.path)
    except Exception:
        log.exception("a KV sequence could not be taken back")
    files.drop(kept.path)
