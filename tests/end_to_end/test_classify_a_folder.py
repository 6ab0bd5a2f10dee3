from __future__ import annotations

import csv
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.pages import Checkout, commands

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.tensorflow


def test_the_page_classifies_the_shipped_digits(tmp_path: Path, trained_digits: Path) -> None:
    """The page's command, run against `make run`, names every digit among the shipped pictures."""
    shutil.copytree(trained_digits, tmp_path / "saved_models" / "digits")
    checkout = Checkout(tmp_path)
    with checkout.started("--only", "digits", model="digits"):
        for command in commands("classify-a-folder.md"):
            checkout.run(command)
    with (tmp_path / "predictions.csv").open() as file:
        rows = {row["file"]: row for row in csv.DictReader(file)}
    assert len(rows) == 12
    assert [rows[f"digit_{n}.png"]["id_1"] for n in range(10)] == [str(n) for n in range(10)]
    assert not any(row["error"] for row in rows.values())
