from __future__ import annotations

import io
import resource
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from model_config import ModelConfig
from model_config.labels import Label

pytestmark = pytest.mark.tensorflow

keras = pytest.importorskip("keras")
tf = pytest.importorskip("tensorflow")

from tensorflow_serving.apis.prediction_log_pb2 import PredictionLog  # noqa: E402

from model_config.made_from import facts_now, read_record  # noqa: E402
from serving.export import signatures  # noqa: E402
from serving.export.bfloat16 import in_bfloat16  # noqa: E402
from serving.export.keras_export import export_model  # noqa: E402
from serving.export.versions import ExportError  # noqa: E402
from tests.serving.bare_session import BareSession  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# Frozen constants are folded into other constants: the same numbers, rounded elsewhere.
TOLERANCE = 1e-5
SIZE = (24, 20)
LABEL = Label("n0", "thing")


@pytest.fixture(scope="module")
def small_model() -> keras.Model:
    """24x20 RGB images -> 7 classes, with a batch norm that is not the identity and a gradient of its own (swish)."""
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((*SIZE, 3)),
            keras.layers.Conv2D(8, 3, strides=2),
            keras.layers.BatchNormalization(),
            keras.layers.Activation("swish"),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(7, activation="softmax"),
        ]
    )
    norm = model.layers[1]
    rng = np.random.default_rng(0)
    norm.set_weights([rng.uniform(0.5, 1.5, 8) for _ in range(4)])
    return model


def config_for(tmp_path: Path, **settings: Any) -> ModelConfig:
    """A table for the small model."""
    return ModelConfig(
        name="small", servable="Small", base_path=tmp_path / "small", input_size=SIZE, **settings
    )


def png(pixels: np.ndarray) -> bytes:
    """A PNG file of these pixels."""
    file = io.BytesIO()
    Image.fromarray(pixels.squeeze()).save(file, "PNG")
    return file.getvalue()


def random_images(*shape: int) -> np.ndarray:
    """Noise of the full range."""
    return np.random.default_rng(3).integers(0, 256, shape, dtype=np.uint8)


def preprocessed(pixels: np.ndarray, convention: str) -> np.ndarray:
    """What Keras makes of pixels."""
    if convention == "none":
        return pixels.astype(np.float32)
    return keras.applications.imagenet_utils.preprocess_input(
        pixels.astype(np.float32), mode=convention
    )


@pytest.mark.parametrize("convention", ["tf", "caffe", "torch", "none"])
def test_all_signatures_answer_what_keras_answers(
    small_model: keras.Model, tmp_path: Path, convention: str
) -> None:
    """The four signatures of an export, run in a bare session, agree with Keras and so with each other."""
    version = export_model(small_model, config_for(tmp_path, preprocess=convention))
    session = BareSession(version)
    pixels = random_images(3, *SIZE, 3)
    floats = preprocessed(pixels, convention)
    expected = small_model.predict(floats, verbose=0)
    files = [png(image) for image in pixels]

    assert set(session.signatures) == {"serving_default", "pixels", "image_bytes", "preprocessing"}
    scores = {
        "serving_default": session.run("serving_default", floats),
        "pixels": session.run("pixels", [image.tobytes() for image in pixels]),
        "image_bytes": session.run("image_bytes", files),
    }
    for answer in scores.values():
        np.testing.assert_allclose(answer, expected, atol=TOLERANCE, rtol=0)
    np.testing.assert_allclose(session.run("preprocessing", files), floats, atol=1e-5, rtol=0)


def test_a_grayscale_export_takes_one_byte_a_pixel(tmp_path: Path) -> None:
    """With `color_mode = "grayscale"` the signatures take one channel, and colour files are made grey as Pillow does."""
    model = keras.Sequential([keras.Input((*SIZE, 1)), keras.layers.Flatten()])
    version = export_model(model, config_for(tmp_path, color_mode="grayscale"))
    session = BareSession(version)
    colour = random_images(*SIZE, 3)
    grey = np.asarray(Image.fromarray(colour).convert("L"))

    np.testing.assert_array_equal(session.run("pixels", [grey.tobytes()])[0], grey.ravel())
    np.testing.assert_array_equal(session.run("image_bytes", [png(colour)])[0], grey.ravel())


def test_signatures_name_and_shape_what_they_take_and_give(
    small_model: keras.Model, tmp_path: Path
) -> None:
    """The metadata tells names, types and shapes: unknown batch, known height, width, channels and classes."""
    session = BareSession(export_model(small_model, config_for(tmp_path)))

    def facts(tensors: Mapping[str, Any]) -> dict[str, Any]:
        return {
            name: (tf.dtypes.as_dtype(info.dtype).name, [d.size for d in info.tensor_shape.dim])
            for name, info in tensors.items()
        }

    image = {"input_image": ("float32", [-1, *SIZE, 3])}
    scores = {"scores": ("float32", [-1, 7])}
    assert {
        name: (facts(signature.inputs), facts(signature.outputs))
        for name, signature in session.signatures.items()
    } == {
        "serving_default": (image, scores),
        "pixels": ({"pixels": ("string", [-1])}, scores),
        "image_bytes": ({"image_bytes": ("string", [-1])}, scores),
        "preprocessing": ({"image_bytes": ("string", [-1])}, image),
    }


