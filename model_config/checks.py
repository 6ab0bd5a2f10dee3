"""The one error of a wrong description, and the checks that several keys share."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class ConfigError(Exception):
    """The deployment is described wrongly; the message is one sentence for the person who wrote it."""


def nearest(name: str, names: Iterable[str], *, otherwise: str) -> str:
    """What to say of a name that is none of these: the one that it was meant for, if one is near."""
    near = difflib.get_close_matches(name, names, n=1)
    return f"did you mean '{near[0]}'?" if near else otherwise


def check_keys(table: Mapping[str, Any], allowed: Iterable[str], *, where: str) -> None:
    """Refuse a key that is not allowed, naming the nearest one that is.

    Raises:
        ConfigError: There is such a key.
    """
    allowed = sorted(allowed)
    for key in table:
        if key not in allowed:
            hint = nearest(key, allowed, otherwise=f"allowed are {', '.join(allowed)}.")
            raise ConfigError(f"{where}: unknown key '{key}'; {hint}")


def check_choice(value: object, allowed: Iterable[str], *, where: str) -> None:
    """Refuse a value that is not one of a few.

    Raises:
        ConfigError: It is another.
    """
    allowed = tuple(allowed)
    if value not in allowed:
        raise ConfigError(f"{where}: {value!r} is not allowed; choose one of {', '.join(allowed)}.")
