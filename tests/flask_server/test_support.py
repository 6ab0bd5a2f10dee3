"""Teaching through the router, and predictions by exactly what was taught, whichever replica answers."""

from __future__ import annotations

import base64
import io
import re
import threading
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from PIL import Image

from flask_server import create_app
from flask_server.errors import NothingTaught, UpstreamTimeout
from flask_server.served_versions import Call
from flask_server.settings import Settings
from flask_server.support_store import FileSupportStore
from flask_server.taught import Taught, picture_text, taught_labels
from tests.flask_server.conftest import encoded

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from flask.testing import FlaskClient

PIXELS = np.zeros((4, 6, 3), np.uint8)


def in_a_minute() -> Call:
    """A call with time enough."""
    return Call(deadline=time.monotonic() + 60)


class ForgetfulServers:
    """Two replicas, asked in turn, that remember a support set as the few-shot SavedModel does."""

    def __init__(self) -> None:
        self.held: list[tuple[int, tuple[str, ...]]] = [(0, ()), (0, ())]
        self.asked: list[str] = []

    def outputs(
        self, signature: str, inputs: Mapping[str, Any], _: Call
    ) -> tuple[dict[str, Any], int]:
        """Answer with the labels held, evenly scored."""
        self.asked.append(signature)
        replica = len(self.asked) % 2
        if signature == "serve_with_support_set":
            self.held[replica] = (inputs["support_version"], tuple(inputs["support_labels"]))
        version, labels = self.held[replica]
        count = len(inputs["images"])
        classes = list(dict.fromkeys(labels))
        scores = [1 / len(classes)] * len(classes) if classes else []
        return {
            "classes": [classes] * count,
            "scores": [scores] * count,
            "support_version": [version] * count,
        }, 1


@pytest.fixture
def store(tmp_path: Path) -> FileSupportStore:
    """An empty store."""
    return FileSupportStore(tmp_path / "support.sqlite3")


@pytest.fixture
def servers() -> ForgetfulServers:
    """Two replicas that know nothing."""
    return ForgetfulServers()


@pytest.fixture
def taught(servers: ForgetfulServers, store: FileSupportStore) -> Taught:
    """The upstream of a few-shot model."""
    return Taught(servers, store, "m")  # type: ignore[arg-type]


def test_nothing_taught_asks_nobody(taught: Taught, servers: ForgetfulServers) -> None:
    """Before the first label, and after all were deleted, there is an error and no call."""
    with pytest.raises(NothingTaught):
        taught.predict([PIXELS], in_a_minute())
    assert servers.asked == []


def test_every_answer_is_by_what_is_stored(
    taught: Taught, servers: ForgetfulServers, store: FileSupportStore
) -> None:
    """Whatever the replicas hold, restarted or taught by others meanwhile, the labels are the store's."""
    expected: list[str] = []
    for label in ("a", "b", "c"):
        store.add("m", label, ["x"], most=9)
        expected.append(label)
        for _ in range(3):
            rows, _ = taught.predict([PIXELS, PIXELS], in_a_minute())
            assert [list(row) for row in rows] == [expected] * 2
        servers.held[0] = (0, ())
        servers.held[1] = (99, ("stranger",))
    store.delete("m", None)
    with pytest.raises(NothingTaught):
        taught.predict([PIXELS], in_a_minute())


def test_taught_replicas_are_asked_once(
    taught: Taught, servers: ForgetfulServers, store: FileSupportStore
) -> None:
    """Once both hold the set, a prediction is one call."""
    store.add("m", "a", ["x"], most=9)
    for _ in range(4):
        taught.predict([PIXELS], in_a_minute())
    servers.asked.clear()
    taught.predict([PIXELS], in_a_minute())
    assert servers.asked == ["decode_and_serve"]


def test_one_at_a_time_brings_the_set_along(taught: Taught, store: FileSupportStore) -> None:
    """A request that waits for another to teach gives up at its deadline."""
    store.add("m", "a", ["x"], most=9)
    holder = threading.Event()

    def hold() -> None:
        with taught._teaching:
            holder.wait(30)

    thread = threading.Thread(target=hold)
    thread.start()
    with pytest.raises(UpstreamTimeout):
        taught.predict([PIXELS], Call(deadline=time.monotonic() + 0.2))
    holder.set()
    thread.join()