def test_the_model_stands_once_in_the_export(small_model: keras.Model, tmp_path: Path) -> None:
    """The signatures share one copy of the network: there is one convolution in the whole graph."""
    meta_graph = BareSession(export_model(small_model, config_for(tmp_path))).meta_graph
    nodes = list(meta_graph.graph_def.node)
    for function in meta_graph.graph_def.library.function:
        nodes += function.node_def
    assert [node.op for node in nodes].count("Conv2D") == 1


def test_a_frozen_export_holds_no_variables(small_model: keras.Model, tmp_path: Path) -> None:
    """What fits into one file is frozen to constants, which the server folds at load."""
    version = export_model(small_model, config_for(tmp_path))
    assert not tf.train.load_checkpoint(str(version / "variables/variables")).has_tensor(
        "model_variables/0/.ATTRIBUTES/VARIABLE_VALUE"
    )


def test_a_version_that_cannot_be_written_whole_is_a_sentence(
    small_model: keras.Model, tmp_path: Path
) -> None:
    """TensorFlow's own words for a full disk (here, for a file that may not be larger) are kept to the point."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(ExportError) as told:
            export_model(small_model, config_for(tmp_path))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert str(told.value) == f"{tmp_path}/small cannot be written: File too large."
    assert [path.name for path in (tmp_path / "small").iterdir()] == [".export.lock"]


def test_a_model_too_large_to_freeze_keeps_its_variables(
    small_model: keras.Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Above the limit the weights stay variables, and a bare session finds them."""
    monkeypatch.setattr(signatures, "FREEZE_LIMIT_BYTES", 0)
    version = export_model(small_model, config_for(tmp_path))
    images = random_images(2, *SIZE, 3).astype(np.float32)

    assert tf.train.load_checkpoint(str(version / "variables/variables")).has_tensor(
        "model_variables/0/.ATTRIBUTES/VARIABLE_VALUE"
    )
    np.testing.assert_allclose(
        BareSession(version).run("serving_default", images),
        small_model.predict(images, verbose=0),
        atol=TOLERANCE,
        rtol=0,
    )


def test_a_bfloat16_export_answers_nearly_the_same(
    small_model: keras.Model, tmp_path: Path
) -> None:
    """bfloat16 keeps 8 bits of mantissa: scores move by a few thousandths, and stay float32."""
    images = random_images(4, *SIZE, 3).astype(np.float32) / 255
    session = BareSession(export_model(in_bfloat16(small_model), config_for(tmp_path)))
    answer = session.run("serving_default", images)
    expected = small_model.predict(images, verbose=0)

    assert answer.dtype == np.float32
    assert 0 < np.abs(answer - expected).max() < 0.02


def test_a_convention_of_ones_own_leaves_the_plain_signature(
    small_model: keras.Model, tmp_path: Path
) -> None:
    """Python code cannot stand in the graph, so such a model is served preprocessed floats only."""
    session = BareSession(export_model(small_model, config_for(tmp_path, preprocess="mine:work")))
    assert set(session.signatures) == {"serving_default"}


def test_a_filter_that_tensorflow_lacks_leaves_out_what_resizes(
    small_model: keras.Model, tmp_path: Path
) -> None:
    """With `hamming` there is no signature that would resize otherwise than the router."""
    session = BareSession(export_model(small_model, config_for(tmp_path, resize="hamming")))
    assert set(session.signatures) == {"serving_default", "pixels"}


def test_the_best_of_many_classes_are_a_signature_of_their_own(tmp_path: Path) -> None:
    """Above ten classes `pixels_top` gives the ten best of `pixels`, best first, equal ones in their order; it is warmed up."""
    image = keras.Input((*SIZE, 3))
    scores = keras.layers.GlobalAveragePooling2D()(image)
    scores = keras.layers.Concatenate()([scores] * 4)  # twelve classes, four of each score
    version = export_model(keras.Model(image, scores), config_for(tmp_path, preprocess="tf"))
    session = BareSession(version)
    pictures = random_images(2, *SIZE, 3)
    raw = [picture.tobytes() for picture in pictures]
    best = session.run_named("pixels_top", pixels=raw)
    expected = session.run("pixels", raw)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :10]
    np.testing.assert_array_equal(best["classes"], order)
    np.testing.assert_array_equal(best["scores"], np.take_along_axis(expected, order, axis=1))
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    assert b"pixels_top" in file.read_bytes()


def test_an_export_tells_what_it_was_made_from(small_model: keras.Model, tmp_path: Path) -> None:
    """What the table said is written into the version, where a change of it is noticed."""
    config = config_for(tmp_path, preprocess="tf")
    record = read_record(export_model(small_model, config))
    assert record == facts_now(config)


