"""Which version answers a request that names none: shares of the traffic by version label, and a shadow beside it.

traffic       = { stable = 90, canary = 10 }   # shares, of any sum
sticky_header = "X-User"                       # who sends the same value stays with the same label
shadow        = "next"                         # is asked the same; only the log and the metrics see its answers
"""

from __future__ import annotations

import hashlib
import logging
import random
import threading
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from flask_server.errors import RouterError, UnknownVersion
from flask_server.measures import the_metrics

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from flask_server.served_versions import Call
    from model_config import ModelConfig

    Predict = Callable[[Sequence[NDArray[Any]], Call], tuple[list[Any], int]]

SHADOWS_AT_ONCE = 4
_log = logging.getLogger(__name__)


class Traffic:
    """Shares one model's requests out between its version labels."""

    def __init__(self, ask: Predict, config: ModelConfig) -> None:
        self._ask = ask
        self._config = config
        self._shadows = threading.Semaphore(SHADOWS_AT_ONCE)

    def predict(self, arrays: Sequence[NDArray[Any]], call: Call) -> tuple[list[Any], int]:
        """See `Upstream.predict`; a call that names no version is given one by the shares.

        What the shadow itself has answered is not asked of it again.
        """
        rows, version, version_label = self._predict(arrays, call)
        shadow = self._config.shadow
        if shadow not in (None, version_label) and self._shadows.acquire(blocking=False):
            arguments = (shadow, arrays, call, rows)
            threading.Thread(target=self._shadow, args=arguments, daemon=True).start()
        return rows, version

    def _predict(
        self, arrays: Sequence[NDArray[Any]], call: Call
    ) -> tuple[list[Any], int, str | None]:
        """The answer, its version, and the label by which that was asked for."""
        if call.target or not self._config.traffic:
            return *self._ask(arrays, call), call.version_label
        for version_label in in_order(self._config.traffic, point_of(call.affinity)):
            try:
                return *self._ask(arrays, replace(call, version_label=version_label)), version_label
            except UnknownVersion:
                _log.warning(
                    "no version of %s bears the label %s", self._config.name, version_label
                )
        return *self._ask(arrays, call), None

    def _shadow(
        self, version_label: str, arrays: Sequence[NDArray[Any]], call: Call, rows: Sequence[Any]
    ) -> None:
        """Ask the shadow, and note how it differs from the answer that was given."""
        begun = time.monotonic()
        deadline = begun + self._config.timeout_seconds
        quiet = replace(
            call, version=None, version_label=version_label, deadline=deadline, client=None
        )
        try:
            shadowed, version = self._ask(arrays, quiet)
        except RouterError as error:
            _log.warning(
                "shadow model=%s label=%s failed: %s", self._config.name, version_label, error
            )
            self._count("", failed=len(rows))
            return
        finally:
            self._shadows.release()
        seconds = time.monotonic() - begun
        same, shift = difference(rows, shadowed)
        self._count(str(version), same=same, different=len(rows) - same)
        the_metrics().shadow_seconds.labels(self._config.name, version).observe(seconds)
        _log.info(
            "shadow model=%s version=%d images=%d same_best=%d largest_shift=%.4f upstream_ms=%.1f",
            self._config.name,
            version,
            len(rows),
            same,
            shift,
            1000 * seconds,
        )

    def _count(self, version: str, **outcomes: int) -> None:
        for outcome, images in outcomes.items():
            the_metrics().shadow_images.labels(self._config.name, version, outcome).inc(images)


def point_of(affinity: str | None) -> float:
    """A point from 0 up to 1: always the same for the same text, by chance without one."""
    if affinity is None:
        return random.random()  # noqa: S311 - shares out work, keeps no secret
    digest = hashlib.blake2b(affinity.encode("utf-8", "surrogateescape"), digest_size=7).digest()
    return int.from_bytes(digest) / float(256 ** len(digest))


def in_order(shares: Mapping[str, float], point: float) -> Iterator[str]:
    """The label whose share holds the point, then the others, the larger share first.

    The shares are laid side by side in the order of the models file. So a share that grows at the end takes from the one
    before it, and whoever was with the last label stays there.
    """
    chosen = _version_label_at(shares, point)
    yield chosen
    others = (
        version_label
        for version_label, share in shares.items()
        if version_label != chosen and share
    )
    yield from sorted(others, key=lambda version_label: -shares[version_label])


def _version_label_at(shares: Mapping[str, float], point: float) -> str:
    left = point * sum(shares.values())
    for version_label, share in shares.items():
        if left < share:
            return version_label
        left -= share
    return max(shares, key=lambda version_label: shares[version_label])  # rounding, at the very end


def difference(rows: Sequence[Any], others: Sequence[Any]) -> tuple[int, float]:
    """In how many rows the best class is the same, and how far the score that moved most has moved.

    Rows that are not scores of the same classes count as different, by infinity.
    """
    pairs = [(_scores(row), _scores(other)) for row, other in zip(rows, others, strict=True)]
    comparable = [(a, b) for a, b in pairs if a is not None and b is not None and len(a) == len(b)]
    same = sum(int(a.argmax() == b.argmax()) for a, b in comparable)
    if len(comparable) < len(pairs):
        return same, float("inf")
    return same, max(float(np.abs(a - b).max()) for a, b in comparable)


def _scores(row: object) -> NDArray[Any] | None:
    array = row if isinstance(row, np.ndarray) else None
    return array if array is not None and array.ndim == 1 and array.size else None