def test_pictures_lose_nothing() -> None:
    """What a model server decodes is what the router prepared, in colour and in gray."""
    for channels in (3, 1):
        pixels = np.random.default_rng(0).integers(0, 256, (5, 7, channels)).astype(np.uint8)
        file = base64.urlsafe_b64decode(picture_text(pixels))
        again = np.asarray(Image.open(io.BytesIO(file)))
        assert (again.reshape(pixels.shape) == pixels).all()


def test_labels_have_keras_shape() -> None:
    """The answer is `[[label, label, score], ...]`, cut to the best few."""
    assert taught_labels({"a": 0.7, "b": 0.2, "c": 0.1}, 2) == [["a", "a", 0.7], ["b", "b", 0.2]]


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    """A router with a few-shot model, whose model server is down."""
    path = tmp_path / "models.toml"
    path.write_text(
        '[shots]\ninput_size = [4, 6]\nsupport_set = true\nupstream = "http://127.0.0.1:9"\n'
        '[plain]\ninput_size = [4, 6]\nupstream = "http://127.0.0.1:9"\n'
    )
    return create_app(
        Settings(models_file=path, state_dir=tmp_path / "state", max_support_pictures=3)
    ).test_client()


def b64() -> str:
    """A picture as base64."""
    return base64.b64encode(encoded()).decode()


def test_teaching_is_counted(client: FlaskClient) -> None:
    """JSON, a form and a raw body teach; GET tells the counts; DELETE forgets one label or all."""
    answer = client.post("/shots/support/", json={"label": " cat ", "b64": b64()})
    assert answer.get_json()["labels"] == {"cat": 1}
    said = orjson.dumps({"label": "dog", "b64": b64()})
    client.post("/shots/support/", data=said, content_type="text/plain")  # as fetch() sends text
    answer = client.post("/shots/support/?label=dog", data=encoded(), content_type="image/png")
    assert answer.get_json()["labels"] == {"cat": 1, "dog": 2}
    assert client.get("/shots/support/").get_json() == answer.get_json()
    assert client.delete("/shots/support/?label=cat").get_json()["labels"] == {"dog": 2}
    assert client.delete("/shots/support/").get_json()["labels"] == {}


def test_teaching_is_measured_as_predicting_is(client: FlaskClient) -> None:
    """The stages of a taught picture are in `Server-Timing`, its pixels in the metrics."""
    answer = client.post("/shots/support/", json={"label": "cat", "b64": b64()})
    stages = re.findall(r"(\w+);dur=", answer.headers["Server-Timing"])
    assert {"receive", "decode", "preprocess"} <= set(stages)
    pixels = re.search(
        r'router_image_pixels_sum\{model="shots"\} (\S+)', client.get("/metrics").text
    )
    assert pixels is not None
    assert float(pixels[1]) >= 12 * 8


def test_a_restarted_router_knows_what_was_taught(client: FlaskClient) -> None:
    """What was taught outlives the router."""
    client.post("/shots/support/", json={"label": "cat", "b64": b64()})
    settings = client.application.extensions["router"].settings
    assert create_app(settings).test_client().get("/shots/support/").get_json()["labels"] == {
        "cat": 1
    }


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"b64": "x"}, 400),
        ({"label": "cat"}, 400),
        ({"label": "", "b64": "x"}, 400),
        ({"label": "a\x00b", "b64": "x"}, 400),
        ({"label": "a" * 101, "b64": "x"}, 400),
        ({"label": 1, "b64": "x"}, 400),
        ([], 400),
        ({"label": "cat", "b64": "AAAA"}, 400),
        ({"label": "cat", "instances": [{"b64": b64()}, {"b64": "AAAA"}]}, 400),
        ({"label": "cat", "instances": [{"b64": b64()}] * 4}, 413),
        ({"label": "cat", "url": "http://127.0.0.1/"}, 403),
    ],
)
def test_wrong_lessons_teach_nothing(client: FlaskClient, body: Any, status: int) -> None:
    """What is wrong is a problem document, and not one picture of it is kept."""
    answer = client.post("/shots/support/", json=body)
    assert (answer.status_code, answer.content_type) == (status, "application/problem+json")
    assert client.get("/shots/support/").get_json()["labels"] == {}


def test_failures_have_their_statuses(client: FlaskClient) -> None:
    """Nothing taught is 409, an unknown label 404, a server that is down 503, another model's support set 404."""
    assert client.post("/shots/predict/", json={"b64": b64()}).status_code == 409
    assert client.delete("/shots/support/?label=cat").status_code == 404
    client.post("/shots/support/", json={"label": "cat", "b64": b64()})
    assert client.post("/shots/predict/", json={"b64": b64()}).status_code == 503
    assert client.get("/plain/support/").status_code == 404
