from __future__ import annotations

import base64
import gzip
import io
import urllib.parse
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from PIL import Image

from tests.flask_server.conftest import encoded
from tests.flask_server.toy_model_server import BYTES, FLOATS, WITH_TOP, with_scores

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient

    from tests.flask_server.toy_model_server import ToyModelServer

RED = encoded((255, 51, 0))
ANSWER = [["0", "red", 1.0], ["1", "green", 0.2], ["2", "blue", 0.0]]
B64 = base64.b64encode(RED).decode()
PATH = "/colours/predict/"

WAYS: dict[str, dict[str, Any]] = {
    "urlencoded form": {"data": {"b64": B64}},
    "urlencoded form among other fields": {"data": {"a": "b64=x", "b64": B64, "c": "%&="}},
    "urlencoded form in lower case": {
        "data": f"b64={B64}".replace("+", "%2b")
        .replace("/", "%2f")
        .replace("=", "%3d")
        .replace("b64%3d", "b64="),
        "content_type": "application/x-www-form-urlencoded",
    },
    "urlencoded form with escaped white space and letters": {
        "data": f"b64=%0A%69{B64[1:30]}%0d%0a{B64[30:]}",
        "content_type": "application/x-www-form-urlencoded",
    },
    "multipart form": {"data": {"b64": B64, "x": (io.BytesIO(b""), "")}},
    "JSON": {"json": {"b64": B64}},
    "JSON without a content type": {"data": orjson.dumps({"b64": B64})},
    "JSON as fetch sends it": {"data": orjson.dumps({"b64": B64}), "content_type": "text/plain"},
    "JSON as curl sends it": {
        "data": orjson.dumps({"b64": B64}),
        "content_type": "application/x-www-form-urlencoded",
    },
    "JSON of another kind": {
        "data": orjson.dumps({"b64": B64}),
        "content_type": "application/x+json",
    },
    "raw image": {"data": RED, "content_type": "image/png"},
    "raw bytes": {"data": RED, "content_type": "application/octet-stream"},
    "raw bytes without a content type": {"data": RED},
    "data URL": {"json": {"b64": f"data:image/png;base64,{B64}"}},
    "URL-safe base64": {"json": {"b64": base64.urlsafe_b64encode(RED).decode()}},
    "base64 without padding": {"json": {"b64": B64.rstrip("=")}},
    "base64 in lines": {"json": {"b64": base64.encodebytes(RED).decode()}},
}


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_every_way_of_sending(client: FlaskClient, way: dict[str, Any]) -> None:
    """A picture may be sent in every way in which browsers, phones and curl do it."""
    response = client.post(PATH, **way)
    assert response.status_code == 200, response.text
    assert response.json == ANSWER


def test_multipart_file(client: FlaskClient) -> None:
    """A multipart file is taken whatever its field is called."""
    response = client.post(PATH, data={"photo": (io.BytesIO(RED), "red.png")})
    assert response.json == ANSWER


def test_several_multipart_files(client: FlaskClient) -> None:
    """Several files in one form are answered by a list, in their order."""
    files = [(io.BytesIO(RED), "a.png"), (io.BytesIO(encoded((0, 0, 255))), "b.png")]
    response = client.post(PATH, data={"photo": files})
    assert [labels[0][1] for labels in response.json or []] == ["red", "blue"]


def test_instances(client: FlaskClient) -> None:
    """Instances are answered by a list, even a single one."""
    response = client.post(PATH, json={"instances": [{"b64": B64}]})
    assert response.json == [ANSWER]


def test_one_bad_image_among_good_ones(client: FlaskClient) -> None:
    """A bad image in a batch has its problem in its place; the good ones have their labels."""
    instances = [{"b64": B64}, {"b64": "AAAA"}, {"b64": "?"}, {"b65": B64}, {"b64": B64}]
    response = client.post(PATH, json={"instances": instances})
    assert response.status_code == 200
    answer = response.json or []
    assert answer[0] == answer[4] == ANSWER
    assert [item["status"] for item in answer[1:4]] == [400, 400, 400]
    assert "base64" in answer[2]["detail"]


def test_a_batch_of_only_bad_images(client: FlaskClient) -> None:
    """A batch without one good image is a 400 that lists every error."""
    response = client.post(PATH, json={"instances": [{"b64": "AAAA"}, {"b64": "?"}]})
    assert response.status_code == 400
    assert response.content_type == "application/problem+json"
    assert len((response.json or {})["errors"]) == 2


def test_top(client: FlaskClient) -> None:
    """`?top=N` gives the N best; more than there are gives all."""
    assert client.post(f"{PATH}?top=1", data=RED).json == ANSWER[:1]
    assert client.post(f"{PATH}?top=99", data=RED).json == ANSWER


