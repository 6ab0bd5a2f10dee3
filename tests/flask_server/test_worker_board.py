from __future__ import annotations

from flask_server.worker_board import WorkerBoard


def test_who_holds_fewer() -> None:
    """A worker learns whether another one holds fewer connections than itself; who has ended does not count."""
    board = WorkerBoard()
    one, other = board.enter(), board.enter()
    assert not board.others_hold_fewer(one)
    board.tell_connections(one, 2)
    assert board.others_hold_fewer(one)
    assert not board.others_hold_fewer(other)
    board.tell_connections(other, 2)
    assert not board.others_hold_fewer(one)
    board.tell_connections(other, 1)
    board.leave(other)
    assert not board.others_hold_fewer(one)
    assert board.enter() == other


def test_more_workers_than_places() -> None:
    """However many workers there are, each finds a place."""
    board = WorkerBoard()
    for _ in range(300):
        board.tell_connections(board.enter(), 1)
    assert not board.others_hold_fewer(0)


def test_which_configuration_all_answer_by() -> None:
    """A configuration is that of all once the last worker, also one that has just started, has read it."""
    board = WorkerBoard()
    one, other = board.enter(), board.enter()
    board.tell_configuration(one, "0123456789abcdef")
    assert not board.all_answer_by("0123456789abcdef")
    board.tell_configuration(other, "0123456789abcdef")
    assert board.all_answer_by("0123456789abcdef")
    board.tell_configuration(one, "fedcba9876543210")
    assert not board.all_answer_by("fedcba9876543210")
    board.leave(other)
    assert board.all_answer_by("fedcba9876543210")
    board.enter()
    assert not board.all_answer_by("fedcba9876543210")
