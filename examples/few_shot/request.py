"""Teach a served few-shot classifier three labels with a few pictures, ask it, add a fourth label, ask it again.

Speaks to the model server itself, ours or TensorFlow Serving, over its REST API. A folder of pictures holds
support/<label>/<picture> (four labels or more: the last is the one that is added) and query/<picture>.
"""

from __future__ import annotations

import argparse
import base64
import sys
import time
from pathlib import Path
from typing import Any, cast

sys.path.insert(0, str(Path(__file__).resolve().parent.parent.parent))

from scripts.command_line import UserError, counted, run
from scripts.http_request import ask
from scripts.model_choice import add_models_argument, pick_model, read_models
from scripts.model_server import HINT_WITH_URL, model_server_url
from scripts.sample_image import read_image

PICTURES = Path(__file__).resolve().parent / "pictures"


def main() -> None:
    """Teach, ask, teach one more, ask again."""
    arguments = _arguments()
    config = pick_model(read_models(arguments.models), arguments.model)
    server = (arguments.url or model_server_url(config, HINT_WITH_URL)).rstrip("/")
    url = f"{server}/v1/models/{config.servable}:predict"
    *first, added = _folders(arguments.pictures / "support")
    queries = sorted((arguments.pictures / "query").iterdir())
    _teach(url, first, overwrite=True)
    _ask(url, queries)
    _teach(url, [added], overwrite=False)
    _ask(url, queries)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add_models_argument(parser)
    parser.add_argument(
        "--model", metavar="NAME", default="fewshot", help="its table (default: fewshot)"
    )
    parser.add_argument("--url", help="the model server (default: where auto_cmd.py has put it)")
    parser.add_argument(
        "--pictures",
        type=Path,
        default=PICTURES,
        metavar="DIR",
        help="holds support/ and query/ (default: the example's own digits)",
    )
    return parser.parse_args()


def _folders(support: Path) -> list[Path]:
    folders = sorted(folder for folder in support.iterdir() if folder.is_dir())
    if len(folders) < 2:
        raise UserError(f"{support} must hold one folder of pictures for each label, two at least.")
    return folders


def _teach(url: str, folders: list[Path], *, overwrite: bool) -> None:
    """Name the pictures in each folder by the folder's name."""
    pictures = [picture for folder in folders for picture in sorted(folder.iterdir())]
    inputs = {
        "images": [web_safe_base64(picture) for picture in pictures],
        "crop_windows": [[0, 0, 0, 0]] * len(pictures),
        "labels": [picture.parent.name for picture in pictures],
        "overwrite": overwrite,
        "support_version": time.time_ns(),
    }
    held = _outputs(url, "set_support_set", inputs)
    print(
        f"taught {', '.join(folder.name for folder in folders)}: {counted(len(held['labels']), 'picture')}"
    )


def _ask(url: str, queries: list[Path]) -> None:
    """Print the best label of each picture."""
    outputs = _outputs(url, "decode_and_serve", [web_safe_base64(query) for query in queries])
    for query, classes, scores in zip(queries, outputs["classes"], outputs["scores"], strict=True):
        print(f"  {query.name:24} {classes[0]:12} {scores[0]:.3f}")


def web_safe_base64(picture: Path) -> str:
    """Encode a picture file as the signatures take it: `-` and `_` instead of `+` and `/` (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(read_image(picture)).decode()


def _outputs(url: str, signature: str, inputs: object) -> dict[str, Any]:
    """Ask in TensorFlow Serving's column form."""
    answer = ask(url, hint=HINT_WITH_URL, json={"signature_name": signature, "inputs": inputs})
    return cast(dict[str, Any], cast(dict[str, Any], answer)["outputs"])


if __name__ == "__main__":
    run(main)
