"""Keras model -> the next version of a SavedModel, with the signatures that the router and other clients ask for.

`keras_export` is the way in; all but `versions` import TensorFlow.
"""
