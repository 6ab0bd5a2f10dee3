"""Which of the versions on disk are aspired: the latest N, all, or a list. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection


@dataclass(frozen=True)
class Latest:
    """The N highest versions; 0 counts as 1."""

    count: int = 1


@dataclass(frozen=True)
class All:
    """Every version there is."""


@dataclass(frozen=True)
class Specific:
    """These versions, as far as they are on disk."""

    versions: frozenset[int]


Policy = Latest | All | Specific


def aspired(policy: Policy, available: Collection[int]) -> frozenset[int]:
    """The versions among `available` that should be served under `policy`."""
    match policy:
        case Latest(count):
            return frozenset(sorted(available)[-max(count, 1) :])
        case All():
            return frozenset(available)
        case Specific(versions):
            return versions & frozenset(available)
