from __future__ import annotations

from flask_server.connection_counts import ConnectionCounts


def test_who_holds_fewer() -> None:
    """A worker learns whether another one holds fewer connections than itself; who has ended does not count."""
    counts = ConnectionCounts()
    one, other = counts.enter(), counts.enter()
    assert not counts.others_hold_fewer(one)
    counts.tell(one, 2)
    assert counts.others_hold_fewer(one)
    assert not counts.others_hold_fewer(other)
    counts.tell(other, 2)
    assert not counts.others_hold_fewer(one)
    counts.tell(other, 1)
    counts.leave(other)
    assert not counts.others_hold_fewer(one)
    assert counts.enter() == other


def test_more_workers_than_places() -> None:
    """However many workers there are, each finds a place."""
    counts = ConnectionCounts()
    for _ in range(300):
        counts.tell(counts.enter(), 1)
    assert not counts.others_hold_fewer(0)