def test_default_top_is_the_models(client_of: Callable[..., FlaskClient]) -> None:
    """Without `?top=` the model's own `top` counts."""
    assert client_of(more="top = 2").post(PATH, data=RED).json == ANSWER[:2]


@pytest.mark.parametrize(
    "query",
    [
        "top=0",
        "top=-1",
        "top=x",
        "top=1.5",
        "top=99999999999999999999",
        "top=",
        "version=0",
        "version=1&version_label=a",
        "version_label=a%2Fb",
        "version_label=",
        "version=9223372036854775808",
        "top=%D9%A1",
    ],
)
def test_parameters_that_are_not_allowed(client: FlaskClient, query: str) -> None:
    """A parameter that says nothing usable is a 400 with a sentence."""
    response = client.post(f"{PATH}?{query}", data=RED)
    assert response.status_code == 400
    assert response.content_type == "application/problem+json"


def test_both_ways_of_writing_the_route(client: FlaskClient) -> None:
    """The closing slash may be left out, whatever the method; nothing is redirected."""
    assert client.post("/colours/predict", data=RED).json == ANSWER
    assert client.get("/colours/predict").status_code == 405
    for answer in (client.options("/colours/predict"), client.get("/colours/predict")):
        assert {*answer.headers["Allow"].split(", ")} == {"OPTIONS", "POST"}
    assert client.get("/models?x=1").status_code == 200


def test_pixels_signature_is_preferred(client: FlaskClient, toy: ToyModelServer) -> None:
    """A model exported with `pixels` gets the raw bytes of the resized image."""
    client.post(PATH, data=RED)
    [sent] = toy.model.requests
    assert sent["signature_name"] == "pixels"
    assert base64.b64decode(sent["instances"][0]["b64"]) == bytes([255, 51, 0]) * 24


@pytest.mark.parametrize(
    ("query", "more", "asked"),
    [
        ("?top=2", "", "pixels_top"),
        ("", "top = 1", "pixels_top"),
        ("?top=3", "", "pixels"),
        ("", "", "pixels"),
        ("?top=2", "shadow = 'next'", "pixels"),
    ],
)
def test_the_best_alone_are_asked_for_where_they_suffice(
    client_of: Callable[..., FlaskClient],
    toy: ToyModelServer,
    query: str,
    more: str,
    asked: str,
) -> None:
    """`pixels_top` is asked as far as it tells, unless somebody (a shadow) looks at all the scores."""
    toy.model.signatures = WITH_TOP
    response = client_of(more=more).post(PATH + query, data=RED)
    assert response.json == ANSWER[: len(response.json or [])]
    assert toy.model.requests[0]["signature_name"] == asked


def test_a_preprocess_function_keeps_its_numbers(
    client_of: Callable[..., FlaskClient], toy: ToyModelServer, tmp_path: Any
) -> None:
    """What a deployment's own preprocess function makes goes to `serving_default`, even if there is `pixels_top`."""
    toy.model.signatures = WITH_TOP
    (tmp_path / "my_toy_preprocess.py").write_text(
        "import numpy as np\ndef preprocess(image): return np.asarray(image, np.float32)\n"
    )
    client = client_of(more='preprocess = "my_toy_preprocess:preprocess"')
    assert client.post(f"{PATH}?top=1", data=RED).json == ANSWER[:1]
    assert toy.model.requests[0]["signature_name"] == "serving_default"


def test_a_decode_function_gets_all_the_scores(
    client_of: Callable[..., FlaskClient], toy: ToyModelServer, tmp_path: Any
) -> None:
    """A deployment's own decode function is never given the best alone."""
    toy.model.signatures = WITH_TOP
    (tmp_path / "my_toy_decode.py").write_text("def decode(scores, top): return len(scores)\n")
    client = client_of(more='decode = "my_toy_decode:decode"')
    assert client.post(f"{PATH}?top=1", data=RED).json == 3


@pytest.mark.parametrize(
    "row",
    [
        [0.5, 0.5],
        {"scores": [0.5]},
        {"scores": [0.5], "classes": [0, 1]},
        {"scores": 0.5, "classes": 0},
        {"scores": [0.5], "classes": ["red"]},
        {"scores": [0.5], "classes": [3]},
        {"scores": [0.5], "classes": [-1]},
    ],
)
def test_what_is_no_row_of_best_classes(
    client: FlaskClient, toy: ToyModelServer, row: object
) -> None:
    """An answer that cannot be understood is the model server's failure, told in a sentence."""
    toy.model.signatures = WITH_TOP
    toy.model.answer = (200, orjson.dumps({"predictions": [row]}))
    response = client.post(f"{PATH}?top=1", data=RED)
    assert response.status_code == 502
    assert response.content_type == "application/problem+json"


