"""models.toml -> ModelConfig: defaults, paths, and a sentence for every mistake."""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING

import pytest

from model_config import (
    PROJECT,
    ConfigError,
    Deployment,
    ModelConfig,
    load_deployment,
    models_file,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    Load = Callable[[str], Deployment]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Read a models file with the given text."""

    def read(text: str) -> Deployment:
        path = tmp_path / "models.toml"
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return load_deployment(path, env={})

    return read


def the_model(deployment: Deployment) -> ModelConfig:
    """The only model of a deployment."""
    (model,) = deployment.models.values()
    return model


def test_shipped_file_declares_three_models() -> None:
    """The models file of the project declares the three models that the README promises."""
    deployment = load_deployment(PROJECT / "models.toml", env={})
    assert list(deployment.models) == ["imageclassifier", "mobilenet_v2", "digits"]
    assert deployment.models["imageclassifier"].servable == "ImageClassifier"


def test_architecture_is_enough(load: Load) -> None:
    """From `architecture` alone follow convention, input size, weights, labels and base path."""
    model = the_model(load('[vgg]\narchitecture = "VGG16"'))
    assert (model.preprocess, model.input_size, model.weights) == ("caffe", (224, 224), "imagenet")
    assert model.labels[281].name == "tabby"
    assert model.base_path == PROJECT / "saved_models" / "vgg"
    assert (model.top, model.resize, model.channels, model.upstream) == (5, "bilinear", 3, ())


def test_what_follows_can_be_overridden(load: Load) -> None:
    """Keys of the table win over what follows from the architecture."""
    model = the_model(
        load("""
        [vgg]
        architecture = "VGG16"
        preprocess = "tf"
        input_size = [64, 32]
        labels = ["a", "b"]
        resize = "nearest"
        """)
    )
    assert (model.preprocess, model.input_size, model.resize) == ("tf", (64, 32), "nearest")
    assert [label.id for label in model.labels] == ["0", "1"]


def test_relative_paths_start_at_the_models_file(load: Load, tmp_path: Path) -> None:
    """Weights, labels, base path and trainer are relative to the folder of the models file."""
    (tmp_path / "names.json").write_text('{"0": ["n1", "one"], "1": ["n2", "two"]}')
    model = the_model(
        load("""
        [m]
        weights = "w/m.keras"
        base_path = "versions/m"
        labels = "names.json"
        train = "train.py"
        input_size = [8, 8]
        """)
    )
    assert model.weights == str(tmp_path / "w/m.keras")
    assert model.base_path == tmp_path / "versions/m"
    assert model.train == tmp_path / "train.py"
    assert [(label.id, label.name) for label in model.labels] == [("n1", "one"), ("n2", "two")]


def test_saved_models_dir_is_the_parent_of_base_paths(tmp_path: Path) -> None:
    """`$SAVED_MODELS_DIR/<servable>` is the base path where the table names none."""
    path = tmp_path / "models.toml"
    path.write_text('[m]\narchitecture = "VGG16"\nservable = "M"\n')
    deployment = load_deployment(path, env={"SAVED_MODELS_DIR": str(tmp_path / "store")})
    assert the_model(deployment).base_path == tmp_path / "store" / "M"


def test_models_file_comes_from_the_environment(tmp_path: Path) -> None:
    """`MODELS_FILE` names the models file; without it, it is the project's own."""
    assert models_file({"MODELS_FILE": str(tmp_path / "x.toml")}) == tmp_path / "x.toml"
    assert models_file({}) == PROJECT / "models.toml"


def test_a_link_names_the_models_file_anew_each_time(tmp_path: Path) -> None:
    """`MODELS_FILE` stays the link it is; the paths in the file start at the folder that the link leads to."""
    for release in ("1", "2"):
        (tmp_path / release).mkdir()
        (tmp_path / release / "models.toml").write_text(
            '[m]\narchitecture = "VGG16"\nbase_path = "m"\n'
        )
    link = tmp_path / "models.toml"
    link.symlink_to("1/models.toml")
    path = models_file({"MODELS_FILE": str(link)})
    assert the_model(load_deployment(path)).base_path == tmp_path / "1" / "m"
    link.unlink()
    link.symlink_to("2/models.toml")
    assert the_model(load_deployment(path)).base_path == tmp_path / "2" / "m"


def test_functions_of_ones_own_need_no_input_size(load: Load) -> None:
    """A model with its own preprocess and decode functions needs nothing else."""
    model = the_model(
        load('[m]\npreprocess = "mine.retina:preprocess"\ndecode = "mine.retina:decode"')
    )
    assert (model.preprocess, model.decode) == ("mine.retina:preprocess", "mine.retina:decode")
    assert model.input_size is None


@pytest.mark.parametrize(
    "two",
    [
        "preprocess = 'tf'",
        "weights = 'a.keras'\npreprocess = 'mine:preprocess'",
        "weights = 'a.keras'\nresize = 'nearest'\ntop = 1",
        "weights = 'b.keras'\npreprocess = 'tf'\nupstream = 'http://elsewhere:8501'",
    ],
)
def test_tables_may_share_versions_that_stand_for_both(load: Load, two: str) -> None:
    """What the router does by itself may differ; so may how somebody else's versions are tried, and other servers."""
    one = "" if two == "preprocess = 'tf'" else "weights = 'a.keras'\n"
    text = f"[a]\ninput_size = [8, 8]\nservable = 's'\n{one}[b]\ninput_size = [8, 8]\nservable = 's'\n{two}\n"
    assert len(load(text).models) == 2


MISTAKES = {
    "": "declares no model",
    "model_server = 'shared'": "did you mean 'model_servers'?",
    "model_servers = 'one'\n[m]\ninput_size = [8, 8]": "choose one of separate, shared",
    "[m]\narchitectur = 'VGG16'": "unknown key 'architectur'; did you mean 'architecture'?",
    "[m]\nzzz = 1": "unknown key 'zzz'; allowed are architecture",
    "[m]\narchitecture = 'VGG166'": "did you mean 'VGG16'?",
    "[m]\narchitecture = 'Nothing'": "see keras.applications",
    "[m]\narchitecture = 7": "write a text in quotes",
    "[m]\narchitecture = ''": "write a text in quotes",
    "[m]\narchitecture_options = { alpha = 1 }\ninput_size = [8, 8]": "needs 'architecture'",
    "[m]\narchitecture = 'MobileNet'\narchitecture_options = 3": "write a table",
    "[m]\nweights = 'imagenet'\ninput_size = [8, 8]": "'imagenet' needs 'architecture'",
    "[m]\nlabels = ['a']": "key 'input_size': this key is needed; write",
    "[m]\ninput_size = [8]": "write [height, width]",
    "[m]\ninput_size = [0, 8]": "write [height, width]",
    "[m]\ninput_size = [8.0, 8]": "write [height, width]",
    "[m]\ninput_size = [true, 8]": "write [height, width]",
    "[m]\ninput_size = [8, 8]\npreprocess = 'keras'": "choose one of tf, caffe, torch, none",
    "[m]\ninput_size = [8, 8]\npreprocess = 'a-b:c'": "'module:function'",
    "[m]\ninput_size = [8, 8]\nresize = 'cubic'": "choose one of bilinear, nearest",
    "[m]\ninput_size = [8, 8]\ncolor_mode = 'bgr'": "choose one of rgb, grayscale",
    "[m]\ninput_size = [8, 8]\npreprocess = 'torch'\ncolor_mode = 'grayscale'": "'torch' is for three",
    "[m]\narchitecture = 'VGG16'\ncolor_mode = 'grayscale'": "key 'preprocess': 'caffe' is for three",
    "[m]\ninput_size = [8, 8]\nsupport_set = true\nresize = 'box'": "choose one of bilinear, nearest, bicubic, lanczos",
    "[m]\ninput_size = [8, 8]\ntop = 0": "whole number from 1 up",
    "[m]\ninput_size = [8, 8]\ntop = true": "whole number from 1 up",
    "[m]\ninput_size = [8, 8]\ntimeout_seconds = -1": "seconds above 0",
    "[m]\ninput_size = [8, 8]\ntimeout_seconds = inf": "seconds above 0",
    "[m]\ninput_size = [8, 8]\ntimeout_seconds = nan": "seconds above 0",
    "[m]\ninput_size = [8, 8]\nservable = 'a/b'": "neither '/' nor ':'",
    "[m]\ninput_size = [8, 8]\nupstream = 'localhost:9000'": "write URLs such as",
    "[m]\ninput_size = [8, 8]\nupstream = ['http://x:99999']": "write URLs such as",
    "[m]\ninput_size = [8, 8]\nlabels = 'nowhere.json'": "nowhere.json cannot be read",
    "[m]\ninput_size = [8, 8]\nlabels = [1, 2]": "write a list of names",
    "[m]\ninput_size = [8, 8]\nlabels = 5": "write the path of a JSON file",
    "[m]\ninput_size = [8, 8]\nupstream = 'http://a b:9000'": "write URLs such as",
    "[m]\ninput_size = [8, 8]\nupstream = 'http://a..b:9000'": "write URLs such as",
    "[m]\ninput_size = [8, 8]\ntimeout_seconds = 1e10": "1000000 at most",
    "[m]\ninput_size = [8, 8]\nweights = '~no-such-user/w.h5'": "not a path that can be used",
    '[m]\ninput_size = [8, 8]\nbase_path = "a\\u0000b"': "not a path that can be used",
    '[m]\ninput_size = [8, 8]\nlabels = "a\\u0000b"': "not a path that can be used",
    f"[m]\ntop = {'7' * 5000}": "is not valid TOML",
    f"[m]\ntop = {'[' * 5000}": "is not valid TOML",
    "[livez]\ninput_size = [8, 8]": "a route of the router itself",
    "['a b']\ninput_size = [8, 8]": "part of a URL",
    "[m": "is not valid TOML",
    "[a]\ninput_size = [8, 8]\nservable = 's'\nbase_path = 'x'\n[b]\ninput_size = [8, 8]\nservable = 's'": (
        "name the same servable 's'"
    ),
    "[a]\ninput_size = [8, 8]\nservable = 's'\nweights = 'a.keras'\n"
    "[b]\ninput_size = [8, 8]\nservable = 's'\npreprocess = 'tf'": (
        "tables [a] and [b] are answered by the same versions"
    ),
    "[a]\ninput_size = [8, 8]\nbase_path = 'x'\nweights = 'a.keras'\n"
    "[b]\ninput_size = [8, 8]\nbase_path = 'x'\nweights = 'b.keras'": "differ in 'weights'",
}


@pytest.mark.parametrize(("text", "sentence"), MISTAKES.items(), ids=range(len(MISTAKES)))
def test_a_mistake_is_named(load: Load, tmp_path: Path, text: str, sentence: str) -> None:
    """A mistake is one sentence that names the file and what is allowed."""
    with pytest.raises(ConfigError) as caught:
        load(text)
    message = str(caught.value)
    assert sentence in message
    assert str(tmp_path / "models.toml") in message
    assert "\n" not in message.removesuffix(".")
    assert not message.endswith("?.")


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "is not JSON"),
        ("[" * 200_000, "is not JSON"),
        ('["\\ud800"]', "a list of names"),
        ('{"0": "tench"}', 'as "0": ["id", "name"]'),
        ('{"1": ["a", "b"]}', "class 0"),
    ],
)
def test_a_wrong_labels_file_is_named(
    load: Load, tmp_path: Path, content: str, sentence: str
) -> None:
    """A labels file that is neither a class index nor a list is refused by name."""
    (tmp_path / "names.json").write_text(content)
    with pytest.raises(ConfigError, match=r"names\.json") as caught:
        load('[m]\ninput_size = [8, 8]\nlabels = "names.json"')
    assert sentence in str(caught.value)


