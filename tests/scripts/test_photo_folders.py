from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from scripts.command_line import UserError
from scripts.photo_folders import Photo, find_classes, split

NAMES = ["cat", "dog"]


def photos(*counts: int) -> list[Photo]:
    """So many photos of each class."""
    numbers = np.repeat(range(len(counts)), counts).tolist()
    return [Photo(Path(f"{index}.jpg"), number) for index, number in enumerate(numbers)]


def test_classes_are_the_folders_in_the_order_of_their_names(tmp_path: Path) -> None:
    """Photos lie at any depth; hidden folders and other files do not count."""
    for name in ("dog/far/below/one.JPG", "cat/two.png", "cat/notes.txt", ".cache/three.png"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    names, found = find_classes(tmp_path)
    assert names == ["cat", "dog"]
    assert [(photo.path.name, photo.class_number) for photo in found] == [("two.png", 0), ("one.JPG", 1)]  # fmt: skip


def test_a_class_without_photos_is_named(tmp_path: Path) -> None:
    """An empty folder is told before anything is trained."""
    (tmp_path / "cat").mkdir()
    (tmp_path / "dog").mkdir()
    with pytest.raises(UserError, match="cat holds no pictures"):
        find_classes(tmp_path)


@pytest.mark.parametrize(
    ("counts", "held_out"), [((10, 20), (2, 4)), ((2, 3), (1, 1)), ((2, 100), (1, 20))]
)
def test_a_share_of_each_class_is_held_out(
    counts: tuple[int, int], held_out: tuple[int, int]
) -> None:
    """At least one of each class is held out, at least one is left to learn from, and none is both."""
    some = photos(*counts)
    parts = split(some, NAMES, share=0.2, seed=0)
    classes = [some[index].class_number for index in parts.held_out]
    assert (classes.count(0), classes.count(1)) == held_out
    assert sorted([*parts.learn, *parts.held_out]) == list(range(sum(counts)))


def test_nearly_all_held_out_leaves_one_to_learn_from() -> None:
    """Even a share of 0.99 does."""
    parts = split(photos(5, 5), NAMES, share=0.99, seed=0)
    assert len(parts.learn) == 2


def test_the_seed_says_which_are_held_out() -> None:
    """The same seed draws the same photos, another one others."""
    some = photos(50, 50)
    draws = [split(some, NAMES, share=0.2, seed=seed).held_out.tolist() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
