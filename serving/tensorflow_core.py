"""What it takes of TensorFlow to load and run a graph; names are those of its Python API, where that has one."""

from __future__ import annotations

from tensorflow.core.protobuf.config_pb2 import RunOptions
from tensorflow.python.client.session import Session
from tensorflow.python.framework.dtypes import DType, as_dtype, string
from tensorflow.python.framework.errors_impl import OpError
from tensorflow.python.framework.graph_util_impl import extract_sub_graph
from tensorflow.python.framework.importer import import_graph_def
from tensorflow.python.framework.ops import Graph, Operation
from tensorflow.python.framework.tensor import Tensor
from tensorflow.python.framework.tensor_shape import TensorShape
from tensorflow.python.framework.tensor_util import MakeNdarray as make_ndarray  # noqa: N813 - its public name
from tensorflow.python.framework.tensor_util import make_tensor_proto
from tensorflow.python.lib.io._pywrap_record_io import RecordIterator
from tensorflow.python.ops.array_ops import placeholder
from tensorflow.python.ops.gen_parsing_ops import parse_tensor, serialize_tensor
from tensorflow.python.training.py_checkpoint_reader import NewCheckpointReader

__all__ = [
    "DType",
    "Graph",
    "NewCheckpointReader",
    "OpError",
    "Operation",
    "RecordIterator",
    "RunOptions",
    "Session",
    "Tensor",
    "TensorShape",
    "as_dtype",
    "extract_sub_graph",
    "import_graph_def",
    "make_ndarray",
    "make_tensor_proto",
    "parse_tensor",
    "placeholder",
    "serialize_tensor",
    "string",
]
