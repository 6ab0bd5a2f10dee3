"""Ask the router about every picture in a folder, and write a CSV file with a line for each."""

from __future__ import annotations

import argparse
import json
import sys
import time
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from scripts.command_line import UserError, counted, run, whole_number
from scripts.http_request import BusyError, KeyRefusedError, ask, key_header
from scripts.photo_folders import find_pictures
from scripts.prediction_table import Prediction, PredictionTable
from scripts.router import HINT, add_url_argument
from scripts.sample_image import are_labels
from scripts.time_left import TimeLeft

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ATTEMPTS = 4
LONGEST_PAUSE_SECONDS = 10.0
LONGEST_WAIT_SECONDS = 60.0
_up_to_a_thousand = partial(whole_number, most=1000)  # columns of a table, threads


def main() -> None:
    """Classify what is not in the table yet."""
    arguments = _arguments()
    pictures = find_pictures(arguments.folder)
    url = _route(arguments.url, arguments.model)
    with PredictionTable(arguments.out, top=arguments.top) as table:
        left = [picture for picture in pictures if not table.has(_name(picture, arguments))]
        print(
            f"{counted(len(pictures), 'picture')}, {len(pictures) - len(left)} of them done before",
            flush=True,
        )
        progress = TimeLeft(len(left), "pictures")
        for prediction in _predictions(left, url, arguments):
            table.add(prediction)
            progress.step(f"{table.failures} failed" if table.failures else "")
    print(
        f"{counted(len(pictures), 'line')} in {arguments.out}, {counted(table.failures, 'failure')} among them",
        flush=True,
    )


def _route(url: str, model: str) -> str:
    """The model's route, once the router has said that it has it."""
    base = url.rstrip("/")
    ask(f"{base}/readyz", hint=HINT, params={"model": model})
    return f"{base}/{quote(model)}/predict/"


def _predictions(
    pictures: Iterable[Path], url: str, arguments: argparse.Namespace
) -> Iterator[Prediction]:
    """Ask about several pictures at a time, and give each answer when it is there."""
    with ThreadPoolExecutor(arguments.concurrency) as pool:
        running: set[Future[Prediction]] = set()
        try:
            for picture in pictures:
                name = _name(picture, arguments)
                running.add(pool.submit(_classify, picture, name, url, arguments.top))
                if len(running) >= 2 * arguments.concurrency:
                    done, running = wait(running, return_when=FIRST_COMPLETED)
                    yield from (future.result() for future in done)
            yield from (future.result() for future in running)
        finally:
            for future in running:
                future.cancel()


def _name(picture: Path, arguments: argparse.Namespace) -> str:
    return picture.relative_to(arguments.folder).as_posix()


def _classify(picture: Path, name: str, url: str, top: int) -> Prediction:
    try:
        answer = _ask_patiently(url, picture.read_bytes(), top)
    except KeyRefusedError:  # as every other picture would be
        raise
    except (UserError, OSError) as error:
        return Prediction(name, error=str(error))
    if are_labels(answer):
        return Prediction(name, labels=answer)
    return Prediction(name, labels=[("", json.dumps(answer, ensure_ascii=False), None)])


def _ask_patiently(url: str, picture: bytes, top: int) -> object:
    """Ask again when the server says that it cannot answer now."""
    for _ in range(ATTEMPTS - 1):
        try:
            return ask(url, hint=HINT, body=picture, params={"top": str(top)}, headers=key_header())
        except BusyError as error:
            # A quota that is used up is so for every other picture, too.
            if error.http_status == 429 and error.retry_after_seconds > LONGEST_WAIT_SECONDS:
                raise KeyRefusedError(str(error)) from None
            time.sleep(min(error.retry_after_seconds, LONGEST_PAUSE_SECONDS))
    return ask(url, hint=HINT, body=picture, params={"top": str(top)}, headers=key_header())


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog="Run again after an interruption: pictures that have a line are left out, failures are tried again.",
    )
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="the pictures, in folders of any depth"
    )
    parser.add_argument("--model", required=True, metavar="NAME", help="which model of the router")
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("predictions.csv"),
        metavar="FILE",
        help="default: %(default)s",
    )
    parser.add_argument(
        "--top",
        type=_up_to_a_thousand,
        default=1,
        metavar="N",
        help="labels a picture (default: 1)",
    )
    parser.add_argument(
        "--concurrency",
        type=_up_to_a_thousand,
        default=4,
        metavar="N",
        help="pictures at a time (default: 4)",
    )
    add_url_argument(parser)
    return parser.parse_args()


if __name__ == "__main__":
    run(main)
