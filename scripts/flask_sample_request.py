"""Send an image to the router as a web page would, and print the labels that it answers."""

from __future__ import annotations

import argparse
import base64
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.command_line import run
from scripts.http_request import ask, key_header
from scripts.model_choice import add_models_argument, read_models
from scripts.router import HINT, add_url_argument
from scripts.sample_image import add_top_argument, print_labels, read_image


def main() -> None:
    """Post one image as the form field `b64`."""
    arguments = _arguments()
    image = read_image(arguments.image)
    model = arguments.model or next(iter(read_models(arguments.models).models))
    labels = ask(
        f"{arguments.url.rstrip('/')}/{model}/predict/",
        hint=HINT,
        body={"b64": base64.b64encode(image).decode()},
        params={"top": str(arguments.top)} if arguments.top else {},
        headers=key_header(),
    )
    print_labels(labels)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "-i", "--image", type=Path, required=True, metavar="IMAGE", help="an image file"
    )
    parser.add_argument(
        "--model", metavar="NAME", help="which model (default: the first of the models file)"
    )
    add_models_argument(parser)
    add_url_argument(parser)
    add_top_argument(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
