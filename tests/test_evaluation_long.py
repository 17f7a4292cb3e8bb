"""The clock that splits time by stage."""

from __future__ import annotations

import pytest

from avcc.evaluation import long


def test_time_is_booked_where_it_was_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = iter([0.0, 1.0, 3.0, 3.5, 7.0])
    monkeypatch.setattr(long.time, "perf_counter", lambda: next(now))
    clock = long.Clock(0.1)
    for stage in ("reading", "following", "reading", "fitting"):
        clock(stage, 0.5)
    assert clock.seconds == {"reading": 1.5, "following": 2.0, "fitting": 3.5}


def test_memory_is_looked_at_once_the_first_part_is_done(monkeypatch: pytest.MonkeyPatch) -> None:
    held = iter([500.0, 530.0, 520.0])
    monkeypatch.setattr(long, "resident", lambda: next(held))
    clock = long.Clock(0.5)
    clock("loading")
    for share in (0.25, 0.5, 0.75, 1.0):
        clock("following", share)
    assert clock.held == {"following": (500.0, 530.0)}
