"""Predictions of a few-shot model: by exactly the support set that the store holds, whichever replica is asked.

A model server keeps the support set that it was given last in its memory, and each of its answers names the version of
the set it was made with. An answer made with another one (the server was restarted, is another replica, or has been taught
since) is thrown away, and the question is put again with the whole set beside it. So no process needs to know which
others there are, or which of them died.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Any

import pybase64

from flask_server.errors import NothingTaught, UpstreamError, UpstreamTimeout
from flask_server.images import as_png

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from flask_server.served_versions import Call
    from flask_server.support_store import SupportStore
    from flask_server.upstream import Upstream

_HELD = "decode_and_serve"
_SENT_ALONG = "serve_with_support_set"


class Taught:
    """Predictions of one few-shot model; its rows are label -> score, best first."""

    def __init__(self, upstream: Upstream, store: SupportStore, model: str) -> None:
        self._upstream = upstream
        self._store = store
        self._model = model
        self._teaching = threading.Lock()

    def predict(
        self, arrays: Sequence[NDArray[Any]], call: Call
    ) -> tuple[list[dict[str, float]], int]:
        """Classify pictures.

        Args:
            arrays: uint8 [H, W, C] each.
            call: Deadline, version and headers.

        Returns:
            A row for each picture, and the version of the model that computed them.

        Raises:
            NothingTaught: The support set is empty.
            UpstreamError: As `Upstream.predict` raises them.
        """
        images = [picture_text(array) for array in arrays]
        answer = self._by_held(images, call)
        if answer is None:
            self._wait_for_turn(call)
            try:
                answer = self._by_held(images, call) or self._by_sent_along(images, call)
            finally:
                self._teaching.release()
        outputs, version = answer
        return _rows(outputs, len(images)), version

    def _by_held(self, images: Sequence[str], call: Call) -> tuple[dict[str, Any], int] | None:
        """The answer by the set that the server holds, if that is the store's."""
        version = self._store.version(self._model)
        if not version:
            raise NothingTaught(self._model)
        outputs, served = self._upstream.outputs(_HELD, {"images": images}, call)
        right = outputs.get("support_version") == [version] * len(images)
        return (outputs, served) if right else None

    def _by_sent_along(self, images: Sequence[str], call: Call) -> tuple[dict[str, Any], int]:
        support = self._store.read(self._model)
        if not support.labels:
            raise NothingTaught(self._model)
        inputs = {
            "images": images,
            "support_images": support.images,
            "support_labels": support.labels,
            "support_version": support.version,
        }
        return self._upstream.outputs(_SENT_ALONG, inputs, call)

    def _wait_for_turn(self, call: Call) -> None:
        """One request of a worker at a time brings the set along; the others find it taught."""
        if not self._teaching.acquire(timeout=max(call.deadline - time.monotonic(), 0.0)):
            raise UpstreamTimeout(f"The model '{self._model}' was not taught in time.")


def picture_text(pixels: NDArray[np.uint8]) -> str:
    """Pixels [H, W, C] as a PNG file in web-safe base64 (RFC 4648, section 5): nothing is lost on the way."""
    return pybase64.urlsafe_b64encode(as_png(pixels)).decode("ascii")


def taught_labels(scores: dict[str, float], top: int) -> list[list[Any]]:
    """The best labels as `[[label, label, score], ...]`: what people teach has a name and no other id."""
    return [[label, label, score] for label, score in list(scores.items())[:top]]


def _rows(outputs: Mapping[str, Any], count: int) -> list[dict[str, float]]:
    try:
        rows = zip(outputs["classes"], outputs["scores"], strict=True)
        pairs = [dict(zip(classes, scores, strict=True)) for classes, scores in rows]
    except (KeyError, TypeError, ValueError):
        pairs = []
    if len(pairs) != count:
        raise UpstreamError("The model server's answer holds no classes for what was sent.")
    return pairs
