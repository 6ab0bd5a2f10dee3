"""Shares of the traffic by version label, sticky by a header, and a shadow that nobody waits for."""

from __future__ import annotations

import collections
import logging
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from flask_server.traffic import SHADOWS_AT_ONCE, difference, in_order, point_of
from tests.flask_server.conftest import encoded
from tests.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient

    from tests.flask_server.toy_model_server import ToyModelServer

    ClientOf = Callable[..., FlaskClient]

PATH = "/colours/predict/"
SHARES = "traffic = { stable = 75, canary = 25 }\nsticky_header = 'X-User'\n"


def version(client: FlaskClient, query: str = "", **headers: str) -> str:
    """The version that answers a picture."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    answer = client.post(PATH + query, data=encoded(), content_type="image/png", headers=names)
    assert answer.status_code == 200, answer.text
    return answer.headers["X-Model-Version"]


@pytest.fixture
def labelled(toy: ToyModelServer) -> ToyModelServer:
    """A model server with versions 1 (stable), 2 (canary) and 3."""
    toy.model.versions = [1, 2, 3]
    toy.model.labels = {"stable": 1, "canary": 2}
    return toy


@pytest.mark.usefixtures("labelled")
def test_shares_are_kept(client_of: ClientOf) -> None:
    """Of 400 users, about a quarter meet the canary's version, and none any other."""
    client = client_of(SHARES)
    met = collections.Counter(version(client, X_User=str(user)) for user in range(400))
    assert set(met) == {"1", "2"}
    assert 70 <= met["2"] <= 130


@pytest.mark.usefixtures("labelled")
def test_a_user_stays_with_a_label(client_of: ClientOf) -> None:
    """The same header value meets the same version every time; without the header, both are met."""
    client = client_of(SHARES)
    for user in ("ada", "grace"):
        assert len({version(client, X_User=user) for _ in range(20)}) == 1
    assert len({version(client) for _ in range(60)}) == 2


@pytest.mark.usefixtures("labelled")
def test_a_named_version_is_not_shared_out(client_of: ClientOf) -> None:
    """`?version=` and `?version_label=` mean what they say."""
    client = client_of(SHARES)
    assert {version(client, "?version=3") for _ in range(5)} == {"3"}
    assert {version(client, "?version_label=canary") for _ in range(5)} == {"2"}


def test_a_label_that_nobody_bears_costs_no_request(
    client_of: ClientOf, labelled: ToyModelServer
) -> None:
    """The share of a label that is not served goes to the others, and without any to the newest version."""
    client = client_of(SHARES)
    labelled.model.labels = {"canary": 2}
    assert {version(client) for _ in range(10)} == {"2"}
    labelled.model.labels = {}
    fresh = client_of(SHARES)
    assert {version(fresh) for _ in range(10)} == {"3"}


def test_growing_shares_move_few() -> None:
    """When the canary's share grows, everyone who met it meets it still."""
    users = [point_of(str(number)) for number in range(1000)]
    for before, after in ((10, 20), (20, 50), (50, 100)):
        small = {p for p in users if next(in_order({"a": 100 - before, "b": before}, p)) == "b"}
        large = {p for p in users if next(in_order({"a": 100 - after, "b": after}, p)) == "b"}
        assert small < large


def test_points_lie_within_the_shares() -> None:
    """Every point from 0 up to 1 has a label, and a share of 0 has no points."""
    shares = {"none": 0.0, "a": 0.1, "b": 0.2}
    assert next(in_order(shares, 0.0)) == "a"
    assert next(in_order(shares, 0.999999)) == "b"
    assert list(in_order(shares, 0.0)) == ["a", "b"]
    assert all(0 <= point_of(str(number)) < 1 for number in range(100))


def test_the_shadow_is_asked_too(
    client_of: ClientOf, labelled: ToyModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The shadow gets the same picture, its answer is compared in the log, and the client's is the stable one's."""
    client = client_of("traffic = { stable = 1 }\nshadow = 'canary'\n")
    with caplog.at_level(logging.INFO, "flask_server.traffic"):
        assert version(client) == "1"
        wait_until(lambda: "shadow model=colours" in caplog.text, seconds=10, what="shadow")
    assert "version=2 images=1 same_best=1 largest_shift=0.0000" in caplog.text
    told = client.get("/metrics").text
    assert 'router_shadow_images_total{model="colours",outcome="same",version="2"}' in told
    assert 'router_shadow_seconds_count{model="colours",version="2"}' in told
    bodies = [{**one, "path": None, "headers": None} for one in labelled.model.requests]
    assert bodies[0] == bodies[1]


def test_the_shadow_is_not_compared_with_itself(
    client_of: ClientOf, labelled: ToyModelServer
) -> None:
    """Where the traffic's share, or the client, has asked the shadow's label already, it is not asked again."""
    client = client_of("traffic = { canary = 1 }\nshadow = 'canary'\n")
    assert version(client) == version(client, "?version_label=canary") == "2"
    time.sleep(0.3)  # for the shadow that there must not be
    assert len(labelled.model.requests) == 2


def test_a_slow_or_broken_shadow_is_nobodys_business(
    client_of: ClientOf, labelled: ToyModelServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A shadow that is not served, or one that hangs, neither delays nor fails an answer, and they do not pile up."""
    client = client_of("shadow = 'nobody'\n")
    assert version(client) == "3"
    wait_until(lambda: "label=nobody failed" in caplog.text, seconds=10, what="the shadow failed")
    failed = 'router_shadow_images_total{model="colours",outcome="failed",version=""}'
    wait_until(lambda: failed in client.get("/metrics").text, seconds=10, what="it is counted")
    slow = client_of("traffic = { stable = 1 }\nshadow = 'canary'\n")
    labelled.model.requests.clear()
    labelled.model.slow_version = 2
    for _ in range(SHADOWS_AT_ONCE + 3):
        assert version(slow) == "1"
    asked = [one["path"] for one in labelled.model.requests]
    assert sum("/versions/2:" in path for path in asked) <= SHADOWS_AT_ONCE
    labelled.model.released.set()


@pytest.mark.parametrize(
    ("row", "other", "expected"),
    [
        (np.array([0.1, 0.9]), np.array([0.3, 0.7]), (1, 0.2)),
        (np.array([0.1, 0.9]), np.array([0.6, 0.4]), (0, 0.5)),
        (np.array([0.1, 0.9]), np.array([1.0]), (0, float("inf"))),
        ({"a": 1.0}, {"a": 1.0}, (0, float("inf"))),
    ],
)
def test_difference_of_rows(row: Any, other: Any, expected: tuple[int, float]) -> None:
    """Rows are compared by their best class and by the score that moved most."""
    same, shift = difference([row], [other])
    assert (same, shift) == (expected[0], pytest.approx(expected[1]))
