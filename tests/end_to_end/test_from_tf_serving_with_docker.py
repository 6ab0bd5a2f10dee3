from __future__ import annotations

import re
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.pages import Checkout, commands
from tests.scripts.fashion_files import write_fashion_files

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tensorflow


def test_the_pages_commands_train_serve_ask_and_carry(tmp_path: Path) -> None:
    """Each command of the page does what the page says, on files that stand in for the download."""
    checkout = Checkout(tmp_path)
    write_fashion_files(tmp_path / "keras" / "datasets" / "fashion-mnist")
    outputs = {}
    with ExitStack() as stack:
        for command in commands("from-tf-serving-with-docker.md"):
            if command == "make run":
                stack.enter_context(
                    checkout.started("--only", "fashion_mnist", model="fashion_mnist")
                )
            else:
                outputs[command.split("/")[-1].split(".py")[0]] = checkout.run(command)

    training = outputs["train_fashion_mnist"]
    accuracy = re.search(r"held-out accuracy: ([\d.]+)% of 300 pictures", training)
    assert accuracy is not None
    assert float(accuracy[1]) > 80
    shown = re.search(r"three pictures: (.*)\)", training)
    assert shown is not None
    labels = re.findall(r"^[\d.]+  (.*)  \(\d\)$", outputs["serving_sample_request"], re.MULTILINE)
    assert sum(a == b for a, b in zip(labels, shown[1].split(", "), strict=True)) >= 2
    assert "input_image: float32 [?, 28, 28, 1]" in outputs["inspect_model"]
    for base_path in ("saved_models", "elsewhere"):
        assert (tmp_path / base_path / "fashion_mnist" / "00000123" / "saved_model.pb").is_file()
