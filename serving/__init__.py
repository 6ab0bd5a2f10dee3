"""The model server: speaks TensorFlow Serving's REST and gRPC APIs."""

import sys
from pathlib import Path

from serving.lazy_package import make_lazy

# Loading and running a graph, or reading messages, takes half of what `import tensorflow` imports, or less: two seconds and
# 110 MB for each model server. But plug-ins for other devices (such as tensorflow-metal) are loaded by that alone.
if not any((Path(folder) / "tensorflow-plugins").is_dir() for folder in sys.path):
    make_lazy("tensorflow")
