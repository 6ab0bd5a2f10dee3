"""The skeleton of a JSON document: its text without numbers and white space, which shows every list's length.

A value that was read in bulk has the shape it claims if its skeleton is the text's.
"""

from __future__ import annotations

import numpy as np
import orjson

from serving.json_values import JsonObject, JsonValue

# The slash lies between these in ASCII; only strings hold it, and both skeletons leave it out.
_OF_NUMBERS = b"0123456789.+-/eE \t\r\n"
_MINUS, _FROM_MINUS_TO_NINE = np.uint8(ord("-")), np.uint8(ord("9") - ord("-"))
_CHUNK_BYTES = 256 * 1024  # stays in the processor's cache
_WORD = np.dtype(np.uint32)


def skeleton_of_text(text: bytes) -> bytes:
    """The skeleton of a document's text.

    `bytes.translate` takes about as long for a byte that goes as for one that stays, and long
    where the two take turns: numpy first throws out whatever it can.
    """
    most = len(text) // _WORD.itemsize * _WORD.itemsize
    data = np.frombuffer(text, np.uint8, most)
    chunks = (data[begin : begin + _CHUNK_BYTES] for begin in range(0, most, _CHUNK_BYTES))
    kept = b"".join(_without_most_digits(chunk) for chunk in chunks)
    return (kept + text[most:]).translate(None, _OF_NUMBERS)


def _without_most_digits(chunk: np.ndarray) -> bytes:
    """Leave out whole words without structure, then single bytes; the words are fewer to look at."""
    words = chunk.view(_WORD).compress(_may_be_structure(chunk).view(_WORD) != 0)
    rest = words.view(np.uint8)
    return rest.compress(_may_be_structure(rest)).tobytes()


def _may_be_structure(data: np.ndarray) -> np.ndarray:
    """Which bytes are none of `-./0123456789` (differences of uint8 wrap around)."""
    return (data - _MINUS) > _FROM_MINUS_TO_NINE


def skeleton_of_value(value: JsonValue) -> bytes:
    """The skeleton of the text that this value is written as."""
    if isinstance(value, np.ndarray):
        return _skeleton_of_block(value.shape)
    if isinstance(value, JsonObject):
        members = (
            skeleton_of_value(key) + b":" + skeleton_of_value(item) for key, item in value.members
        )
        return b"{" + b",".join(members) + b"}"
    if isinstance(value, list):
        return b"[" + b",".join(map(skeleton_of_value, value)) + b"]"
    return orjson.dumps(value).translate(None, _OF_NUMBERS)


def _skeleton_of_block(shape: tuple[int, ...]) -> bytes:
    text = b""
    for size in reversed(shape):
        text = b"[" + b",".join([text] * size) + b"]"
    return text