def test_unreadable_files_are_named(tmp_path: Path) -> None:
    """A models file that is missing, a folder, or not UTF-8 is one sentence."""
    with pytest.raises(ConfigError, match="There is no models file"):
        load_deployment(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read"):
        load_deployment(tmp_path)
    (tmp_path / "latin.toml").write_bytes("[modèle]".encode("latin-1"))
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_deployment(tmp_path / "latin.toml")


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path) -> None:
    """Some editors write one, into a models file and into a labels file."""
    table = b"[m]\ninput_size = [8, 8]\nlabels = 'names.json'\n"
    (tmp_path / "models.toml").write_bytes(b"\xef\xbb\xbf" + table)
    (tmp_path / "names.json").write_bytes(b"\xef\xbb\xbf" + b'["a", "b"]')
    model = load_deployment(tmp_path / "models.toml").models["m"]
    assert [label.name for label in model.labels] == ["a", "b"]


def test_imagenet_class_index_is_keras_own() -> None:
    """The class index holds 1000 classes in Keras' form, in the order of their WordNet ids."""
    index = json.loads((PROJECT / "imagenet_class_index.json").read_text())
    wnids = [index[str(number)][0] for number in range(1000)]
    assert len(index) == 1000
    assert wnids == sorted(set(wnids))
    assert (index["0"][1], index["817"][1], index["999"][1]) == (
        "tench",
        "sports_car",
        "toilet_tissue",
    )
