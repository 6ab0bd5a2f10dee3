"""Classify and regress: signatures over serialized `tf.Example`s, with agreed names.

The input is called `inputs`; a classification has `classes` (bytes) and `scores` (float32) or one
of them, each [examples, classes]; a regression has `outputs`, float32 [examples] or [examples, 1].
Source: `tensorflow/core/public` signature constants, and recorded answers of the real server.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from serving.deep_arrays import shape_text
from serving.errors import InvalidArgument
from serving.servable import cpp_name

if TYPE_CHECKING:
    from serving.servable import Array, Servable, Signature


def classify(
    servable: Servable,
    name: str,
    examples: Array,
    timeout_seconds: float | None,
    *,
    check_method_name: bool = False,
) -> tuple[Array, Array]:
    """Run a classification.

    Args:
        servable: what computes.
        name: of the signature.
        examples: [examples], serialized `tf.Example`s.
        timeout_seconds: for the run.
        check_method_name: whether the signature's method name must say classify.

    Returns:
        Labels (bytes) and scores (float32), each [examples, classes]; what the signature has not
        is filled with empty labels or zeros.

    Raises:
        ServingError: the signature is none for classification, or the run failed.
    """
    check_classifies(servable, name, check_method_name=check_method_name)
    outputs = servable.run(name, {"inputs": examples}, timeout_seconds)
    return _labels_and_scores(outputs.get("classes"), outputs.get("scores"), len(examples))


def regress(
    servable: Servable,
    name: str,
    examples: Array,
    timeout_seconds: float | None,
    *,
    check_method_name: bool = False,
) -> Array:
    """Run a regression; arguments and errors as for `classify`.

    Returns:
        [examples], float32.
    """
    check_regresses(servable, name, check_method_name=check_method_name)
    values = servable.run(name, {"inputs": examples}, timeout_seconds)["outputs"]
    if values.ndim != 1 and values.shape[1:] != (1,):
        raise InvalidArgument(
            "Expected output Tensor shape to be either [batch_size] or [batch_size, 1] but got "
            f"{shape_text(values)}"
        )
    if len(values) != len(examples):
        raise InvalidArgument(
            f"Input batch size did not match output batch size: {len(examples)} vs. {len(values)}"
        )
    if values.dtype != np.float32:
        raise InvalidArgument(
            f"Expected output Tensor of DT_FLOAT.  Got: {_type_text(values.dtype)}"
        )
    return values.reshape(-1)


def check_classifies(servable: Servable, name: str, *, check_method_name: bool = False) -> None:
    """Raise InvalidArgument if a signature is none for classification."""
    signature = _signature(servable, name)
    if check_method_name:
        _check_method_name(signature, "classification", "classify")
    _check_one_input(signature)
    if len(signature.outputs) not in (1, 2):
        raise InvalidArgument(f"Expected one or two output Tensors, found {len(signature.outputs)}")
    if "inputs" not in signature.inputs:
        raise InvalidArgument(
            f"No classification inputs found in SignatureDef: {servable.describe(name)}"
        )
    if not {"classes", "scores"} & signature.outputs.keys():
        raise InvalidArgument(
            "Expected classification signature outputs to contain at least one of "
            f'"classes" or "scores". Signature was: {servable.describe(name)}'
        )


def check_regresses(servable: Servable, name: str, *, check_method_name: bool = False) -> None:
    """Raise InvalidArgument if a signature is none for regression."""
    signature = _signature(servable, name)
    if check_method_name:
        _check_method_name(signature, "regression", "regress")
    _check_one_input(signature)
    if len(signature.outputs) != 1:
        raise InvalidArgument("Expected one output Tensor.")
    for side, names in (("inputs", signature.inputs), ("outputs", signature.outputs)):
        if side not in names:
            raise InvalidArgument(
                f"No regression {side} found in SignatureDef: {servable.describe(name)}"
            )


def _signature(servable: Servable, name: str) -> Signature:
    try:
        return servable.signatures[name]
    except KeyError:
        raise InvalidArgument(f"No signature was found with the name: {name}") from None


def _check_method_name(signature: Signature, what: str, verb: str) -> None:
    wanted = f"tensorflow/serving/{verb}"
    if signature.method_name != wanted:
        raise InvalidArgument(
            f"Expected {what} signature method_name to be {wanted}. Was: {signature.method_name}"
        )


def _check_one_input(signature: Signature) -> None:
    if len(signature.inputs) != 1:
        raise InvalidArgument("Expected one input Tensor.")


def _labels_and_scores(
    classes: Array | None, scores: Array | None, count: int
) -> tuple[Array, Array]:
    if classes is not None:
        _check_output(classes, "classes", np.dtype(object), count)
    if scores is not None:
        _check_output(scores, "scores", np.dtype(np.float32), count)
    if classes is None:
        shape = (count, 0) if scores is None else scores.shape
        classes = np.full(shape, b"", object)
    if scores is None:
        scores = np.zeros(classes.shape, np.float32)
    labels, numbers = classes.shape[-1], scores.shape[-1]
    if labels != numbers:
        raise InvalidArgument(
            f"Tensors class and score should match in dim_size(1). Got {labels} vs. {numbers}"
        )
    return classes, scores


def _check_output(output: Array, name: str, dtype: np.dtype[np.generic], count: int) -> None:
    if output.ndim != 2:
        raise InvalidArgument(
            f"Expected Tensor shape: [batch_size num_classes] but got {shape_text(output)}"
        )
    if output.dtype != dtype:
        wanted = f"Expected {name} Tensor of {_type_text(dtype)}."
        raise InvalidArgument(f"{wanted} Got: {_type_text(output.dtype)}")
    if len(output) != count:
        raise InvalidArgument(f"Expected {name} output batch size of {count}. Got: {len(output)}")


def _type_text(dtype: np.dtype[np.generic]) -> str:
    return f"DT_{cpp_name(dtype.name).upper()}"
