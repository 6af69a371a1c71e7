"""`slm-lsp why`: why there was no suggestion lately, and what can be done about it.

Owns: how the notes that servers leave (`completion/notes`) are shown.

Invariant: reads only; asks no server and no daemon. A server that runs has written by now what
it did until half a second ago.

Threads: the main thread.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import datetime

from slm_lsp.completion.notes import default_folder, read_why
from slm_lsp.completion.reasons import NOTHING_TO_DO, explain
from slm_lsp.completion.recent import Entry, detail, explained


def show_why(n_requests: int, *, show_all: bool, as_json: bool) -> int:
    """Print the last requests; the exit status is 1 if there are none."""
    entries = chosen(read_why(default_folder()), n_requests, show_all=show_all)
    if as_json:
        print(json.dumps([explained(entry) for entry in entries]))
    elif entries:
        print("\n".join(lines_of(entries)))
    else:
        print("no request without a suggestion is known of the last day")
    return 0 if entries else 1


def chosen(entries: Sequence[Entry], n_requests: int, *, show_all: bool) -> list[Entry]:
    """The last so many that are of interest, the oldest first."""
    wanted = [each for each in entries if show_all or (each.reject and not each.is_given_up)]
    return wanted[max(0, len(wanted) - max(0, n_requests)) :]


def lines_of(entries: Sequence[Entry]) -> Iterator[str]:
    """A line a request, and beneath it what to do; advice that was just given is not repeated."""
    last_advice = ""
    for entry in entries:
        at = datetime.fromtimestamp(entry.at_s).strftime("%H:%M:%S")
        head = f"{at}  {entry.language}{f', {entry.want}' if entry.want else ''}"
        if not entry.reject:
            yield f"{head}: {entry.n_chars} characters shown ({entry.origin})"
            continue
        said = explain(entry.reject)
        numbers = detail(entry)
        yield f"{head}: {said.sentence}{f' ({numbers})' if numbers else ''}"
        if said.advice not in (last_advice, NOTHING_TO_DO):
            yield f"          {said.advice}"
        last_advice = said.advice
