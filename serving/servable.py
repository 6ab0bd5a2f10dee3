"""What a servable is: one loaded version that computes; its signatures; the states of its life.

Tensors cross this seam as numpy arrays: numbers and booleans with their own dtype, strings as
arrays of dtype object that hold `bytes`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from serving.errors import Internal, InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

Array = np.ndarray[Any, np.dtype[Any]]

DEFAULT_SIGNATURE = "serving_default"
# What TensorFlow calls the types that numpy calls otherwise.
_CPP_NAMES = {"float32": "float", "float64": "double", "float16": "half", "object": "string"}
_METHOD_NAMES = tuple(f"tensorflow/serving/{verb}" for verb in ("predict", "classify", "regress"))


class State(IntEnum):
    """The states of a version, numbered as TensorFlow Serving's `ModelVersionStatus` does."""

    START = 10
    LOADING = 20
    AVAILABLE = 30
    UNLOADING = 40
    END = 50


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a signature.

    Attributes:
        name: the tensor's name in the graph (`x:0`).
        dtype: TensorFlow's name for the type (`float`, `int32`, `string`, `half`, …).
        shape: the sizes, None where one is open; None as a whole for an unknown rank.
    """

    name: str
    dtype: str
    shape: tuple[int | None, ...] | None


@dataclass(frozen=True)
class Signature:
    """A named function of a model: what it takes and what it gives."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    method_name: str = "tensorflow/serving/predict"


def cpp_name(numpy_name: str) -> str:
    """What TensorFlow Serving's messages call a type."""
    return _CPP_NAMES.get(numpy_name, numpy_name)


class Servable(Protocol):
    """One loaded version of a model; safe to run from several threads at once."""

    signatures: Mapping[str, Signature]

    def run(
        self, signature_name: str, inputs: Mapping[str, Array], timeout_seconds: float | None
    ) -> dict[str, Array]:
        """Compute every output of a signature.

        Args:
            signature_name: a key of `signatures`.
            inputs: input name -> array, one for each input of the signature.
            timeout_seconds: after this it gives up; None is never.

        Raises:
            ServingError: the graph refused, failed, or took too long.
        """

    def metadata(self) -> dict[str, Any]:
        """The signatures as protobuf's JSON of a `SignatureDefMap`."""

    def describe(self, signature_name: str) -> str:
        """The signature as protobuf text, for messages."""

    def close(self) -> None:
        """Give back what it holds; nobody runs it any more."""


def signature_of(servable: Servable, name: str) -> Signature:
    """Find a signature for a predict request.

    Raises:
        InvalidArgument: there is none of that name.
    """
    try:
        return servable.signatures[name]
    except KeyError:
        message = f'Serving signature name: "{name}" not found in signature def'
        raise InvalidArgument(message) from None


def check_predict_method(signature: Signature) -> None:
    """Hold the method name to those that predict takes, where a flag says so.

    Raises:
        Internal: it is another; the code is the real server's.
    """
    if signature.method_name not in _METHOD_NAMES:
        raise Internal(
            f"Expected prediction signature method_name to be one of {{{', '.join(_METHOD_NAMES)}}}. "
            f"Was: {signature.method_name}"
        )


def check_input_names(signature: Signature, given: Collection[str]) -> None:
    """Hold the names of the inputs that are there to those that a signature wants.

    Raises:
        InvalidArgument: some are missing, too many, or others.
    """
    wanted, there = set(signature.inputs), set(given)
    if len(wanted) != len(there):
        sets = [
            ",".join(sorted(names)) for names in (there, wanted, there - wanted, wanted - there)
        ]
        raise InvalidArgument(
            f"input size does not match signature: {len(there)}!={len(wanted)} "
            f"len({{{sets[0]}}}) != len({{{sets[1]}}}). Sent extra: {{{sets[2]}}}. "
            f"Missing but required: {{{sets[3]}}}."
        )
    if wanted != there:
        alias = min(wanted - there)
        raise InvalidArgument(
            f"Signature input alias: {alias}(feed name: {signature.inputs[alias].name}) not found "
            "in request and no default value provided. Inputs expected to be in the request "
            f"{{{','.join(sorted(there))}}}, or default input alias set: "
        )
