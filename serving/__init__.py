"""The model server: speaks TensorFlow Serving's REST and gRPC APIs."""