def test_labels_are_counted_even_if_only_the_best_are_told(
    client: FlaskClient, toy: ToyModelServer
) -> None:
    """Labels that are not one for each class are a mistake that is told, whichever signature was asked."""
    toy.model.signatures = WITH_TOP | {"pixels": with_scores(BYTES, 4)}
    response = client.post(f"{PATH}?top=1", data=RED)
    assert response.status_code == 502
    assert "4 scores, but 3 labels" in (response.json or {})["detail"]


def test_float_instances_otherwise(client: FlaskClient, toy: ToyModelServer) -> None:
    """A model that someone else exported gets preprocessed numbers, height first."""
    toy.model.signatures = {"serving_default": FLOATS, "__saved_model_init_op": {"inputs": {}}}
    assert client.post(PATH, data=RED).json == ANSWER
    [sent] = toy.model.requests
    assert sent["signature_name"] == "serving_default"
    assert np.shape(sent["instances"]) == (1, 4, 6, 3)


def test_the_only_signature_is_taken(client: FlaskClient, toy: ToyModelServer) -> None:
    """Without `serving_default` the only signature that takes numbers is used."""
    toy.model.signatures = {"mine": FLOATS}
    assert client.post(PATH, data=RED).json == ANSWER


def test_convention_is_applied_to_floats(
    client_of: Callable[..., FlaskClient], toy: ToyModelServer
) -> None:
    """Float instances are preprocessed by the model's convention."""
    toy.model.signatures = {"serving_default": FLOATS}
    client_of(more='preprocess = "tf"').post(PATH, data=RED)
    assert toy.model.requests[0]["instances"][0][0][0] == pytest.approx([1.0, -0.6, -1.0])


def test_a_model_wholly_its_own(client_of: Callable[..., FlaskClient], tmp_path: Any) -> None:
    """A deployment's own preprocess and decode functions are found beside its models file."""
    (tmp_path / "my_toy_model.py").write_text(
        "import numpy as np\n"
        "def preprocess(image): return np.asarray(image, np.float32)[:1, :1]\n"
        "def decode(scores, top): return {'most': float(scores.max()), 'nan': np.float32('nan'), 'top': top}\n"
    )
    client = client_of(
        more='preprocess = "my_toy_model:preprocess"\ndecode = "my_toy_model:decode"'
    )
    response = client.post(f"{PATH}?top=3", data=RED)
    assert response.json == {"most": 1.0, "nan": None, "top": 3}


def test_hello_and_models(client: FlaskClient, toy: ToyModelServer) -> None:
    """The list of models tells route, labels, input size, upstream, versions and state."""
    assert "Hello" in (client.get("/hello/").json or {})["message"]
    [model] = client.get("/models/").json or []
    assert model["name"] == "colours"
    assert model["route"] == PATH
    assert model["labels"] == 3
    assert model["input_size"] == [4, 6]
    assert model["upstream"] == [toy.url]
    assert model["state"] == "AVAILABLE"
    assert model["versions"] == [{"version": 1, "state": "AVAILABLE"}]


def test_plus_signs_that_became_spaces(client: FlaskClient) -> None:
    """A form whose plus signs were not escaped is read all the same."""
    picture = next(
        file for red in range(256) if "+" in base64.b64encode(file := encoded((red, 7, 9))).decode()
    )
    body = f"b64={urllib.parse.quote(base64.b64encode(picture).decode(), safe='+')}"
    kind = "application/x-www-form-urlencoded"
    assert client.post(PATH, data=body, content_type=kind).status_code == 200


def test_forms_whose_plus_signs_were_escaped(client: FlaskClient) -> None:
    """Where they were, a plus sign that was not is a space, which base64 may hold."""
    picture = next(
        file for red in range(256) if "+" in base64.b64encode(file := encoded((red, 7, 9))).decode()
    )
    text = f" data:image/png;base64, {base64.b64encode(picture).decode()} "
    assert client.post(PATH, data={"b64": text}).status_code == 200


def test_bodies_that_are_compressed(client: FlaskClient) -> None:
    """What the router does not take is named: not the picture is wrong, but its encoding."""
    response = client.post(PATH, data=gzip.compress(RED), headers={"Content-Encoding": "gzip"})
    assert response.status_code == 400
    assert "content encoding 'gzip'" in response.get_json(force=True)["detail"]


def test_a_deadline_counts_while_pictures_are_decoded(
    client_of: Callable[..., FlaskClient], toy: ToyModelServer
) -> None:
    """When time is up the pictures that are left are not decoded, and the model is not asked."""
    client = client_of(decode_concurrency=1)
    large = io.BytesIO()
    Image.new("RGB", (5000, 5000)).save(large, "PNG")
    body = {"instances": [{"b64": base64.b64encode(large.getvalue()).decode()}] * 32}
    response = client.post(PATH, json=body, headers={"X-Request-Timeout": "0.5"})
    assert response.status_code == 504
    assert response.get_json(force=True)["title"] == "Deadline passed"
    assert not toy.model.requests
    assert response.headers["Server-Timing"].count("decode") == 1
