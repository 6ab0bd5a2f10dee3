"""A Servable over a TensorFlow SavedModel, loaded and run as the C++ server does.

The graph lives in a session of its own: TF1 and TF2 exports load alike, errors read as the real
server's, and what a signature assigns to a variable stays while the version lives.
"""

from __future__ import annotations

import gc
from copy import deepcopy
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from google.protobuf import json_format, message, text_format
from tensorflow.core.protobuf import config_pb2

from serving import tensorflow_core as tf
from serving.errors import Code, ServingError
from serving.graph_signature import GraphSignature
from serving.heap import give_back
from serving.saved_model_loader import load_into, read_meta_graph
from serving.servable import Signature, TensorSpec, cpp_name

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from tensorflow.core.protobuf.meta_graph_pb2 import SignatureDef, TensorInfo

    from serving.servable import Array


@dataclass(frozen=True)
class SessionOptions:
    """How sessions are made; see the flags of the same names.

    Attributes:
        tags: which of the SavedModel's graphs.
        intra_op_parallelism: threads within an operation; 0 is as many as there are CPUs.
        inter_op_parallelism: operations at once; likewise.
        config: a `ConfigProto` that the two above are written into, or None.
    """

    tags: tuple[str, ...] = ("serve",)
    intra_op_parallelism: int = 0
    inter_op_parallelism: int = 0
    config: config_pb2.ConfigProto | None = None

    def config_proto(self) -> config_pb2.ConfigProto:
        """The session's `ConfigProto`."""
        config = config_pb2.ConfigProto()
        if self.config is not None:
            config.CopyFrom(self.config)
        config.intra_op_parallelism_threads = (
            self.intra_op_parallelism or config.intra_op_parallelism_threads
        )
        config.inter_op_parallelism_threads = (
            self.inter_op_parallelism or config.inter_op_parallelism_threads
        )
        # Else each compiled signature keeps a copy of its graph, constants and all, for a debugger.
        config.experimental.disable_output_partition_graphs = True
        return config


def load_saved_model(path: Path, options: SessionOptions) -> SavedModelServable:
    """Load one version.

    Raises:
        ServingError: it is not there, broken, or has no graph with the tags.
    """
    meta_graph = read_meta_graph(path, options.tags)
    session = tf.Session(graph=tf.Graph(), config=options.config_proto())
    try:
        load_into(session, meta_graph, path)
        servable = SavedModelServable(session, meta_graph.signature_def)
    except tf.OpError as error:
        session.close()
        raise ServingError(error.message, Code(error.error_code)) from None
    except (RuntimeError, ValueError, TypeError, KeyError, message.DecodeError) as error:
        session.close()
        raise ServingError(
            f"Could not load the SavedModel at {path}: {error}", Code.INVALID_ARGUMENT
        ) from None
    del meta_graph
    give_back()
    return servable


class SavedModelServable:
    """A loaded version: a session, and its signatures."""

    def __init__(self, session: tf.Session, definitions: Mapping[str, SignatureDef]) -> None:
        """Take over a session that the graph was loaded into."""
        self._session = session
        # Copies: a part of a message keeps the whole of it in memory, constants and all.
        self._definitions = {name: deepcopy(definition) for name, definition in definitions.items()}
        self.signatures: Mapping[str, Signature] = {
            name: _signature(definition) for name, definition in self._definitions.items()
        }
        self._runs = {
            name: GraphSignature(session, signature) for name, signature in self.signatures.items()
        }

    def run(
        self, signature_name: str, inputs: Mapping[str, Array], timeout_seconds: float | None
    ) -> dict[str, Array]:
        """See `Servable.run`."""
        return self._runs[signature_name].run(inputs, timeout_seconds)

    def metadata(self) -> dict[str, Any]:
        """See `Servable.metadata`."""
        return {name: _definition_json(item) for name, item in self._definitions.items()}

    def describe(self, signature_name: str) -> str:
        """See `Servable.describe`."""
        return str(text_format.MessageToString(self._definitions[signature_name]))

    def close(self) -> None:
        """See `Servable.close`."""
        self._runs.clear()
        self._session.close()
        del self._session
        gc.collect()
        give_back()


def _signature(definition: SignatureDef) -> Signature:
    return Signature(
        inputs={name: _spec(definition.inputs[name]) for name in sorted(definition.inputs)},
        outputs={name: _spec(definition.outputs[name]) for name in sorted(definition.outputs)},
        method_name=definition.method_name,
    )


def _spec(info: TensorInfo) -> TensorSpec:
    dtype = cpp_name(tf.as_dtype(info.dtype).name) if info.dtype else "invalid"
    shape = info.tensor_shape
    sizes = (
        None if shape.unknown_rank else tuple(d.size if d.size >= 0 else None for d in shape.dim)
    )
    return TensorSpec(info.name, dtype, sizes)


def _definition_json(definition: SignatureDef) -> dict[str, Any]:
    as_json: dict[str, Any] = json_format.MessageToDict(
        definition, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    return as_json
