"""Refuse the inputs that would end or hang the process instead of failing in the graph.

Shapes are left to the graph, as TensorFlow Serving does. But an image model whose convolutions run
in oneDNN aborts the whole process on an image of another rank, or one too small for its pooling.
So where a signature takes images (a known rank of three or more), is given others than it names,
and its graph holds such operations, TensorFlow's shape inference is asked first: it walks the same
graph and answers with a sentence. That takes a tenth of a second, and the verdict on a shape is
remembered.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING

from tensorflow.core.framework import graph_pb2

from serving import tensorflow_core as tf
from serving.deep_arrays import shape_of
from serving.errors import InvalidArgument

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from tensorflow.core.framework.node_def_pb2 import NodeDef

    from serving.servable import Array, Signature, TensorSpec

    Shape = tuple[int | None, ...]

_IMAGE_RANK_MIN = 3
_VERDICTS_MAX = 1000
_WEIGHTS_FROM_BYTES = 4096
_MAY_DIE = re.compile("Conv|Pool|Norm|LRN")  # what oneDNN runs over images


class InputGuard:
    """Judges the shapes given to one signature of one graph."""

    def __init__(self, graph: tf.Graph, signature: Signature) -> None:
        """Nothing is computed before an odd shape comes."""
        self._graph = graph
        self._signature = signature
        self._images = {n: s for n, s in signature.inputs.items() if _takes_images(s)}
        self._sketch: graph_pb2.GraphDef | None = None
        self._verdicts: OrderedDict[tuple[Shape, ...], str | None] = OrderedDict()
        self._judging = threading.Lock()

    def check(self, inputs: Mapping[str, Array]) -> None:
        """Let the expected shapes through, and odd ones after a look at the graph.

        Raises:
            InvalidArgument: the graph cannot compute on these shapes.
        """
        if all(_is_as_named(shape_of(inputs[n]), s.shape) for n, s in self._images.items()):
            return
        shapes = {name: _any_batch(shape_of(array)) for name, array in inputs.items()}
        verdict = self._verdict(shapes)
        if verdict is not None:
            raise InvalidArgument(verdict)

    def _verdict(self, shapes: Mapping[str, Shape]) -> str | None:
        key = tuple(shapes.values())
        with self._judging:
            if key not in self._verdicts:
                self._verdicts[key] = self._infer(shapes)
                if len(self._verdicts) > _VERDICTS_MAX:
                    self._verdicts.popitem(last=False)
            return self._verdicts[key]

    def _infer(self, shapes: Mapping[str, Shape]) -> str | None:
        if self._sketch is None:
            self._sketch = _sketch(self._graph, self._signature)
        if not any(_MAY_DIE.search(node.op) for node in _all_nodes(self._sketch)):
            return None  # its kernels say themselves what they cannot compute
        with tf.Graph().as_default():
            sources = {
                spec.name: tf.placeholder(
                    self._graph.get_tensor_by_name(spec.name).dtype, shapes[name]
                )
                for name, spec in self._signature.inputs.items()
            }
            try:
                tf.import_graph_def(self._sketch, input_map=sources)
            except ValueError as error:
                return str(error).partition(" for '{{node")[0]
        return None


def _takes_images(spec: TensorSpec) -> bool:
    return spec.shape is not None and len(spec.shape) >= _IMAGE_RANK_MIN


def _is_as_named(got: Shape, named: Shape | None) -> bool:
    return named is not None and len(got) == len(named) and got[1:] == named[1:]


def _any_batch(shape: Shape) -> Shape:
    return (None, *shape[1:]) if shape else shape


def _sketch(graph: tf.Graph, signature: Signature) -> graph_pb2.GraphDef:
    """The signature's part of the graph, its weights replaced by mere shapes."""
    targets = [spec.name.partition(":")[0] for spec in signature.outputs.values()]
    sketch = graph_pb2.GraphDef()
    sketch.CopyFrom(tf.extract_sub_graph(graph.as_graph_def(), targets))
    _forget_weights(_all_nodes(sketch))
    return sketch


def _all_nodes(graph: graph_pb2.GraphDef) -> Iterator[NodeDef]:
    yield from graph.node
    for function in graph.library.function:
        yield from function.node_def


def _forget_weights(nodes: Iterable[NodeDef]) -> None:
    for node in nodes:
        if node.op != "Const" or node.attr["value"].ByteSize() < _WEIGHTS_FROM_BYTES:
            continue
        shape = node.attr["value"].tensor.tensor_shape
        node.op = "Placeholder"
        node.attr["shape"].shape.CopyFrom(shape)
        del node.attr["value"]
