from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from model_config import ConfigError, load_deployment
from scripts.models_file import add_table

if TYPE_CHECKING:
    from pathlib import Path

TEXT = """# Ours, do not lose.
model_servers = "shared"

[one]           # the first
input_size = [8, 8]   # height, width"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A models file that a person has written."""
    path = tmp_path / "models.toml"
    path.write_text(TEXT)
    return path


def test_a_table_is_added_and_the_rest_stays(path: Path) -> None:
    """Comments, order and spacing are as they were; the new table stands at the end."""
    table = {"input_size": [4, 5], "labels": ['a "quoted" name', "b\\c"]}
    config = add_table(load_deployment(path), "two", table, comment="new")
    assert path.read_text().startswith(TEXT + "\n\n# new\n[two]\n")
    assert load_deployment(path).models["two"].input_size == config.input_size == (4, 5)
    assert [label.name for label in config.labels] == ['a "quoted" name', "b\\c"]


def test_the_ends_of_lines_stay_what_they_are(path: Path) -> None:
    """A file that was written on Windows is still one."""
    path.write_bytes(TEXT.replace("\n", "\r\n").encode())
    add_table(load_deployment(path), "two", {"input_size": [4, 5]}, comment="new")
    written = path.read_bytes()
    assert written.count(b"\n") == written.count(b"\r\n") > TEXT.count("\n")
    assert list(load_deployment(path).models) == ["one", "two"]


def test_a_table_that_is_there_is_left_alone(path: Path) -> None:
    """What a person has written counts."""
    add_table(load_deployment(path), "one", {"input_size": [4, 5]}, comment="new")
    assert path.read_text() == TEXT


@pytest.mark.parametrize("name", ["no/slash", "models"])
def test_a_table_that_is_not_allowed_changes_nothing(path: Path, name: str) -> None:
    """The new file is checked before it takes the old one's place; the sentence names the real file."""
    with pytest.raises(ConfigError, match=str(path)):
        add_table(load_deployment(path), name, {"input_size": [4, 5]}, comment="new")
    assert path.read_text() == TEXT
    assert [file.name for file in path.parent.iterdir()] == ["models.toml"]
