"""The trained models of the zoo answer its photos as the reference pipeline does."""

from __future__ import annotations

import json
import shutil
import tomllib
from typing import TYPE_CHECKING

import pytest

from tests.end_to_end.supervised import Deployed, deployed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = [pytest.mark.tensorflow, pytest.mark.zoo, pytest.mark.timeout(900)]


def _both_filters(zoo: Path, folder: Path) -> Path:
    """The zoo's models file, each table once more with `resize = "nearest"` over the same versions."""
    text = (zoo / "models.toml").read_text()
    for name, table in tomllib.loads(text).items():
        size = json.dumps(table["input_size"])
        text += f'\n[{name}-nearest]\nservable = "{name}"\nresize = "nearest"\npreprocess = "tf"\n'
        text += f'input_size = {size}\nlabels = "{table["labels"]}"\n'
    path = folder / "models.toml"
    path.write_text(text)
    shutil.copytree(zoo / "labels", folder / "labels")
    return path


@pytest.fixture(scope="module")
def zoo_deployed(zoo: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Deployed]:
    """All models of the zoo, exported and served by the supervisor."""
    folder = tmp_path_factory.mktemp("zoo")
    models = _both_filters(zoo, folder)
    with deployed(folder, models=models, seconds=600, WEIGHTS_DIR=str(zoo / "weights")) as it:
        yield it


def _expected(zoo: Path) -> dict[str, dict[str, dict[str, list[tuple[str, str, float]]]]]:
    content = json.loads((zoo / "expected.json").read_text())
    assert content
    return dict(content)


def test_nearest_is_exact(zoo: Path, zoo_deployed: Deployed) -> None:
    """With the `nearest` filter the five best and their scores are the reference's, to 1e-3."""
    for model, photos in _expected(zoo).items():
        for photo, answers in photos.items():
            labels = zoo_deployed.labels(f"{model}-nearest", zoo / "photos" / photo)
            expected = answers["nearest"]
            assert [label[:2] for label in labels] == [tuple(row[:2]) for row in expected], (
                model,
                photo,
            )
            assert [label[2] for label in labels] == pytest.approx(
                [row[2] for row in expected], abs=1e-3
            )


def test_bilinear_is_near(zoo: Path, zoo_deployed: Deployed) -> None:
    """With the default filter the answers are the reference's within the tolerances that the zoo states."""
    for model, photos in _expected(zoo).items():
        for photo, answers in photos.items():
            labels = zoo_deployed.labels(model, zoo / "photos" / photo)
            _assert_near(
                labels,
                answers["bilinear"],
                0.06 if photo.endswith(".jpg") else 1e-3,
                f"{model} {photo}",
            )


def _assert_near(
    labels: list[tuple[str, str, float]],
    expected: list[tuple[str, str, float]],
    tolerance: float,
    what: str,
) -> None:
    if expected[0][2] - expected[1][2] >= 0.05:
        assert labels[0][0] == expected[0][0], what
    scores = {label[0]: label[2] for label in labels}
    shared = [row for row in expected if row[0] in scores]
    assert len(shared) >= 4, what
    for row in shared:
        assert scores[row[0]] == pytest.approx(row[2], abs=tolerance), what