def test_the_warm_up_requests_can_be_run(small_model: keras.Model, tmp_path: Path) -> None:
    """The warm-up file holds one request, for the signature that the router uses, and it runs."""
    version = export_model(small_model, config_for(tmp_path))
    session = BareSession(version)
    file = version / "assets.extra" / "tf_serving_warmup_requests"
    logs = [
        PredictionLog.FromString(record.numpy()) for record in tf.data.TFRecordDataset(str(file))
    ]
    (request,) = (log.predict_log.request for log in logs)
    assert request.model_spec.name == "Small"
    assert request.model_spec.signature_name == "pixels"
    (tensor,) = request.inputs.values()
    assert session.run("pixels", tf.make_ndarray(tensor)).shape == (1, 7)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"input_size": (24, 24)}, ["(24, 20, 3)", "(24, 24, 3)", "input_size"]),
        ({"color_mode": "grayscale"}, ["(24, 20, 3)", "(24, 20, 1)", "color_mode"]),
        ({"input_size": None, "preprocess": "mine:work"}, ["input_size"]),
        ({"labels": (LABEL, LABEL)}, ["7 scores", "2 labels", "'labels'", "'decode'"]),
    ],
)
def test_a_model_that_does_not_fit_its_table_is_refused(
    small_model: keras.Model, tmp_path: Path, settings: dict[str, Any], words: list[str]
) -> None:
    """The sentence names what the model takes and what the table says; nothing is written."""
    table = {"input_size": SIZE, **settings}
    config = ModelConfig(name="small", servable="small", base_path=tmp_path / "small", **table)
    with pytest.raises(ExportError) as error:
        export_model(small_model, config)
    assert all(word in str(error.value) for word in words)
    assert not (tmp_path / "small").exists()


def classifier(shape: tuple[int, ...], **settings: Any) -> keras.Model:
    """Images of a shape -> 3 scores."""
    image = keras.Input(shape, **settings)
    return keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image)))


def test_gray_images_need_no_axis_of_channels(tmp_path: Path) -> None:
    """A model of (height, width) images, as beginners have it for MNIST, is served as a grayscale one."""
    model = classifier(SIZE)
    session = BareSession(export_model(model, config_for(tmp_path, color_mode="grayscale")))
    images = random_images(2, *SIZE)
    answer = session.run("pixels", [image.tobytes() for image in images])
    expected = model.predict(images.astype(np.float32), verbose=0)
    np.testing.assert_allclose(answer, expected, atol=TOLERANCE, rtol=1e-5)


def test_an_output_may_have_a_name(tmp_path: Path) -> None:
    """A model that gives its one output in a dict is served as one that gives it bare."""
    image = keras.Input((*SIZE, 3))
    scores = keras.layers.Dense(12)(keras.layers.Flatten()(image))
    session = BareSession(
        export_model(keras.Model(image, {"scores": scores}), config_for(tmp_path))
    )
    assert "pixels_top" in session.signatures
    assert session.run("serving_default", random_images(2, *SIZE, 3)).shape == (2, 12)


def test_a_decode_of_ones_own_takes_any_output(tmp_path: Path) -> None:
    """A model that gives a mask is served where the table has a function for it."""
    image = keras.Input((*SIZE, 3))
    mask = keras.Model(image, keras.layers.Conv2D(4, 1)(image))
    session = BareSession(export_model(mask, config_for(tmp_path, decode="mine:outline")))
    raw = [random_images(*SIZE, 3).tobytes()]
    assert session.run("pixels", raw).shape == (1, *SIZE, 4)


@pytest.mark.parametrize(
    ("shape", "settings", "words"),
    [
        ((3, *SIZE), {}, ["(3, 24, 20)", "channels last"]),
        ((*SIZE, 4), {}, ["(24, 20, 4)", "3 for RGB or 1 for grayscale"]),
        ((784,), {}, ["(784,)", "(height, width, channels)"]),
        (SIZE, {}, ["(24, 20, 1)", "(24, 20, 3)", "'color_mode'"]),
        ((*SIZE, 3), {"dtype": "uint8"}, ["uint8", '"tf"', '"none"']),
    ],
)
def test_an_input_that_can_be_no_image_is_refused(
    tmp_path: Path, shape: tuple[int, ...], settings: dict[str, Any], words: list[str]
) -> None:
    """The sentence says what an image classifier takes, or which key to change."""
    with pytest.raises(ExportError) as error:
        export_model(classifier(shape, **settings), config_for(tmp_path, preprocess="tf"))
    assert all(word in str(error.value) for word in words)


def test_an_output_that_is_no_score_a_class_is_refused(tmp_path: Path) -> None:
    """What has a place for each pixel has no best class; the sentence names the way out."""
    image = keras.Input((*SIZE, 3))
    with pytest.raises(ExportError, match=r"\(24, 20, 4\).*'decode'"):
        export_model(keras.Model(image, keras.layers.Conv2D(4, 1)(image)), config_for(tmp_path))


def test_a_model_with_two_outputs_is_refused(tmp_path: Path) -> None:
    """Scores must be one output."""
    image = keras.Input((*SIZE, 3))
    flat = keras.layers.Flatten()(image)
    model = keras.Model(image, [keras.layers.Dense(2)(flat), keras.layers.Dense(3)(flat)])
    with pytest.raises(ExportError, match="2 outputs"):
        export_model(model, config_for(tmp_path))
