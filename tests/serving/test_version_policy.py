"""Which versions are aspired."""

from __future__ import annotations

import pytest

from serving.version_policy import All, Latest, Policy, Specific, aspired


@pytest.mark.parametrize(
    ("policy", "wanted"),
    [
        (Latest(), {10}),
        (Latest(0), {10}),
        (Latest(2), {9, 10}),
        (Latest(9), {2, 9, 10}),
        (All(), {2, 9, 10}),
        (Specific(frozenset({2, 77})), {2}),
    ],
)
def test_aspired(policy: Policy, wanted: set[int]) -> None:
    """Versions compare as numbers, and only what is there can be aspired."""
    assert aspired(policy, {9, 10, 2}) == wanted


@pytest.mark.parametrize("policy", [Latest(), All(), Specific(frozenset({1}))])
def test_nothing_is_aspired_where_nothing_is(policy: Policy) -> None:
    """No version on disk, none aspired."""
    assert aspired(policy, ()) == frozenset()
