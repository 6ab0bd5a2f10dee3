"""A Servable over a TensorFlow SavedModel, loaded and run as the C++ server does.

The graph lives in a session of its own: TF1 and TF2 exports load alike, errors read as the real
server's, and what a signature assigns to a variable stays while the version lives.
"""

from __future__ import annotations

import gc
import logging
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import tensorflow as tf
from google.protobuf import json_format, message, text_format
from tensorflow.core.protobuf import config_pb2, meta_graph_pb2

from serving.deep_arrays import DeepArray
from serving.deep_run import DeepCall
from serving.errors import Code, Internal, InvalidArgument, NotFound, ServingError
from serving.input_guard import refuse_deadly_shapes
from serving.servable import Signature, TensorSpec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from serving.servable import Array

    _Call = tuple[Callable[..., list[Any]], list[tf.DType]]

logger = logging.getLogger(__name__)

# What C++ calls the types that Python calls otherwise.
_CPP_NAMES = {"float32": "float", "float64": "double", "float16": "half"}


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
        return config


def load_saved_model(path: Path, options: SessionOptions) -> SavedModelServable:
    """Load one version.

    Raises:
        ServingError: it is not there, broken, or has no graph with the tags.
    """
    if not any((path / name).is_file() for name in ("saved_model.pb", "saved_model.pbtxt")):
        raise NotFound(
            f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {path}. "
            "Check that the directory exists and that you have the right permissions for "
            "accessing it."
        )
    graph = tf.Graph()
    session = tf.compat.v1.Session(graph=graph, config=options.config_proto())
    try:
        with graph.as_default():
            meta_graph = tf.compat.v1.saved_model.load(session, list(options.tags), str(path))
    except tf.errors.OpError as error:
        session.close()
        raise ServingError(error.message, Code(error.error_code)) from None
    except (RuntimeError, ValueError, OSError, KeyError, message.DecodeError) as error:
        session.close()
        raise _load_error(error, path, options) from None
    return SavedModelServable(session, meta_graph)


def _load_error(error: Exception, path: Path, options: SessionOptions) -> ServingError:
    if isinstance(error, RuntimeError) and "tags" in str(error):
        return NotFound(
            "Could not find meta graph def matching supplied tags: "
            f"{{ {' '.join(options.tags)} }}. To inspect available tag-sets in the SavedModel, "
            "please use the SavedModel CLI: `saved_model_cli`"
        )
    if isinstance(error, OSError):
        return ServingError(
            f"Can't parse {path / 'saved_model.pb'} as binary proto", Code.DATA_LOSS
        )
    return ServingError(f"Could not load the SavedModel at {path}: {error}", Code.INVALID_ARGUMENT)


