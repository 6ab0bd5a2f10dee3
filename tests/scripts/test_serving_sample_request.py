from __future__ import annotations

import json
from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest
from PIL import Image

from tests.processes import ROOT, free_port, running
from tests.scripts.answering import answering
from tests.scripts.running import assert_one_sentence, run_script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow

CLOCK = ROOT / "test_images" / "wall_clock.jpg"
TINY = """
[tiny]
architecture = "MobileNet"
architecture_options = { alpha = 0.25 }
weights = "random"
input_size = [32, 32]
labels = ["cat", "dog", "bird", "fish"]
base_path = "tiny"
"""


@pytest.fixture(scope="module")
def deployment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, str]]:
    """A model server and a router with one model: their folder and the router's address."""
    folder = tmp_path_factory.mktemp("deployment")
    port, router = free_port(), f"http://127.0.0.1:{free_port()}"
    (folder / "models.toml").write_text(f'{TINY}upstream = "http://127.0.0.1:{port}"\n')
    export = run_script(
        "export_saved_model", "--models", "models.toml", "--model", "tiny", cwd=folder
    )
    assert export.returncode == 0, export.stderr
    env = {"MODELS_FILE": str(folder / "models.toml"), "PORT": router.rsplit(":", 1)[1]}
    serve = ["-m", "serving", "--port=0", f"--rest_api_port={port}", "--model_name=tiny"]
    with ExitStack() as stack:
        server = stack.enter_context(
            running(*serve, f"--model_base_path={folder / 'tiny'}", log=folder / "serving.log")
        )
        front = stack.enter_context(
            running("-m", "flask_server", log=folder / "router.log", env=env)
        )
        server.wait_for(f"http://127.0.0.1:{port}/v1/models/tiny")
        front.wait_for(f"{router}/readyz")
        yield folder, router


def printed(output: str) -> list[tuple[str, float]]:
    """The printed labels and their scores."""
    lines = [line.split(maxsplit=1) for line in output.splitlines()]
    return [(label, float(score)) for score, label in lines]


@pytest.mark.tensorflow
@pytest.mark.parametrize("picture", ["wall_clock.jpg", "digit_3.png"])
def test_the_model_server_and_the_router_agree(deployment: tuple[Path, str], picture: str) -> None:
    """Floats preprocessed by the script and a photo posted to the router give the same labels and scores."""
    folder, router = deployment
    image = ROOT / "test_images" / picture
    direct = run_script(
        "serving_sample_request", "-i", image, "--models", "models.toml", cwd=folder
    )
    routed = run_script(
        "flask_sample_request", "-i", image, "--model", "tiny", "--url", router, cwd=folder
    )
    assert (direct.returncode, routed.returncode) == (0, 0), direct.stderr + routed.stderr
    ours, theirs = printed(direct.stdout), printed(routed.stdout)
    assert [label for label, _ in ours] == [label for label, _ in theirs]
    assert [score for _, score in ours] == pytest.approx([s for _, s in theirs], abs=1e-5)
    assert len(ours) == 4


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """The models file alone: nothing runs."""
    file = tmp_path / "models.toml"
    file.write_text(TINY)
    return file


def test_a_model_that_nobody_serves_is_one_sentence(models: Path, tmp_path: Path) -> None:
    """Without an upstream and without a running supervisor the sentence says how to go on."""
    process = run_script(
        "serving_sample_request", "-i", CLOCK, "--models", models, cwd=tmp_path,
        env={"STATE_DIR": str(tmp_path)},
    )  # fmt: skip
    assert_one_sentence(process, "'tiny'", "make run", "--url")


def test_the_supervisors_placement_is_followed(models: Path, tmp_path: Path) -> None:
    """Without --url the script asks where the supervisor has put the model, or tells why it is not served."""
    scores = json.dumps({"predictions": [[0.1, 0.7, 0.2, 0.0]]})
    arguments = ["serving_sample_request", "-i", CLOCK, "--models", models, "--top", "1"]
    placement = tmp_path / "placement.json"
    env = {"STATE_DIR": str(tmp_path)}
    with answering(200, scores) as url:
        placement.write_text(json.dumps({"tiny": {"upstream": [url]}}))
        process = run_script(*arguments, cwd=tmp_path, env=env)
    assert process.stdout == "0.700000  dog  (1)\n"

    placement.write_text(json.dumps({"tiny": {"problem": "Model 'tiny': no weights."}}))
    process = run_script(*arguments, cwd=tmp_path, env=env)
    assert_one_sentence(process, "Model 'tiny' is not served: no weights.")


