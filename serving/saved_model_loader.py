"""Read a SavedModel into a session: its graph, its variables, and what it does to begin with.

The steps are those of the real server's loader (tensorflow/cc/saved_model/loader.cc). TensorFlow's loader in Python parses
the file twice, builds objects for training, and has the session prepare the whole graph for steps that do nothing where
variables are frozen to constants.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import numpy as np
from google.protobuf import message, text_format
from tensorflow.core.protobuf.config_pb2 import CallableOptions
from tensorflow.core.protobuf.meta_graph_pb2 import AssetFileDef
from tensorflow.core.protobuf.saved_model_pb2 import SavedModel

from serving import tensorflow_core as tf
from serving.errors import Code, NotFound, ServingError, Unimplemented

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from tensorflow.core.protobuf.meta_graph_pb2 import MetaGraphDef

_BINARY, _TEXT = "saved_model.pb", "saved_model.pbtxt"
_INIT_SIGNATURE = "__saved_model_init_op"
_INIT_COLLECTIONS = ("saved_model_main_op", "legacy_init_op")
_ASSETS_COLLECTION = "saved_model_assets"
_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"
"""What each checkpoint of TensorFlow 2 holds besides values."""


def check_is_saved_model(version: Path) -> None:
    """What TensorFlow Serving looks for before TensorFlow loads anything (its session_bundle_util.cc).

    Raises:
        ServingError: It is none.
    """
    if (version / _BINARY).is_file() or (version / _TEXT).is_file():
        return
    if (version / "export.meta").is_file():
        raise Unimplemented("Session Bundle is deprecated and removed.")
    raise NotFound(
        "Specified file path does not appear to contain a SavedModel bundle (should have a file called"
        f" `saved_model.pb`)\nSpecified file path: {version}"
    )


def read_meta_graph(version: Path, tags: Iterable[str]) -> MetaGraphDef:
    """The graph of a version that has just these tags.

    Raises:
        ServingError: There is no SavedModel, it is broken, or has no such graph.
    """
    wanted = set(tags)
    for meta_graph in _read(version).meta_graphs:
        if set(meta_graph.meta_info_def.tags) == wanted:
            return meta_graph
    raise NotFound(
        f"Could not find meta graph def matching supplied tags: {{ {' '.join(tags)} }}. "
        "To inspect available tag-sets in the SavedModel, please use the SavedModel CLI: "
        "`saved_model_cli`"
    )


def _read(version: Path) -> SavedModel:
    binary, text = version / _BINARY, version / _TEXT
    try:
        if binary.is_file():
            return SavedModel.FromString(binary.read_bytes())
        if text.is_file():
            return text_format.Parse(text.read_text(encoding="utf-8"), SavedModel())
    except (OSError, ValueError, message.DecodeError, text_format.ParseError):
        raise ServingError(f"Can't parse {binary} as binary proto", Code.DATA_LOSS) from None
    raise NotFound(
        f"Could not find SavedModel .pb or .pbtxt at supplied export directory path: {version}. "
        "Check that the directory exists and that you have the right permissions for "
        "accessing it."
    )


def load_into(session: tf.Session, meta_graph: MetaGraphDef, version: Path) -> None:
    """Give an empty session the graph, restore its variables, run its initializer.

    Raises:
        OpError, ValueError, KeyError, DecodeError: TensorFlow's, for a graph that it cannot load.
    """
    info = meta_graph.meta_info_def
    with session.graph.as_default():
        tf.import_graph_def(
            meta_graph.graph_def,
            name="",
            producer_op_list=info.stripped_op_list if info.HasField("stripped_op_list") else None,
        )
    assets = _asset_paths(meta_graph, version)
    _restore(session, meta_graph, version, assets)
    _initialize(session, meta_graph, assets)


def _asset_paths(meta_graph: MetaGraphDef, version: Path) -> Mapping[str, str]:
    """Tensor -> the file whose path it is to hold."""
    assets = list(meta_graph.asset_file_def)
    if not assets and _ASSETS_COLLECTION in meta_graph.collection_def:
        packed = meta_graph.collection_def[_ASSETS_COLLECTION].any_list.value
        assets = [AssetFileDef.FromString(each.value) for each in packed]
    return {asset.tensor_info.name: str(version / "assets" / asset.filename) for asset in assets}


def _restore(
    session: tf.Session, meta_graph: MetaGraphDef, version: Path, assets: Mapping[str, str]
) -> None:
    saver = meta_graph.saver_def
    checkpoint = version / "variables" / "variables"
    if not saver.restore_op_name or not checkpoint.with_suffix(".index").is_file():
        return
    if _holds_values(checkpoint):
        paths = {saver.filename_tensor_name: str(checkpoint), **assets}
        _run_once(session, saver.restore_op_name, paths)


def _holds_values(checkpoint: Path) -> bool:
    """Whether there is anything to restore; for a checkpoint that is broken the restore itself has the words."""
    try:
        values = tf.NewCheckpointReader(str(checkpoint)).get_variable_to_shape_map()
    except tf.OpError:
        return True
    return bool(values.keys() - {_OBJECT_GRAPH})


def _initialize(session: tf.Session, meta_graph: MetaGraphDef, assets: Mapping[str, str]) -> None:
    for name in _initializers(meta_graph):
        operation = session.graph.get_operation_by_name(name.partition(":")[0])
        if operation.type != "NoOp" or operation.control_inputs:
            _run_once(session, operation.name, assets)


def _run_once(session: tf.Session, operation: str, paths: Mapping[str, str]) -> None:
    """Run an operation that is fed with paths; not by `Session.run`, which puts words of its own before an error's."""
    options = CallableOptions(feed=list(paths), target=[operation])
    call = session._make_callable_from_options(options)  # noqa: SLF001  # no public way
    call(*(np.array(os.fsencode(path), object) for path in paths.values()))


def _initializers(meta_graph: MetaGraphDef) -> list[str]:
    """The operation that is to be run once, where there is one."""
    if _INIT_SIGNATURE in meta_graph.signature_def:
        return [meta_graph.signature_def[_INIT_SIGNATURE].outputs[_INIT_SIGNATURE].name]
    collections = meta_graph.collection_def
    there = (name for name in _INIT_COLLECTIONS if name in collections)
    return next((list(collections[name].node_list.value) for name in there), [])