class SavedModelServable:
    """A loaded version: its session, and a compiled call for each signature that was asked for."""

    def __init__(
        self, session: tf.compat.v1.Session, meta_graph: meta_graph_pb2.MetaGraphDef
    ) -> None:
        self._session = session
        self._definitions = {**meta_graph.signature_def}
        self.signatures: Mapping[str, Signature] = {
            name: _signature(definition) for name, definition in self._definitions.items()
        }
        self._calls: dict[tuple[str, float | None], _Call] = {}
        self._deep_calls: dict[str, DeepCall] = {}
        self._compiling = threading.Lock()

    def run(
        self, signature_name: str, inputs: Mapping[str, Array], timeout_seconds: float | None
    ) -> dict[str, Array]:
        """See `Servable.run`."""
        signature = self.signatures[signature_name]
        refuse_deadly_shapes(inputs, signature.inputs)
        call, dtypes = self._call(signature_name, timeout_seconds)
        arrays = [inputs[name] for name in signature.inputs]
        _check_dtypes(arrays, dtypes)
        is_deep = any(isinstance(array, DeepArray) for array in arrays)
        try:
            if is_deep:
                values = self._deep_call(signature_name)(inputs, timeout_seconds)
            else:
                values = call(*arrays)
        except tf.errors.OpError as error:
            raise ServingError(error.message, Code(error.error_code)) from None
        except (TypeError, ValueError, RuntimeError) as error:
            raise Internal(str(error)) from None
        return dict(zip(signature.outputs, map(_as_array, values), strict=True))

    def metadata(self) -> dict[str, Any]:
        """See `Servable.metadata`."""
        return {name: _definition_json(item) for name, item in self._definitions.items()}

    def describe(self, signature_name: str) -> str:
        """See `Servable.describe`."""
        return str(text_format.MessageToString(self._definitions[signature_name]))

    def close(self) -> None:
        """See `Servable.close`."""
        self._calls.clear()
        self._deep_calls.clear()
        self._session.close()
        del self._session
        gc.collect()

    def _call(self, signature_name: str, timeout_seconds: float | None) -> _Call:
        key = (signature_name, timeout_seconds)
        if key not in self._calls:
            with self._compiling:
                if key not in self._calls:
                    self._calls[key] = self._compiled(
                        self.signatures[signature_name], timeout_seconds
                    )
        return self._calls[key]

    def _deep_call(self, signature_name: str) -> DeepCall:
        with self._compiling:
            if signature_name not in self._deep_calls:
                signature = self.signatures[signature_name]
                self._deep_calls[signature_name] = DeepCall(self._session, signature)
            return self._deep_calls[signature_name]

    def _compiled(self, signature: Signature, timeout_seconds: float | None) -> _Call:
        """A call without the work that `Session.run` repeats each time (33 µs instead of 214)."""
        options = config_pb2.CallableOptions()
        options.feed.extend(spec.name for spec in signature.inputs.values())
        options.fetch.extend(spec.name for spec in signature.outputs.values())
        if timeout_seconds is not None:
            options.run_options.timeout_in_ms = max(1, round(timeout_seconds * 1000))
        call = self._session._make_callable_from_options(options)  # noqa: SLF001  # no public way
        return call, [self._session.graph.get_tensor_by_name(name).dtype for name in options.feed]


def _signature(definition: meta_graph_pb2.SignatureDef) -> Signature:
    return Signature(
        inputs={name: _spec(definition.inputs[name]) for name in sorted(definition.inputs)},
        outputs={name: _spec(definition.outputs[name]) for name in sorted(definition.outputs)},
        method_name=definition.method_name,
    )


def _spec(info: meta_graph_pb2.TensorInfo) -> TensorSpec:
    dtype = _cpp_name(tf.as_dtype(info.dtype)) if info.dtype else "invalid"
    shape = info.tensor_shape
    sizes = (
        None if shape.unknown_rank else tuple(d.size if d.size >= 0 else None for d in shape.dim)
    )
    return TensorSpec(info.name, dtype, sizes)


def _check_dtypes(arrays: Sequence[Array], dtypes: Sequence[tf.DType]) -> None:
    """A signature may say another type than the graph has; then the graph is right."""
    for index, (array, wanted) in enumerate(zip(arrays, dtypes, strict=True)):
        if array.dtype != wanted.as_numpy_dtype:
            got = tf.as_dtype(array.dtype)
            raise InvalidArgument(
                f"Expects arg[{index}] to be {_cpp_name(wanted)} but {_cpp_name(got)} is provided"
            )


def _cpp_name(dtype: tf.DType) -> str:
    name: str = dtype.name
    return _CPP_NAMES.get(name, name)


def _definition_json(definition: meta_graph_pb2.SignatureDef) -> dict[str, Any]:
    as_json: dict[str, Any] = json_format.MessageToDict(
        definition, always_print_fields_with_no_presence=True, preserving_proto_field_name=True
    )
    return as_json


def _as_array(value: object) -> Array:
    if isinstance(value, bytes):
        array = np.empty((), object)
        array[()] = value
        return array
    return np.asarray(value)
