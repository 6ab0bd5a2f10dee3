"""Ask two served versions of a model about the same images: how often they agree, how scores shift, how fast they are."""

from __future__ import annotations

import base64
import math
import statistics
import time
from dataclasses import dataclass
from numbers import Real
from typing import TYPE_CHECKING

import numpy as np

from flask_server.preprocessing import CONVENTIONS
from scripts.client_side import OwnPreprocessError, resized
from scripts.command_line import UserError, counted
from scripts.http_request import ask
from scripts.model_server import HINT, model_server_url
from scripts.photo_folders import find_pictures
from scripts.sample_image import read_image
from scripts.served_versions import label_version, model_url, served_signatures

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable
    from pathlib import Path

    from model_config import ModelConfig

_MOST_LINES = 10


@dataclass(frozen=True)
class Answer:
    """What one version says of one image."""

    scores: np.ndarray
    """float [classes]."""
    milliseconds: float

    @property
    def best(self) -> int:
        """The class with the highest score."""
        return int(self.scores.argmax())


@dataclass(frozen=True)
class Pair:
    """What both versions say of one image."""

    image: Path
    before: Answer
    after: Answer

    @property
    def agree(self) -> bool:
        """Whether the best class is the same."""
        return self.before.best == self.after.best

    @property
    def shift(self) -> float:
        """How far the score that moved most has moved; infinitely far if there are more or fewer."""
        if self.before.scores.shape != self.after.scores.shape:
            return math.inf
        return float(np.abs(self.before.scores - self.after.scores).max())


def compare(config: ModelConfig, before: str, after: str, folder: Path, *, least: float) -> None:
    """Print how two versions differ on a folder of images.

    Raises:
        UserError: A version is not served, there are no images, or fewer than `least` of the answers agree.
    """
    server = model_server_url(config)
    urls = [_version_url(server, config, name) for name in (before, after)]
    pairs = list(_pairs(config, urls, find_pictures(folder)))
    if not pairs:
        raise UserError(f"{folder} holds no image that could be read.")
    agreement = sum(pair.agree for pair in pairs) / len(pairs)
    print(f"{counted(len(pairs), 'image')}, {agreement:.1%} with the same best label")
    shifts = [pair.shift for pair in pairs]
    print(
        f"largest shift of a score: median {statistics.median(shifts):.4f}, {max(shifts):.4f} at most"
    )
    for name, times in (
        (before, [pair.before.milliseconds for pair in pairs]),
        (after, [pair.after.milliseconds for pair in pairs]),
    ):
        print(
            f"{name}: median {statistics.median(times):.1f} ms, p95 {np.percentile(times, 95):.1f} ms"
        )
    _print_disagreements(pairs, config)
    if agreement < least:
        raise UserError(f"Only {agreement:.1%} agree; {least:.1%} were asked for.")


def _print_disagreements(pairs: Iterable[Pair], config: ModelConfig) -> None:
    differing = sorted((p for p in pairs if not p.agree), key=lambda p: -p.shift)
    for pair in differing[:_MOST_LINES]:
        print(f"  {pair.image}: {_named(pair.before, config)} -> {_named(pair.after, config)}")
    if len(differing) > _MOST_LINES:
        print(f"  … and {len(differing) - _MOST_LINES} more")


def _named(answer: Answer, config: ModelConfig) -> str:
    labelled = answer.best < len(config.labels)
    name = config.labels[answer.best].name if labelled else str(answer.best)
    return f"{name} {answer.scores[answer.best]:.3f}"


def _version_url(server: str, config: ModelConfig, name: str) -> str:
    version = int(name) if name.isdecimal() else label_version(server, config.servable, name)
    if version is None:
        raise UserError(f"No version of '{config.name}' that is served bears the label '{name}'.")
    return f"{model_url(server, config.servable)}/versions/{version}"


def _pairs(config: ModelConfig, urls: list[str], images: list[Path]) -> Iterable[Pair]:
    """Both answers for each image; who is asked first takes turns."""
    signatures = [served_signatures(url) for url in urls]
    for number, image in enumerate(images):
        try:
            pixels = resized(read_image(image), config)
        except OwnPreprocessError:
            raise
        except UserError as error:
            print(f"  {image} is left out: {error}")
            continue
        answers: dict[int, Answer] = {}
        for which in (0, 1) if number % 2 else (1, 0):
            answers[which] = _ask(urls[which], signatures[which], pixels, config)
        yield Pair(image, answers[0], answers[1])


def _ask(url: str, signatures: Collection[str], pixels: np.ndarray, config: ModelConfig) -> Answer:
    if "pixels" in signatures:
        raw = {"b64": base64.b64encode(pixels.tobytes()).decode()}
        body = {"signature_name": "pixels", "instances": [raw]}
    else:
        body = {"instances": [CONVENTIONS[config.preprocess](pixels).tolist()]}
    begun = time.monotonic()
    answer = ask(f"{url}:predict", hint=HINT, json=body)
    milliseconds = 1000 * (time.monotonic() - begun)
    match answer:
        case {"predictions": [[_, *_] as scores]} if all(isinstance(s, Real) for s in scores):
            return Answer(np.asarray(scores, np.float64), milliseconds)
    raise UserError(f"{url} answered no scores: {str(answer)[:200]}")