def test_a_servables_name_is_quoted(models: Path, tmp_path: Path) -> None:
    """A question mark in it is part of the path, not the end of it."""
    models.write_text(f'{TINY}servable = "what?"\n')
    with answering(404, '{"error": "nothing"}') as url:
        process = run_script(
            "serving_sample_request", "-i", CLOCK, "--models", models, "--url", url, cwd=tmp_path
        )
    assert_one_sentence(process, f"{url}/v1/models/what%3F:predict answered 404")


def test_ones_own_image_may_be_avif(models: Path, tmp_path: Path) -> None:
    """The router leaves this format to whoever runs it, for what strangers send; here it is a file of one's own."""
    Image.new("RGB", (40, 40)).save(tmp_path / "a.avif")
    with answering(200, json.dumps({"predictions": [[0.1, 0.7, 0.2, 0.0]]})) as url:
        arguments = ("-i", "a.avif", "--models", models, "--url", url, "--top", "1")
        process = run_script("serving_sample_request", *arguments, cwd=tmp_path)
    assert process.stdout == "0.700000  dog  (1)\n", process.stderr


def test_an_image_that_is_none_is_one_sentence(models: Path, tmp_path: Path) -> None:
    """A file that Pillow cannot read is told as the router tells it."""
    process = run_script("serving_sample_request", "-i", models, "--models", models, cwd=tmp_path)
    assert_one_sentence(process, "not an image of a known format")


def test_scores_that_do_not_fit_the_labels_are_one_sentence(models: Path, tmp_path: Path) -> None:
    """Ten scores for four labels mean that the table is for another model."""
    with answering(200, json.dumps({"predictions": [[0.1] * 10]})) as url:
        process = run_script(
            "serving_sample_request", "-i", CLOCK, "--models", models, "--url", url, cwd=tmp_path
        )
    assert_one_sentence(process, "10 scores", "4 labels")


@pytest.mark.parametrize("row", [["a", "b"], [[1], [2, 3]], 7])
def test_scores_that_are_none_are_one_sentence(models: Path, tmp_path: Path, row: object) -> None:
    """Text, lists of different lengths and what is no list are quoted."""
    with answering(200, json.dumps({"predictions": [row]})) as url:
        process = run_script(
            "serving_sample_request", "-i", CLOCK, "--models", models, "--url", url, cwd=tmp_path
        )
    assert_one_sentence(process, "answered no scores: ", str(row))


@pytest.mark.parametrize("form", ["predictions", "outputs"])
def test_a_whole_request_is_sent_as_it_is(models: Path, tmp_path: Path, form: str) -> None:
    """With --json each instance of the answer has its labels, in row and in column form."""
    (tmp_path / "predict.json").write_text('{"instances": [1, 2]}')
    scores = json.dumps({form: [[0.1, 0.7, 0.2, 0.0], [0.9, 0.1, 0.0, 0.0]]})
    with answering(200, scores) as url:
        process = run_script(
            "serving_sample_request", "--json", "predict.json", "--models", models, "--url", url,
            "--top", "1", cwd=tmp_path,
        )  # fmt: skip
    assert process.stdout == "0.700000  dog  (1)\n\n0.900000  cat  (0)\n"


@pytest.mark.parametrize(("content", "words"), [(None, "No such file"), ("{", "not JSON text")])
def test_a_request_that_is_none_is_one_sentence(
    models: Path, tmp_path: Path, content: str | None, words: str
) -> None:
    """A missing or damaged file is named."""
    if content is not None:
        (tmp_path / "predict.json").write_text(content)
    process = run_script(
        "serving_sample_request", "--json", "predict.json", "--models", models, cwd=tmp_path
    )
    assert_one_sentence(process, "predict.json", words)
