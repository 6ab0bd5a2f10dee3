from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from flask_server.pieces import Pieces

sizes = st.lists(st.sampled_from([1, 10, 70_000, 200_000]), max_size=8)


@given(sizes, sizes)
def test_what_was_added_is_taken_in_its_order(added: list[int], taken: list[int]) -> None:
    """However the bytes arrive and are taken, they stay the same."""
    whole = (bytes(range(251)) * (sum(added) // 251 + 1))[: sum(added)]
    pieces, start = Pieces(), 0
    for size in added:
        pieces.add(whole[start : start + size])
        start += size
    assert len(pieces) == len(whole)
    assert bytes(pieces.first) == whole[: len(pieces.first)]
    assert len(pieces.first) >= min(len(whole), 64 * 1024)
    start = 0
    for size in [*taken, len(whole)]:
        assert pieces.take(size) == whole[start : start + size]
        start += size
    assert not pieces


def test_what_was_put_back_comes_first() -> None:
    """Whoever took too much gives it back."""
    pieces = Pieces()
    pieces.add(b"abcdef")
    pieces.put_back(pieces.take(2))
    assert (len(pieces), pieces.take(3), pieces.take(9)) == (6, b"abc", b"def")
