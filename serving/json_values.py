"""What JSON text becomes: plain Python values, objects as lists of members, numbers in bulk.

Strings are `str` decoded with `surrogateescape`, so that bytes which are not UTF-8 survive.
"""

from __future__ import annotations

from typing import Union

import numpy as np

from serving.servable import Array

JsonValue = Union[None, bool, int, float, str, "list[JsonValue]", "JsonObject", Array]


class NeedsExactValues(Exception):
    """A block that was read in bulk does not tell how each of its numbers was written."""


class JsonObject:
    """An object as it was written: its members in order, duplicate keys and all."""

    __slots__ = ("members",)

    def __init__(self, members: list[tuple[str, JsonValue]]) -> None:
        self.members = members

    def get(self, key: str, default: JsonValue = None) -> JsonValue:
        """The value of the first member of that name."""
        return next((value for name, value in self.members if name == key), default)

    def __contains__(self, key: str) -> bool:
        return any(name == key for name, _ in self.members)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, JsonObject) and self.members == other.members

    __hash__ = None  # type: ignore[assignment]  # mutable, as a list is

    def __repr__(self) -> str:
        return f"JsonObject({self.members!r})"


def type_name(value: JsonValue) -> str:
    """What messages call the type of a value."""
    match value:
        case None:
            return "Null"
        case bool():
            return str(value)
        case int() | float():
            return "Number"
        case str():
            return "String"
        case JsonObject():
            return "Object"
        case list() | np.ndarray():
            return "Array"


def b64_text(value: JsonValue) -> str | None:
    """The text of `{"b64": "…"}`; None for any other value."""
    if isinstance(value, JsonObject) and len(value.members) == 1:
        key, text = value.members[0]
        if key == "b64" and isinstance(text, str):
            return text
    return None
