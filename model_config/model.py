"""What one table of the models file says, as a frozen value."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from model_config.labels import Label

CONVENTIONS = ("tf", "caffe", "torch", "none")
RESIZE_FILTERS = ("bilinear", "nearest", "bicubic", "lanczos", "hamming", "box")
GRAPH_FILTERS = ("bilinear", "nearest", "bicubic", "lanczos")
"""Those that TensorFlow has as well, so that an export can resize as the router does."""
COLOR_MODES = ("rgb", "grayscale")


@dataclass(frozen=True, slots=True)
class ModelConfig:
    """One table of the models file, with every default filled in and every path absolute."""

    name: str
    servable: str
    base_path: Path
    architecture: str | None = None
    architecture_options: Mapping[str, Any] = field(default_factory=dict)
    weights: str | None = None
    """`imagenet` (Keras' download), `random`, or the absolute path of a weights file or a whole model."""
    train: Path | None = None
    """The program that trains and exports it where no version is there yet."""
    preprocess: str = "none"
    """One of `CONVENTIONS`, or `module:function` of the deployment's own."""
    decode: str = "top_labels"
    """`top_labels`, or `module:function` of the deployment's own."""
    resize: str = "bilinear"
    color_mode: str = "rgb"
    input_size: tuple[int, int] | None = None
    """Height, width in pixels; None only with a preprocess function of the deployment's own."""
    labels: tuple[Label, ...] = ()
    upstream: tuple[str, ...] = ()
    """Base URLs of its model server's replicas; empty: the supervisor starts one and tells where."""
    top: int = 5
    timeout_seconds: float = 30.0
    traffic: Mapping[str, float] = field(default_factory=dict)
    """Version label -> its share of the requests that name no version; empty: the newest version answers all."""
    sticky_header: str | None = None
    """Requests with the same value of this header go to the same version label."""
    shadow: str | None = None
    """A version label that is asked the same as well, for comparison; nobody waits for its answers."""
    support_set: bool = False
    """Whether clients teach it labels with a few pictures while it is served (docs/few-shot.md)."""

    @property
    def is_made_here(self) -> bool:
        """Whether the table says what its versions are made from; else they come from elsewhere."""
        return bool(self.train or self.architecture or self.weights)

    @property
    def own_preprocess(self) -> bool:
        """Whether `preprocess` is a function of the deployment's own, which the router alone can run."""
        return ":" in self.preprocess

    @property
    def own_decode(self) -> bool:
        """Whether `decode` is a function of the deployment's own."""
        return ":" in self.decode

    @property
    def channels(self) -> int:
        """Numbers per pixel: 3 for RGB, 1 for grayscale."""
        return 1 if self.color_mode == "grayscale" else 3
