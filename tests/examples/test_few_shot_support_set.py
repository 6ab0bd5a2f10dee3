"""The few-shot SavedModel, loaded as the C++ model server does and run by its tensor names."""

from __future__ import annotations

import base64
import io
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from model_config import ModelConfig

pytestmark = pytest.mark.tensorflow

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from examples.few_shot.support_set import (  # noqa: E402
    SHARPNESS,
    FewShotClassifier,
    warmup_requests,
)
from tests.serving.bare_session import BareSession  # noqa: E402

if TYPE_CHECKING:
    from pathlib import Path

RED, GREEN, BLUE = (250, 10, 10), (10, 250, 10), (10, 10, 250)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A few-shot classifier whose features are a picture's mean colour."""
    folder = tmp_path_factory.mktemp("few_shot")
    features = keras.Sequential([keras.Input((8, 8, 3)), keras.layers.GlobalAveragePooling2D()])
    config = ModelConfig(name="f", servable="f", base_path=folder, input_size=(8, 8))
    classifier = FewShotClassifier(features, config)
    tf.saved_model.save(classifier, str(folder / "1"), signatures=classifier.signatures())
    return folder / "1"


@pytest.fixture
def served(folder: Path) -> BareSession:
    """The classifier as a server has it that has just started."""
    return BareSession(folder)


def picture(*colors: tuple[int, int, int]) -> str:
    """A picture with a stripe of 8 pixels for each colour, as web-safe base64."""
    pixels = np.concatenate([np.full((8, 8, 3), color, np.uint8) for color in colors], axis=1)
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return base64.urlsafe_b64encode(file.getvalue()).decode().rstrip("=")


def teach(
    served: BareSession, label: str, *pictures: str, overwrite: bool = False, version: int = 1
) -> dict[str, Any]:
    """Name whole pictures."""
    return served.run_named(
        "set_support_set",
        images=list(pictures),
        crop_windows=np.zeros((len(pictures), 4)),
        labels=[label] * len(pictures),
        overwrite=overwrite,
        support_version=version,
    )


def test_nothing_taught_is_no_class(served: BareSession) -> None:
    """Before anything is taught, an answer has no classes and version 0."""
    answer = served.run_named("decode_and_serve", images=[picture(RED)])
    assert answer["scores"].shape == (1, 0)
    assert answer["support_version"].tolist() == [0]


def test_labels_are_learnt_one_after_the_other(served: BareSession) -> None:
    """A label that is taught later takes part at once; scores are the softmax of the cosines, best first."""
    teach(served, "red", picture(RED))
    teach(served, "green", picture(GREEN), version=2)
    answer = served.run_named("decode_and_serve", images=[picture(GREEN), picture(RED)])
    assert answer["classes"].tolist() == [[b"green", b"red"], [b"red", b"green"]]
    assert answer["support_version"].tolist() == [2, 2]
    vectors = np.array([GREEN, RED], float) / np.linalg.norm(RED)
    powers = np.exp(SHARPNESS * vectors @ vectors[0])
    assert answer["scores"][0] == pytest.approx(powers / powers.sum(), abs=1e-5)


def test_a_label_is_the_mean_of_its_pictures(served: BareSession) -> None:
    """A picture between two that bear one label is nearer to it than to a third that is as far from both."""
    teach(served, "warm", picture(RED), picture(GREEN))
    teach(served, "cold", picture(BLUE))
    answer = served.run_named("decode_and_serve", images=[picture((120, 120, 40))])
    assert answer["classes"].tolist() == [[b"warm", b"cold"]]


def test_overwriting_forgets(served: BareSession) -> None:
    """`overwrite` replaces the whole support set."""
    teach(served, "red", picture(RED))
    assert teach(served, "blue", picture(BLUE), overwrite=True)["labels"].tolist() == [b"blue"]


