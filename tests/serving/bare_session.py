"""Load a SavedModel as the C++ model server does: into a session, with no Python object of the exporter's."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import tensorflow as tf

if TYPE_CHECKING:
    from pathlib import Path


class BareSession:
    """The graph, the signatures and nothing else."""

    def __init__(self, version: Path) -> None:
        self._session = tf.compat.v1.Session(graph=tf.Graph())
        with self._session.graph.as_default():
            loaded = tf.compat.v1.saved_model.load(self._session, ["serve"], str(version))
        self.meta_graph = loaded
        self.signatures = {
            name: signature
            for name, signature in loaded.signature_def.items()
            if name != "__saved_model_init_op"
        }

    def run(self, signature: str, value: object) -> Any:
        """Run a signature of one input and one output by its tensors' names."""
        definition = self.signatures[signature]
        (source,) = definition.inputs.values()
        (target,) = definition.outputs.values()
        return self._session.run(target.name, {source.name: value})

    def run_named(self, signature: str, **inputs: object) -> dict[str, Any]:
        """Run a signature of several inputs and outputs by their names."""
        definition = self.signatures[signature]
        targets = {name: output.name for name, output in definition.outputs.items()}
        feed = {definition.inputs[name].name: value for name, value in inputs.items()}
        return self._session.run(targets, feed)
