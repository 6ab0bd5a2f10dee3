"""DECODE: what the router itself does to get from a JPEG to a model's pixels, and nothing around it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks.programs.tasks import take_tasks
from flask_server.images import ImageReader
from flask_server.resizing import resized_pixels
from flask_server.settings import load_settings
from flask_server.wsgi_server import set_up_malloc

if TYPE_CHECKING:
    from benchmarks.programs.tasks import Task


def main() -> None:
    """Take tasks."""
    set_up_malloc()
    reader = ImageReader.from_settings(load_settings())

    def answer(jpeg: bytes, task: Task) -> object:
        size = (task["side"], task["side"])
        return resized_pixels(reader.read(jpeg, "rgb", at_least=size), size, "bilinear")

    take_tasks(answer)


if __name__ == "__main__":
    main()