def test_windows_are_cut_out(served: BareSession) -> None:
    """A window [top, left, height, width] is what is looked at; all zeros is the whole picture."""
    teach(served, "red", picture(RED))
    teach(served, "blue", picture(BLUE))
    answer = served.run_named(
        "decode_and_crop_and_serve",
        images=[picture(RED, BLUE)] * 2,
        crop_windows=[[0, 0, 8, 8], [0, 8, 8, 8]],
    )
    assert answer["classes"][:, 0].tolist() == [b"red", b"blue"]
    shown = served.run_named(
        "preprocessing", images=[picture(RED, BLUE)], crop_windows=[[0, 8, 8, 8]]
    )
    assert shown["input_image"].shape == (1, 8, 8, 3)
    assert (shown["input_image"] == np.array(BLUE, np.float32)).all()


@pytest.mark.parametrize(
    ("signature", "inputs"),
    [
        ("decode_and_serve", {"images": ["%%%"]}),
        ("decode_and_serve", {"images": ["AAAA"]}),
        (
            "decode_and_crop_and_serve",
            {"images": [picture(RED)], "crop_windows": [[0, 0, 9, 9]]},
        ),
        (
            "serve_with_support_set",
            {
                "images": [picture(RED)],
                "support_images": [picture(RED)],
                "support_labels": ["a", "b"],
                "support_version": 9,
            },
        ),
    ],
)
def test_wrong_inputs_change_nothing(
    served: BareSession, signature: str, inputs: dict[str, Any]
) -> None:
    """No base64, no image, a window that leaves it, labels without pictures: refused, and what was taught stays."""
    teach(served, "red", picture(RED))
    with pytest.raises(tf.errors.InvalidArgumentError):
        served.run_named(signature, **inputs)
    held = served.run_named("get_support_set", labels=[])
    assert (held["labels"].tolist(), held["support_version"]) == ([b"red"], 1)


def test_the_support_set_can_be_read(served: BareSession) -> None:
    """`get_support_set` gives embeddings of length 1 with their labels: all, or those of some labels."""
    teach(served, "red", picture(RED))
    teach(served, "blue", picture(BLUE), picture(BLUE))
    held = served.run_named("get_support_set", labels=[])
    assert held["labels"].tolist() == [b"red", b"blue", b"blue"]
    assert np.linalg.norm(held["embeddings"], axis=1) == pytest.approx([1, 1, 1])
    assert served.run_named("get_support_set", labels=["red"])["embeddings"].shape == (1, 3)


def test_a_set_that_comes_along_is_used_and_kept(served: BareSession) -> None:
    """`serve_with_support_set` answers by what it brings, and `decode_and_serve` does so afterwards."""
    teach(served, "old", picture(RED))
    brought = {
        "support_images": [picture(RED), picture(BLUE)],
        "support_labels": ["red", "blue"],
        "support_version": 7,
    }
    first = served.run_named("serve_with_support_set", images=[picture(BLUE)], **brought)
    again = served.run_named("decode_and_serve", images=[picture(BLUE)])
    assert first["classes"].tolist() == again["classes"].tolist() == [[b"blue", b"red"]]
    assert first["support_version"].tolist() == again["support_version"].tolist() == [7]


def test_warming_up_teaches_nothing(served: BareSession, folder: Path) -> None:
    """The requests that a server runs before it serves leave the support set empty, with version 0."""
    config = ModelConfig(name="f", servable="f", base_path=folder.parent, input_size=(8, 8))
    for signature, inputs in warmup_requests(config).items():
        served.run_named(signature, **{k: tf.make_ndarray(v) for k, v in inputs.items()})
    held = served.run_named("get_support_set", labels=[])
    assert (held["labels"].tolist(), held["support_version"]) == ([], 0)


def test_concurrent_teachers_lose_nothing(served: BareSession) -> None:
    """Of 8 threads that each add 10 pictures while others read, every picture is there, with its own embedding."""
    answers: list[dict[str, Any]] = []

    def work(number: int) -> None:
        for _ in range(10):
            color = RED if number % 2 else BLUE
            teach(served, "red" if number % 2 else "blue", picture(color))
            answers.append(served.run_named("get_support_set", labels=[]))

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(served.run_named("get_support_set", labels=[])["labels"]) == 80
    for held in answers:
        reddish = held["embeddings"][:, 0] > 0.5
        assert reddish.tolist() == [label == b"red" for label in held["labels"]]
