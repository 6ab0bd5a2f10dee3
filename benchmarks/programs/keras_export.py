"""Write a `keras.applications` model with Keras' own `model.export()`: what FASTAPI loads.

python -m benchmarks.programs.keras_export ARCHITECTURE FOLDER
"""

from __future__ import annotations

import sys

import keras


def main() -> None:
    """Export with random weights: speed does not depend on them."""
    architecture, folder = sys.argv[1:]
    model = getattr(keras.applications, architecture)(weights=None)
    model.export(folder, verbose=False)


if __name__ == "__main__":
    main()
