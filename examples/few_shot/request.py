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
from typing import Any

import requests

PICTURES = Path(__file__).resolve().parent / "pictures"


def main() -> int:
    """Teach, ask, teach one more, ask again."""
    arguments = _arguments()
    predict_url = f"{arguments.url.rstrip('/')}/v1/models/{arguments.model}:predict"
    *first, added = sorted(path for path in (arguments.pictures / "support").iterdir())
    queries = sorted((arguments.pictures / "query").iterdir())
    try:
        _teach(predict_url, first, overwrite=True)
        _ask(predict_url, queries)
        _teach(predict_url, [added], overwrite=False)
        _ask(predict_url, queries)
    except requests.RequestException as error:
        answer = f": {error.response.text}" if error.response is not None else ""
        print(f"{predict_url} did not answer as it should ({error}){answer}", file=sys.stderr)
        return 1
    return 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--url", default="http://127.0.0.1:9000", help="the model server")
    parser.add_argument("--model", default="fewshot", help="the servable's name there")
    parser.add_argument("--pictures", type=Path, default=PICTURES, metavar="DIR")
    return parser.parse_args()


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
    print(f"taught {', '.join(folder.name for folder in folders)}: {len(held['labels'])} pictures")


def _ask(url: str, queries: list[Path]) -> None:
    """Print the best label of each picture."""
    outputs = _outputs(url, "decode_and_serve", [web_safe_base64(query) for query in queries])
    for query, classes, scores in zip(queries, outputs["classes"], outputs["scores"], strict=True):
        print(f"  {query.name:24} {classes[0]:12} {scores[0]:.3f}")


def web_safe_base64(picture: Path) -> str:
    """Encode a picture file as the signatures take it: `-` and `_` instead of `+` and `/` (RFC 4648, section 5)."""
    return base64.urlsafe_b64encode(picture.read_bytes()).decode()


def _outputs(url: str, signature: str, inputs: object) -> dict[str, Any]:
    """Ask in TensorFlow Serving's column form."""
    body = {"signature_name": signature, "inputs": inputs}
    answer = requests.post(url, json=body, timeout=60)
    answer.raise_for_status()
    outputs: dict[str, Any] = answer.json()["outputs"]
    return outputs


if __name__ == "__main__":
    sys.exit(main())
