"""A Keras model that computes in bfloat16."""

from __future__ import annotations

import keras


def in_bfloat16(model: keras.Model) -> keras.Model:
    """Copy a model so that its layers compute in bfloat16; weights, inputs and the exported scores stay float32."""
    copy = keras.models.clone_model(model)
    copy.set_weights(model.get_weights())
    for layer in copy.layers:
        layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
    return copy
