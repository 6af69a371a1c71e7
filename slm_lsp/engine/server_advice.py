"""What a user can do about a server that does not serve.

Owns: the advice on what a ServerEngine says of its failure.

Invariant: pure; advice names settings and variables, never what they hold.

Threads: any.
"""

from __future__ import annotations

import re

REACH = "see that it runs and that server_url is right; slm-lsp asks it again by itself"
_REFUSED = re.compile(r"\banswered 40[13]\b")
_MISSING = re.compile(r"\banswered 404\b")


def advice_on(failure: str, key_variable: str) -> str:
    """What to do about it."""
    if _REFUSED.search(failure):
        return (
            f"put the key into the environment variable {key_variable}, or "
            "`keyring set slm-lsp HOST` with the extra slm-lsp[keyring]"
        )
    if "server_" in failure:
        return "change that setting"
    if _MISSING.search(failure):
        return "see that server_url and server_model are right"
    return REACH
