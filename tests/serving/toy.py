"""Servables made of plain numpy functions: all that the fast tests load."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import numpy as np

from serving.servable import Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from serving.servable import Array

    Function = Callable[[Mapping[str, Array]], dict[str, Array]]


def spec(dtype: str = "float", shape: tuple[int | None, ...] | None = None) -> TensorSpec:
    """A tensor of any shape."""
    return TensorSpec("x:0", dtype, shape)


class Toy:
    """A servable over named numpy functions; remembers how it was called."""

    def __init__(self, functions: Mapping[str, tuple[Signature, Function]]) -> None:
        self.signatures = {name: signature for name, (signature, _) in functions.items()}
        self._functions = {name: function for name, (_, function) in functions.items()}
        self.calls: list[Mapping[str, Array]] = []
        self.is_closed = threading.Event()

    def run(
        self, signature_name: str, inputs: Mapping[str, Array], timeout_seconds: float | None
    ) -> dict[str, Array]:
        """Call the function of that name."""
        del timeout_seconds  # a toy is never slow
        assert not self.is_closed.is_set(), "run after close"
        self.calls.append(inputs)
        return self._functions[signature_name](inputs)

    def metadata(self) -> dict[str, Any]:
        """Just the names."""
        return {name: {} for name in self.signatures}

    def describe(self, signature_name: str) -> str:
        """Just the name."""
        return f"({signature_name})"

    def close(self) -> None:
        """Remember that it was closed."""
        self.is_closed.set()


def times(factor: float) -> Toy:
    """A toy with one signature, y = factor * x."""
    signature = Signature({"x": spec()}, {"y": spec()})
    return Toy({"serving_default": (signature, lambda i: {"y": i["x"] * np.float32(factor)})})


def echoing(dtype: str) -> Toy:
    """A toy that gives back what it gets."""
    signature = Signature({"x": spec(dtype)}, {"y": spec(dtype)})
    return Toy({"serving_default": (signature, lambda i: {"y": i["x"]})})


def add_version(base_path: Path, number: int) -> Path:
    """A version's folder, with nothing in it."""
    folder = base_path / str(number)
    folder.mkdir(parents=True)
    return folder
