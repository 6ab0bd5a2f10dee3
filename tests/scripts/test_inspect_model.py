from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from tests.processes import free_port
from tests.scripts.answering import answering
from tests.scripts.running import assert_one_sentence, run_script

if TYPE_CHECKING:
    from pathlib import Path

METADATA = {
    "model_spec": {"name": "digits", "signature_name": "", "version": "1"},
    "metadata": {
        "signature_def": {
            "signature_def": {
                "serving_default": {
                    "inputs": {
                        "input_image": {
                            "dtype": "DT_FLOAT",
                            "tensor_shape": {
                                "dim": [{"size": "-1", "name": ""}, {"size": "8", "name": ""}],
                                "unknown_rank": False,
                            },
                        }
                    },
                    "outputs": {
                        "scores": {"dtype": "DT_STRING", "tensor_shape": {"unknown_rank": True}}
                    },
                }
            }
        }
    },
}


def test_a_served_models_signatures_are_shown(tmp_path: Path) -> None:
    """The metadata of a model server become one line a tensor."""
    with answering(200, json.dumps(METADATA)) as url:
        process = run_script("inspect_model", f"{url}/v1/models/digits", cwd=tmp_path)
    assert process.stdout.splitlines()[1:] == [
        "  serving_default",
        "    takes  input_image: float32 [?, 8]",
        "    gives  scores: string of any shape",
    ]


def test_another_servers_answer_is_one_sentence(tmp_path: Path) -> None:
    """JSON that is no metadata is refused."""
    with answering(200, "{}") as url:
        process = run_script("inspect_model", url, cwd=tmp_path)
    assert_one_sentence(process, "no model server's metadata")


def test_a_server_that_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    """The hint names no option that this program lacks."""
    url = f"http://127.0.0.1:{free_port()}/v1/models/digits"
    process = run_script("inspect_model", url, cwd=tmp_path)
    assert_one_sentence(process, url, "make run", "another URL")
    assert "--url" not in process.stderr


def test_a_folder_without_a_saved_model_is_one_sentence(tmp_path: Path) -> None:
    """The folder is named."""
    process = run_script("inspect_model", tmp_path, cwd=tmp_path)
    assert_one_sentence(process, str(tmp_path), "holds no SavedModel")


@pytest.mark.tensorflow
@pytest.mark.parametrize("name", ["saved_model.pb", "saved_model.pbtxt"])
def test_a_damaged_saved_model_is_one_sentence(tmp_path: Path, name: str) -> None:
    """A file that is no protocol buffer is named."""
    (tmp_path / name).write_bytes(b"\xff\xff\xff")
    process = run_script("inspect_model", tmp_path, cwd=tmp_path)
    assert_one_sentence(process, f"{name} cannot be read")


TEXT = """
meta_graphs {
  meta_info_def { tags: "serve" }
  signature_def { key: "serving_default" value { inputs { key: "x" value { dtype: DT_FLOAT } } } }
}
"""


@pytest.mark.tensorflow
def test_a_version_may_be_text_beside_what_is_none(tmp_path: Path) -> None:
    """What model servers load is shown, `saved_model.pbtxt` included; a folder that only looks like a number is not."""
    for name, file in (("1", "saved_model.pbtxt"), ("²", "saved_model.pb")):
        (tmp_path / name).mkdir()
        (tmp_path / name / file).write_text(TEXT)
    process = run_script("inspect_model", ".", cwd=tmp_path)
    assert process.stdout.splitlines() == [
        "1",
        "  serving_default",
        "    takes  x: float32 []",
    ], process.stderr


@pytest.mark.tensorflow
def test_every_version_under_a_base_path_is_shown(tmp_path: Path) -> None:
    """An export's folder shows its signatures with types and shapes."""
    (tmp_path / "models.toml").write_text(
        '[tiny]\narchitecture = "MobileNet"\narchitecture_options = { alpha = 0.25 }\n'
        'weights = "random"\ninput_size = [32, 32]\nbase_path = "tiny"\n'
    )
    export = run_script(
        "export_saved_model", "--models", "models.toml", "--model", "tiny", cwd=tmp_path
    )
    assert export.returncode == 0, export.stderr
    process = run_script("inspect_model", "tiny", cwd=tmp_path)
    lines = process.stdout.splitlines()
    assert lines[0] == "tiny/1"
    assert [line.strip() for line in lines if line.startswith("  ") and line[2] != " "] == [
        "image_bytes",
        "pixels",
        "pixels_top",
        "preprocessing",
        "serving_default",
    ]
    assert "    takes  input_image: float32 [?, 32, 32, 3]" in lines
