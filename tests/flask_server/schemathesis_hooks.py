"""What the OpenAPI document cannot say and Schemathesis must know: loaded by it through SCHEMATHESIS_HOOKS."""

from __future__ import annotations

import base64
import io
import re
from typing import Any

import schemathesis
from hypothesis import strategies
from PIL import Image

FORMATS = {
    "image/jpeg": "JPEG",
    "image/png": "PNG",
    "image/webp": "WEBP",
    "application/octet-stream": "GIF",
}


def _encoded(kind: str) -> bytes:
    file = io.BytesIO()
    Image.new("RGB", (9, 7), (200, 30, 10)).save(file, kind)
    return file.getvalue()


IMAGES = {media_type: _encoded(kind) for media_type, kind in FORMATS.items()}
# A schema can tell base64 from other text, but not which bytes are an image.
schemathesis.openapi.format(
    "base64-image",
    strategies.sampled_from([base64.b64encode(image).decode() for image in IMAGES.values()]),
)
schemathesis.openapi.format("binary", strategies.sampled_from(list(IMAGES.values())))
for media_type, image in IMAGES.items():
    schemathesis.openapi.media_type(media_type, strategies.just(image))


@schemathesis.hook
def filter_headers(_context: Any, headers: dict[str, Any] | None) -> bool:
    """Who gives the model a microsecond is answered 504, and rightly."""
    wanted = (headers or {}).get("X-Request-Timeout", "1")
    return not re.fullmatch(r"0\.\d+", str(wanted))


@schemathesis.hook
def filter_case(_context: Any, case: Any) -> bool:
    """What OpenAPI has no words for.

    A version may be named by number or by label, not by both. A form holds nothing but text, so a label that ought to be refused
    for its type arrives as a good one.
    """
    if {"version", "version_label"} <= set(case.query or ()):
        return False
    is_form = case.media_type in ("multipart/form-data", "application/x-www-form-urlencoded")
    label = case.body.get("label", "") if is_form and isinstance(case.body, dict) else ""
    return isinstance(label, str)
