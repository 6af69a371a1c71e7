"""The table of `benchmarks.busy`. Invariant: no process and no model; figures are given."""

from __future__ import annotations

from benchmarks.busy.__main__ import POLICIES, medians_of, table


def row(n_busy: int, read: float, write: float) -> dict[str, object]:
    figures = {"read_per_s": read, "write_per_s": write}
    return {"n_busy": n_busy, POLICIES[0]: figures, POLICIES[1]: {**figures, "read_per_s": 100.0}}


def test_speeds_stand_beside_the_share_of_the_cores() -> None:
    *_, idle, busy = table([row(0, 400.0, 60.0), row(1, 200.0, 45.0)], 2, 2).splitlines()
    assert idle == "| 0 | 1.00 | 400 | 1.00 | 100 | 1.00 | 60 | 1.00 |"
    assert busy == "| 1 | 0.67 | 200 | 0.50 | 100 | 1.00 | 45 | 0.75 |"


def test_of_each_figure_the_median_counts() -> None:
    runs = [{"read_per_s": speed} for speed in (1.0, 9.0, 2.0)]
    assert medians_of(runs) == {"read_per_s": 2.0}
