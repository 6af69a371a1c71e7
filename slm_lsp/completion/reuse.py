"""A completion whose document moved on while it was made.

Owns: the one case in which it is still right: the user typed its beginning.

Invariant: pure; a completion is never placed anywhere but behind text it agrees with.

Threads: any.
"""

from __future__ import annotations

import dataclasses

from slm_lsp.types import Completion


def refit(completion: Completion, old: str, new: str) -> Completion | None:
    """What is left of a completion made for text `old` in text `new`, if it still fits.

    It fits when nothing changed, or when the only change is that the completion's own
    first characters were typed where it starts.
    """
    if old is new or old == new:
        return completion
    n_typed = len(new) - len(old)
    start, end = completion.start, completion.end
    if not 0 < n_typed < len(completion.text):
        return None
    typed = completion.text[:n_typed]
    if new[:start] + new[start + n_typed :] != old or not new.startswith(typed, start):
        return None
    return dataclasses.replace(
        completion, text=completion.text[n_typed:], start=start + n_typed, end=end + n_typed
    )
