"""A cancel token calls what waits for it, once, whoever comes first."""

from __future__ import annotations

import threading

import pytest

from slm_lsp.deadline import Cancelled, CancelToken


def test_callbacks_are_called_once() -> None:
    token, called = CancelToken(), list[str]()
    token.add_callback(lambda: called.append("before"))
    token.raise_if_cancelled()
    assert called == []
    token.cancel()
    token.cancel()
    assert called == ["before"]
    token.add_callback(lambda: called.append("after"))
    assert called == ["before", "after"]
    with pytest.raises(Cancelled):
        token.raise_if_cancelled()


def test_a_callback_may_use_the_token() -> None:
    token, seen = CancelToken(), list[bool]()
    token.add_callback(lambda: token.add_callback(lambda: seen.append(token.cancelled)))
    token.cancel()
    assert seen == [True]


def test_no_callback_is_lost_between_threads() -> None:
    for _ in range(50):
        token, called, go = CancelToken(), list[int](), threading.Barrier(2)

        def add(
            token: CancelToken = token, called: list[int] = called, go: threading.Barrier = go
        ) -> None:
            go.wait()
            for i in range(20):
                token.add_callback(lambda i=i: called.append(i))  # type: ignore[misc]

        adder = threading.Thread(target=add)
        adder.start()
        go.wait()
        token.cancel()
        adder.join()
        assert sorted(called) == list(range(20))
