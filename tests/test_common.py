"""Common beginnings and ends, against the plain loop."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from slm_lsp.text.common import common_prefix, common_suffix

TEXTS = st.text("ab", max_size=12)


def n_alike(a: str, b: str, limit: int) -> int:
    n = 0
    while n < limit and a[n] == b[n]:
        n += 1
    return n


@given(TEXTS, TEXTS, st.integers(0, 12))
def test_ends_are_found_up_to_the_limit(a: str, b: str, limit: int) -> None:
    limit = min(limit, len(a), len(b))
    assert common_prefix(a, b, limit) == n_alike(a, b, limit)
    assert common_suffix(a, b, limit) == n_alike(a[::-1], b[::-1], limit)
    raw = a.encode(), b.encode()
    assert common_prefix(*raw, limit) == common_prefix(a, b, limit)
    assert common_suffix(*raw, limit) == common_suffix(a, b, limit)
