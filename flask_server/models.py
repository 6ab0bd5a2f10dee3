"""Bind each table of the models file to the functions it names; whatever is wrong is found here, at start-up."""

from __future__ import annotations

import importlib
import sys
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol, cast

from flask_server.admission import Places
from flask_server.decoding import top_labels
from flask_server.placement import Placement, load_placement
from flask_server.preprocessing import CONVENTIONS
from flask_server.resizing import resized_pixels
from flask_server.taught import Taught, taught_labels
from flask_server.traffic import Traffic
from flask_server.upstream import Upstream
from model_config import ConfigError, load_deployment

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from flask_server.images import Picture
    from flask_server.replicas import ReplicaPool
    from flask_server.settings import Settings
    from flask_server.support_store import SupportStore
    from flask_server.traffic import Predict
    from model_config import ModelConfig


class Decode(Protocol):
    """Scores -> what the client gets."""

    def __call__(self, scores: Any, top: int) -> object:  # noqa: ANN401 - what the upstream's rows are
        """Decode one row of the model's output."""


@dataclass(frozen=True, slots=True)
class Model:
    """One model with everything bound that its requests need."""

    config: ModelConfig
    preprocess: Callable[[Picture], NDArray[Any]]
    """Picture -> uint8 pixels [height, width, channels], or what the deployment's own function makes of it."""
    decode: Decode
    upstream: Upstream
    predict: Predict
    """As `Upstream.predict`, with what the table says of support sets and traffic."""
    places: Places
    problem: str | None
    """Why it has no model server, and what to do."""
    being_made: bool
    """It has none yet, and the supervisor's start is not over."""

    @property
    def takes_best(self) -> bool:
        """Whether nobody looks at other scores than the best: no decode function of the deployment's own, no shadow."""
        config = self.config
        return not config.own_decode and not config.support_set and config.shadow is None

    @property
    def enough(self) -> tuple[int, int] | None:
        """Height and width that a decoded image needs at least; None: all it has."""
        # These two show single pixels and hard edges, which a small decode has averaged away.
        exact = self.config.resize in ("nearest", "box") or self.config.own_preprocess
        return None if exact else self.config.input_size


def load_models(settings: Settings, pool: ReplicaPool, support: SupportStore) -> dict[str, Model]:
    """Every model of the models file, bound.

    Raises:
        ConfigError: The models file or the placement file is wrong, or names a function that cannot be imported.
    """
    deployment = load_deployment(settings.models_file)
    _make_importable(deployment.path.parent)
    placements = load_placement(settings.placement_file)
    return {
        name: _bind(config, placements.get(name, Placement()), settings, pool, support)
        for name, config in deployment.models.items()
    }


def _bind(
    config: ModelConfig,
    placement: Placement,
    settings: Settings,
    pool: ReplicaPool,
    support: SupportStore,
) -> Model:
    if not config.upstream:
        config = replace(config, upstream=placement.upstream)
    where = f"{settings.models_file}, table [{config.name}]"
    convention = None if config.own_preprocess else CONVENTIONS[config.preprocess]
    upstream = Upstream(config, pool.replicas(config.upstream), convention)
    taught = Taught(upstream, support, config.name).predict if config.support_set else None
    return Model(
        config=config,
        preprocess=_preprocess(config, where),
        decode=taught_labels if taught else _decode(config, where),
        upstream=upstream,
        predict=Traffic(taught or upstream.predict, config).predict,
        places=Places(config.name, settings.model_concurrency, settings.model_queue),
        problem=_problem(config, placement),
        being_made=placement.being_made,
    )


def _problem(config: ModelConfig, placement: Placement) -> str | None:
    if config.upstream:
        return None
    return placement.problem or (
        f"The model '{config.name}' has no model server: set 'upstream' in its table of the models file."
    )


def _preprocess(config: ModelConfig, where: str) -> Callable[[Picture], NDArray[Any]]:
    if config.own_preprocess:
        function = _function(config.preprocess, f"{where}, key 'preprocess'")
        return lambda picture: function(picture.image)
    size = cast(tuple[int, int], config.input_size)  # model_config sees to it
    return partial(resized_pixels, input_size=size, resize=config.resize)


def _decode(config: ModelConfig, where: str) -> Decode:
    if config.own_decode:
        return _function(config.decode, f"{where}, key 'decode'")
    return partial(top_labels, labels=config.labels)


def _function(reference: str, where: str) -> Callable[..., Any]:
    """Import `module:function`, the module from beside the models file or anywhere Python finds it."""
    module_name, _, name = reference.partition(":")
    try:
        module = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:
        raise ConfigError(f"{where}: '{module_name}' cannot be imported: {error}.") from error
    function: object = getattr(module, name, None)
    if not callable(function):
        raise ConfigError(f"{where}: the module '{module_name}' has no function '{name}'.")
    return function


def _make_importable(folder: Path) -> None:
    """Let functions beside the models file be imported; after everything else, so that they hide nothing."""
    if str(folder) not in sys.path:
        sys.path.append(str(folder))
