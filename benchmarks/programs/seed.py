"""SEED: the pipeline of the tutorials, through the same model server as ours.

`load_img` decodes the whole photo, the pixels become a list of floats in JSON, `requests` carries it, JSON comes back;
Flask's own development server answers, as `flask run` does.
"""

from __future__ import annotations

import base64
import io
import os
import sys
from typing import Any

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import requests
from flask import Flask, jsonify, request
from keras.applications.imagenet_utils import preprocess_input
from keras.utils import img_to_array, load_img


def make_app(model_servers: dict[str, str], sides: dict[str, int]) -> Flask:
    """One route for each model.

    Args:
        model_servers: Model -> URL of its `:predict`.
        sides: Model -> height and width of its images.
    """
    app = Flask(__name__)

    @app.get("/hello/")
    def hello() -> str:
        return "Hello, World!"

    @app.post("/<model>/predict/")
    def predict(model: str) -> Any:  # noqa: ANN401 - Flask's response
        side = sides[model]
        photo = io.BytesIO(base64.b64decode(request.get_json()["b64"]))
        image = preprocess_input(img_to_array(load_img(photo, target_size=(side, side))), mode="tf")
        payload = {"instances": [{"input_image": image.tolist()}]}
        answer = requests.post(model_servers[model], json=payload, timeout=120)
        scores = np.array(answer.json()["predictions"])[0]
        best = scores.argsort()[::-1][:5]
        return jsonify([[int(number), float(scores[number])] for number in best])

    return app


def main() -> None:
    """Arguments: PORT, then NAME=SIDE=URL for each model."""
    tables = [argument.split("=", 2) for argument in sys.argv[2:]]
    app = make_app(
        {name: url for name, _, url in tables}, {name: int(side) for name, side, _ in tables}
    )
    app.run(port=int(sys.argv[1]), threaded=True)


if __name__ == "__main__":
    main()
