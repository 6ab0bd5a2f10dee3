"""Ask the model server itself, without the router: preprocess an image here, send floats, decode the scores here."""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.client_side import best_labels, preprocessed
from scripts.command_line import UserError, run
from scripts.http_request import ask
from scripts.model_choice import add_models_argument, pick_model, read_models
from scripts.model_server import HINT_WITH_URL, model_server_url
from scripts.sample_image import add_top_argument, print_labels, read_image
from scripts.served_versions import model_url

if TYPE_CHECKING:
    from model_config import ModelConfig


def main() -> None:
    """Post to the model server's `:predict`, and print the labels of each instance."""
    arguments = _arguments()
    deployment = read_models(arguments.models)
    config = pick_model(deployment, arguments.model or next(iter(deployment.models)))
    if arguments.json:
        request = _read_request(arguments.json)
    else:
        pixels = preprocessed(read_image(arguments.image), config)
        request = {"signature_name": "serving_default", "instances": [pixels.tolist()]}
    url = arguments.url or model_server_url(config, HINT_WITH_URL)
    answer = ask(f"{model_url(url, config.servable)}:predict", hint=HINT_WITH_URL, json=request)
    for number, labels in enumerate(decoded(answer, config, arguments.top or config.top)):
        if number:
            print()
        print_labels(labels)


def _read_request(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"The request {path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise UserError(f"The request {path} is not JSON text.") from None


def decoded(answer: object, config: ModelConfig, top: int) -> list[object]:
    """The labels `[[id, name, score], ...]` of each instance in an answer.

    Raises:
        UserError: The answer is not a list of scores, or not one for each label.
    """
    match answer:
        case {"predictions": [[*_], *_] as rows} | {"outputs": [[*_], *_] as rows}:
            return [best_labels(row, config, top) for row in rows]
    raise UserError(f"The model server answered no scores: {str(answer)[:200]}")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("-i", "--image", type=Path, metavar="IMAGE", help="an image file")
    what.add_argument("--json", type=Path, metavar="FILE", help="a whole request, as it is")
    parser.add_argument(
        "--model", metavar="NAME", help="its table (default: the first of the models file)"
    )
    add_models_argument(parser)
    parser.add_argument(
        "--url", help="the model server (default: where auto_cmd.py has put the model)"
    )
    add_top_argument(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
