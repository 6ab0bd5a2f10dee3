"""Run a signature on tensors with more dimensions than numpy has.

Such tensors go in and out as serialized messages: the part of the graph between the signature's
inputs and outputs is put into the same graph a second time, behind operations that read and write
the messages. Variables and tables stay the very same, so state is shared with every other call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from tensorflow.core.framework import tensor_pb2

from serving import tensorflow_core as tf
from serving.deep_arrays import shape_of, shaped

if TYPE_CHECKING:
    from collections.abc import Mapping

    from serving.servable import Array, Signature


class DeepCall:
    """A signature of a loaded graph, called with messages."""

    def __init__(self, session: tf.Session, signature: Signature) -> None:
        """Extend the session's graph by the signature's detour."""
        self._session = session
        self._signature = signature
        graph = session.graph
        with graph.as_default():
            self._feeds = {name: tf.placeholder(tf.string) for name in signature.inputs}
            sources = {
                spec.name: tf.parse_tensor(
                    self._feeds[name], graph.get_tensor_by_name(spec.name).dtype
                )
                for name, spec in signature.inputs.items()
            }
            targets = [spec.name for spec in signature.outputs.values()]
            copies = _copied(graph, sources, targets)
            self._fetches = [tf.serialize_tensor(copy) for copy in copies]

    def __call__(self, inputs: Mapping[str, Array], timeout_seconds: float | None) -> list[Array]:
        """Run; the outputs are in the signature's order."""
        timeout = 0 if timeout_seconds is None else max(1, round(timeout_seconds * 1000))
        messages = self._session.run(
            self._fetches,
            {feed: _serialized(inputs[name]) for name, feed in self._feeds.items()},
            options=tf.RunOptions(timeout_in_ms=timeout),
        )
        return [_parsed(message) for message in messages]


def _copied(graph: tf.Graph, sources: Mapping[str, Any], targets: list[str]) -> list[tf.Tensor]:
    part = tf.extract_sub_graph(
        graph.as_graph_def(), [target.partition(":")[0] for target in targets]
    )
    state = {
        output.name: output
        for node in part.node
        for output in _state_outputs(graph.get_operation_by_name(node.name))
    }
    copies: list[tf.Tensor] = tf.import_graph_def(
        part, input_map={**state, **sources}, return_elements=targets, name="deep"
    )
    return copies


def _state_outputs(operation: tf.Operation) -> list[tf.Tensor]:
    holds_state = operation.op_def.is_stateful and not operation.inputs
    return list(operation.outputs) if holds_state else []


def _serialized(array: Array) -> bytes:
    message = tf.make_tensor_proto(np.asarray(array).reshape(-1))
    _set_shape(message, shape_of(array))
    serialized: bytes = message.SerializeToString()
    return serialized


def _parsed(serialized: bytes) -> Array:
    message = tensor_pb2.TensorProto.FromString(serialized)
    shape = tuple(dim.size for dim in message.tensor_shape.dim)
    _set_shape(message, (int(np.prod(shape, dtype=np.int64)),))
    return shaped(tf.make_ndarray(message), shape)


def _set_shape(message: tensor_pb2.TensorProto, shape: tuple[int, ...]) -> None:
    del message.tensor_shape.dim[:]
    for size in shape:
        message.tensor_shape.dim.add(size=size)
