from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections import Counter
from typing import TYPE_CHECKING

import numpy as np
import pytest

from flask_server.admission import Places
from flask_server.errors import (
    ClientGone,
    TooBusy,
    UpstreamError,
    UpstreamTimeout,
    UpstreamUnavailable,
)
from flask_server.replicas import Replica, ReplicaPool, Replicas, RetryBudget
from flask_server.served_versions import Call
from flask_server.transport import Answer, Exchange, HttpTransport
from flask_server.upstream import Upstream
from model_config import load_deployment
from tests.flask_server.conftest import encoded
from tests.flask_server.toy_model_server import ToyModelServer
from tests.processes import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask.testing import FlaskClient

RED = encoded((255, 51, 0))
PATH = "/colours/predict/"
PIXELS = np.zeros((4, 6, 3), np.uint8)


class Recorded:
    """A transport without a network: answers from a list, exceptions included."""

    def __init__(self, *answers: Answer | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def exchange(self, request: Exchange, *, connect_seconds: float) -> Answer:
        """The next of the answers."""
        self.asked.append(f"{request.method} {request.path} {connect_seconds}")
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def close(self) -> None:
        """There is nothing to close."""


METADATA = Answer(
    200,
    b'{"model_spec": {"version": "3"}, "metadata": {"signature_def": {"signature_def":'
    b' {"pixels": {"inputs": {"x": {"dtype": "DT_STRING"}}}}}}}',
)
SCORES = Answer(200, b'{"predictions": [[0.5, 0.25, 0.25]]}')


@pytest.fixture
def upstream_of(models_file: Callable[..., Path]) -> Callable[..., Upstream]:
    """An `Upstream` whose replicas have these transports."""

    def make(*transports: Recorded, seconds: float = 30) -> Upstream:
        tables = models_file(colours={"more": f"timeout_seconds = {seconds}"})
        config = load_deployment(tables).models["colours"]
        replicas = [Replica(f"http://r{n}", one) for n, one in enumerate(transports)]
        return Upstream(config, Replicas(replicas), lambda pixels: pixels.astype(np.float32))

    return make


def call(seconds: float = 5) -> Call:
    """A call that waits so long."""
    return Call(deadline=time.monotonic() + seconds)


def test_asks_for_the_version_first(upstream_of: Callable[..., Upstream]) -> None:
    """The version that the metadata name is the one that predicts, so that it can be told truthfully."""
    transport = Recorded(METADATA, SCORES, SCORES)
    upstream = upstream_of(transport)
    for _ in range(2):
        rows, version = upstream.predict([PIXELS], call())
        assert version == 3
        assert rows[0].tolist() == [0.5, 0.25, 0.25]
    asked = [line.rsplit(" ", 1)[0] for line in transport.asked]
    assert asked == [
        "GET /v1/models/colours/metadata",
        "POST /v1/models/colours/versions/3:predict",
        "POST /v1/models/colours/versions/3:predict",
    ]


@pytest.mark.parametrize(
    "failure",
    [
        ConnectionRefusedError(),
        ConnectionResetError(),
        Answer(503, b'{"error": "busy"}'),
        Answer(429, b""),
        Answer(500, b'{"error": "out of memory"}'),
        Answer(200, b"<html>"),
    ],
)
def test_another_replica_is_asked(
    upstream_of: Callable[..., Upstream], failure: Answer | Exception
) -> None:
    """A replica that is gone, breaks off, is busy or answers with no predictions is passed over."""
    one = Recorded(METADATA, failure, METADATA, failure)
    other = Recorded(METADATA, SCORES, SCORES)
    upstream = upstream_of(one, other)
    for _ in range(2):
        assert upstream.predict([PIXELS], call())[1] == 3


def test_a_timeout_is_not_tried_again(upstream_of: Callable[..., Upstream]) -> None:
    """After a timeout no time is left for another replica."""
    transports = [Recorded(METADATA, TimeoutError()) for _ in range(2)]
    with pytest.raises(UpstreamTimeout):
        upstream_of(*transports).predict([PIXELS], call())
    assert sum(len(one.asked) for one in transports) == 2


NO_VERSION = Answer(404, b'{"error": "Servable not found"}')
WRONG = Answer(500, b"")


@pytest.mark.parametrize(
    "failing", [[METADATA, WRONG], [NO_VERSION]], ids=["predictions", "versions"]
)
def test_a_replica_that_does_worse_is_set_aside(
    upstream_of: Callable[..., Upstream], failing: list[Answer]
) -> None:
    """One that fails at what another then answers gets no more of the traffic for a while."""
    bad, good = Recorded(*failing), Recorded(METADATA, *[SCORES] * 8)
    upstream = upstream_of(bad, good)
    for _ in range(8):
        assert upstream.predict([PIXELS], call())[1] == 3
    assert len(bad.asked) == len(failing)


def test_a_request_that_no_replica_can_answer(upstream_of: Callable[..., Upstream]) -> None:
    """What fails everywhere is the request's own fault: no replica is set aside for it."""
    transports = [Recorded(METADATA, WRONG, WRONG, SCORES) for _ in range(2)]
    upstream = upstream_of(*transports)
    for _ in range(2):
        with pytest.raises(UpstreamError):
            upstream.predict([PIXELS], call())
    assert [upstream.predict([PIXELS], call())[1] for _ in range(2)] == [3, 3]
    assert [one.answers for one in transports] == [[], []]


def test_only_a_prediction_ends_a_failure() -> None:
    """A replica that tells its state and hangs when it is to predict is tried again ever more seldom."""
    replica = Replica("http://r", Recorded(METADATA))
    replica.put_aside()
    replica.exchange(status())
    replica.put_aside()
    assert replica.failures == 2
    replica.has_predicted()
    assert (replica.failures, replica.set_aside) == (0, False)


class Silent(Recorded):
    """A transport that answers what it has, and then nothing until the deadline."""

    def exchange(self, request: Exchange, *, connect_seconds: float) -> Answer:
        """The next of the answers, or a timeout."""
        if self.answers:
            return super().exchange(request, connect_seconds=connect_seconds)
        time.sleep(max(request.deadline - time.monotonic(), 0))
        raise TimeoutError


@pytest.mark.parametrize(("seconds", "aside"), [(0.15, True), (0.05, False)])
def test_a_replica_that_hangs_is_set_aside(
    upstream_of: Callable[..., Upstream], seconds: float, aside: bool
) -> None:
    """Silent for half of the model's own time, a replica is set aside; not for the little that a client grants."""
    upstream = upstream_of(Silent(METADATA), seconds=0.2)
    with pytest.raises(UpstreamTimeout):
        upstream.predict([PIXELS], call(seconds))
    assert upstream._replicas.all[0].set_aside is aside


def test_states_despite_a_replica_that_hangs(upstream_of: Callable[..., Upstream]) -> None:
    """How a model stands is told by the replicas that answer, whichever hangs."""
    told = Answer(200, b'{"model_version_status": [{"version": "3", "state": "AVAILABLE"}]}')
    assert upstream_of(Silent(), Recorded(told)).states() == {3: "AVAILABLE"}


def test_only_one_retry(upstream_of: Callable[..., Upstream]) -> None:
    """After two replicas have broken off the third is spared."""
    transports = [Recorded(ConnectionResetError()) for _ in range(3)]
    with pytest.raises(UpstreamUnavailable):
        upstream_of(*transports).predict([PIXELS], call())
    assert sum(len(one.asked) for one in transports) == 2


def test_retry_budget() -> None:
    """Retries run out where every request fails, and come back by one for ten requests."""
    budget = RetryBudget()
    assert sum(budget.spend() for _ in range(1000)) == 64
    for _ in range(11):
        budget.earn()
    assert [budget.spend(), budget.spend()] == [True, False]


def test_least_busy_first() -> None:
    """The replica with the fewest requests in flight is asked."""
    replicas = [Replica(f"http://r{n}", Recorded()) for n in range(3)]
    for replica, busy in zip(replicas, (2, 0, 1), strict=True):
        replica.in_flight = busy
    assert [one.url[-1] for one in Replicas(replicas).in_order()] == ["1", "2", "0"]


def test_ties_are_shared() -> None:
    """Equally busy replicas take turns."""
    replicas = Replicas([Replica(f"http://r{n}", Recorded()) for n in range(2)])
    assert Counter(next(replicas.in_order()).url for _ in range(10)) == {
        "http://r0": 5,
        "http://r1": 5,
    }


def test_a_broken_replica_comes_last_and_is_tried_again() -> None:
    """A replica that failed is asked last, for a while; then one request tries it."""
    broken, sound = Replica("http://broken", Recorded()), Replica("http://sound", Recorded(SCORES))
    broken.put_aside()
    replicas = Replicas([broken, sound])
    assert [next(replicas.in_order()) for _ in range(4)] == [sound] * 4
    time.sleep(0.26)
    with sound.busy():
        assert next(replicas.in_order()) is broken
        with broken.busy():
            assert next(replicas.in_order()) is sound


class FarAway(Recorded):
    """A transport that takes half a second to connect."""

    def exchange(self, request: Exchange, *, connect_seconds: float) -> Answer:
        """The next of the answers, if there is time for it."""
        if connect_seconds < 0.5:
            raise ConnectionRefusedError
        return super().exchange(request, connect_seconds=connect_seconds)


def test_a_replica_far_away_recovers(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that failed is given little time to connect, but now and then as much as any other."""
    replica = Replica("http://far", FarAway(METADATA, METADATA))
    now = time.monotonic()
    replica.exchange(status())
    replica.put_aside()
    with pytest.raises(ConnectionRefusedError):
        replica.exchange(status())
    monkeypatch.setattr("flask_server.replicas.time.monotonic", lambda: now + 6)
    assert replica.exchange(status()) == METADATA


def test_places_are_bounded() -> None:
    """So many requests have a place, so many wait, the next is sent away."""
    places = Places("m", concurrency=1, queue=1)
    soon = time.monotonic() + 0.1
    with places.take(soon):
        with pytest.raises(UpstreamTimeout):
            places.take(soon)
        waiting = threading.Thread(target=lambda: places.take(time.monotonic() + 5).close())
        waiting.start()
        while places._inside < 2:
            time.sleep(0.01)
        with pytest.raises(TooBusy):
            places.take(soon)
    waiting.join()
    assert places._inside == 0


def test_transport_refused() -> None:
    """A port that nobody listens on is a refused connection, at once."""
    transport = HttpTransport(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(ConnectionRefusedError):
        transport.exchange(Exchange("GET", "/", time.monotonic() + 5, {}), connect_seconds=1)


@pytest.fixture
def transport(toy: ToyModelServer) -> Iterator[HttpTransport]:
    """A connection to the toy server."""
    made = HttpTransport(toy.url)
    yield made
    made.close()


def status(seconds: float = 5, client: int | None = None) -> Exchange:
    """A request for the toy's status."""
    return Exchange("GET", "/v1/models/x", time.monotonic() + seconds, {}, client=client)


def test_transport_keeps_connections(transport: HttpTransport, toy: ToyModelServer) -> None:
    """One connection serves one request after another."""
    for _ in range(5):
        assert transport.exchange(status(), connect_seconds=1).status == 200
    assert len(toy.connections) == 1


def test_transport_after_the_server_hung_up(transport: HttpTransport, toy: ToyModelServer) -> None:
    """A kept-alive connection that the server closed while idle fails no request."""
    for _ in range(3):
        assert transport.exchange(status(), connect_seconds=1).status == 200
        toy.hang_up()


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n"])
def test_an_answer_that_trickles_has_no_more_time_than_another(head: bytes) -> None:
    """The deadline is for all of the answer, its head and its body, however often a byte of it comes."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def trickle() -> None:
            server, _ = listener.accept()
            with server, contextlib.suppress(OSError):
                server.sendall(head or b"HTTP/1.1 200")
                for _ in range(20):
                    server.sendall(b" ")
                    time.sleep(0.1)

        thread = threading.Thread(target=trickle)
        thread.start()
        transport = HttpTransport(f"http://127.0.0.1:{listener.getsockname()[1]}")
        begun = time.monotonic()
        with pytest.raises(TimeoutError):
            transport.exchange(status(0.5), connect_seconds=1)
        assert time.monotonic() - begun < 1.8
        thread.join()


def test_a_deadline_that_ends_a_connect_says_nothing_of_the_server() -> None:
    """Who gives a replica less time than it takes to connect is too late; the replica is not set aside for others."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener:
        address = listener.getsockname()
        waiting = [socket.socket() for _ in range(3)]  # a full backlog lets nobody in
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(address)
        replica = Replica("", HttpTransport(f"http://127.0.0.1:{address[1]}"))
        with pytest.raises(TimeoutError):
            replica.exchange(status(0.05))
        assert not replica.set_aside
        with pytest.raises(ConnectionRefusedError):
            replica.exchange(status(5))
        assert replica.set_aside
        for one in waiting:
            one.close()


def test_client_that_goes_away(transport: HttpTransport, toy: ToyModelServer) -> None:
    """Waiting ends when the client hangs up."""
    toy.model.delay_seconds = 3
    ours, theirs = socket.socketpair()
    threading.Timer(0.2, theirs.close).start()
    request = Exchange(
        "POST",
        "/v1/models/x:predict",
        time.monotonic() + 5,
        {},
        b'{"instances": []}',
        ours.fileno(),
    )
    begun = time.monotonic()
    with pytest.raises(ClientGone):
        transport.exchange(request, connect_seconds=1)
    assert time.monotonic() - begun < 2
    ours.close()


def test_new_version_under_traffic(client: FlaskClient, toy: ToyModelServer) -> None:
    """Versions come and go while requests run; none fails, and each names the version that answered it."""
    seen = []
    for number in range(1, 12):
        toy.model.versions = [number]
        for _ in range(3):
            response = client.post(PATH, data=RED)
            assert response.status_code == 200
            seen.append(int(response.headers["X-Model-Version"]))
            assert toy.model.requests[-1]["path"].endswith(f"/versions/{seen[-1]}:predict")
    assert seen == sorted([*range(1, 12)] * 3)


def test_version_and_label(client: FlaskClient, toy: ToyModelServer) -> None:
    """A version may be named by its number or by a label that the model server knows."""
    toy.model.versions, toy.model.labels = [3, 4], {"stable": 3}
    for query, version in (("", "4"), ("?version=3", "3"), ("?version_label=stable", "3")):
        response = client.post(PATH + query, data=RED)
        assert response.headers["X-Model-Version"] == version


def test_replicas_share_one_busy_count() -> None:
    """Models that are served by the same model server see the same load."""
    pool = ReplicaPool(lambda _: Recorded())
    [one] = pool.replicas(["http://x"]).all
    [same] = pool.replicas(["http://x"]).all
    assert one is same


def test_nothing_is_decoded_for_a_model_that_is_down(client_of: Callable[..., FlaskClient]) -> None:
    """While no replica answers, a request is refused before its image is decoded; recovery needs no help."""
    port = free_port()
    client = client_of(upstream=[f"http://127.0.0.1:{port}"])
    first, second = (client.post(PATH, data=RED) for _ in range(2))
    assert (first.status_code, second.status_code) == (503, 503)
    assert "decode;" in first.headers["Server-Timing"]
    assert "decode;" not in second.headers["Server-Timing"]
    with ToyModelServer(port):
        assert client.post(PATH, data=RED).status_code == 200
