"""How requests are received: what is no HTTP, what is slow, what is too large, what comes in pieces."""

from __future__ import annotations

import contextlib
import os
import random
import re
import resource
import select
import signal
import socket
import threading
import time
from http.client import HTTPConnection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
import pytest

from tests.flask_server.running_router import POST, RED, Router, started, table
from tests.flask_server.toy_model_server import ToyModelServer
from tests.processes import free_port, running, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def router(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Router]:
    """One router for all of these tests."""
    env = {"RECEIVE_TIMEOUT": "1", "MAX_BODY_BYTES": "100000", "DRAIN_SECONDS": "0"}
    with (
        ToyModelServer() as toy,
        started(tmp_path_factory.mktemp("router"), table(toy), **env) as one,
    ):
        yield one


def problem_of(answer: bytes) -> dict[str, Any]:
    """The problem document of a raw answer."""
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Type: application/problem+json" in head, answer
    problem: dict[str, Any] = orjson.loads(body)
    assert head.split(b" ")[1] == str(problem["status"]).encode()
    return problem


BROKEN = {
    "no HTTP": (b"GARBAGE\r\n\r\n", 400),
    "TLS": (b"\x16\x03\x01\x00\xa5\x01\x00\x00\xa1\x03\x03\n\r\n", 400),
    "version": (b"GET / HTTP/7.3\r\n\r\n", 505),
    "method": (b"get / HTTP/1.1\r\n\r\n", 400),
    "long line": (b"GET /" + b"x" * 9000 + b" HTTP/1.1\r\n\r\n", 414),
    "long header": (b"GET / HTTP/1.1\r\nA: " + b"x" * 9000 + b"\r\n\r\n", 431),
    "many headers": (b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 200 + b"\r\n", 431),
    "header name": (b"GET / HTTP/1.1\r\nA b: c\r\n\r\n", 400),
    "two lengths": (POST + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\nxx", 400),
    "length and chunks": (
        POST + b"Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        400,
    ),
    "negative length": (POST + b"Content-Length: -1\r\n\r\n", 400),
    "coding": (POST + b"Transfer-Encoding: br\r\n\r\n", 501),
    "stacked codings": (POST + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 501),
    "chunk size": (POST + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
    "chunk end": (POST + b"Transfer-Encoding: chunked\r\n\r\n1\r\nabcdef\r\n", 400),
    "no host": (b"GET /livez HTTP/1.1\r\n\r\n", 400),
    "expectation": (POST + b"Expect: tea\r\nContent-Length: 1\r\n\r\n", 417),
    "NUL in the path": (b"GET /%00\x00 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
}


@pytest.mark.parametrize(("sent", "status"), BROKEN.values(), ids=BROKEN)
def test_what_is_not_http(router: Router, sent: bytes, status: int) -> None:
    """What is no HTTP request is answered in the same shape as everything else."""
    sent = sent.replace(b"\r\nHost: x", b"\r\nHost: x\r\nConnection: close")
    assert problem_of(router.raw(sent))["status"] == status


def test_body_over_the_limit_is_not_read(router: Router) -> None:
    """A body over the limit is refused by its length, before any of it is sent."""
    begun = time.monotonic()
    sent = POST + b"Connection: close\r\nContent-Length: 99999999999\r\n\r\n"
    problem = problem_of(router.raw(sent))
    assert problem["status"] == 413, problem
    assert time.monotonic() - begun < 3


def test_body_over_the_limit_that_is_sent_all_the_same(router: Router) -> None:
    """A client that sends a body far over the limit without looking still gets its answer."""
    for size in (100_001, 30_000_000):
        sent = POST + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size + bytes(size)
        assert problem_of(router.raw(sent))["status"] == 413


def test_chunked_body_over_the_limit(router: Router) -> None:
    """A body of unknown length is refused as soon as it is over the limit."""
    chunks = b"8000\r\n" + b"x" * 0x8000 + b"\r\n"
    sent = POST + b"Connection: close\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks * 4
    problem = problem_of(router.raw(sent))
    assert problem["status"] == 413, problem


@pytest.mark.parametrize(
    "sent",
    [b"GET /livez HT", POST + b"Content-Length: 500\r\n\r\nabc", POST + b"X: y\r\n"],
    ids=["request line", "body", "headers"],
)
def test_slow_senders_are_cut_off(router: Router, sent: bytes) -> None:
    """A request that trickles in is cut off after RECEIVE_TIMEOUT, however often a byte comes."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", router.port), timeout=8) as connection:
        connection.sendall(sent)
        connection.settimeout(0.2)
        answer = b""
        while not answer and time.monotonic() - begun < 6:
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
                break
            connection.sendall(b"a")
    assert problem_of(answer)["status"] == 408
    assert 0.8 < time.monotonic() - begun < 5


def test_a_page_may_read_that_it_was_too_slow(router: Router) -> None:
    """An answer that comes before the application has seen the request is for the allowed origins, too."""
    for origin, allowed in (
        (b"http://localhost:4200", True),
        (b"http://evil.example", False),
        (b"\xff", False),
    ):
        head = POST + b"Origin: " + origin + b"\r\nContent-Length: 500\r\n\r\n"
        answer = router.raw(head + b"abc")
        assert problem_of(answer)["status"] == 408
        line = b"\r\nAccess-Control-Allow-Origin: " + origin + b"\r\n"
        assert (line in answer, b"Access-Control" in answer) == (allowed, allowed)


def test_nobody_is_told_to_send_a_body_that_will_be_refused(router: Router) -> None:
    """Who asks first whether to send a body over the limit is answered 413 at once."""
    head = b"Connection: close\r\nExpect: 100-continue\r\nContent-Length: 100001\r\n\r\n"
    assert router.raw(POST + head).startswith(b"HTTP/1.1 413 ")


def test_a_chunked_body_that_trickles_is_cut_off(router: Router) -> None:
    """A body that a thread reads has no more time, however fast its bytes come."""
    begun = time.monotonic()
    with socket.create_connection(("127.0.0.1", router.port), timeout=8) as connection:
        connection.sendall(POST + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - begun < 6 and not select.select([connection], [], [], 0)[0]:
                connection.sendall(b"1\r\na\r\n")
                time.sleep(0.0002)
        answer = b""
        with contextlib.suppress(ConnectionError):
            while not answer.endswith(b"}") and (more := connection.recv(65536)):
                answer += more
    assert problem_of(answer)["status"] == 408
    assert 0.8 < time.monotonic() - begun < 5


def test_slow_senders_do_not_keep_others_waiting(router: Router) -> None:
    """While many connections trickle, others are answered."""
    with contextlib.ExitStack() as stack:
        for sent in (
            b"GET /li",
            POST,
            POST + b"Content-Length: 90000\r\n\r\n" + b"x" * 50_000,
        ) * 50:
            slow = stack.enter_context(socket.create_connection(("127.0.0.1", router.port)))
            slow.sendall(sent)
        assert router.predict() == 200


def test_requests_one_after_another_in_one_packet(router: Router) -> None:
    """Pipelined requests are answered in their order; so are those that come in pieces."""
    body = POST + b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n" % len(RED) + RED
    chunked = POST + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(RED), RED)
    last = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = router.raw(body + body + chunked + body + last)
    assert answers.count(b"HTTP/1.1 200 OK") == 5, answers
    assert answers.count(b'"r"') == answers.count(b"X-Model-Version: 1") == 4
    with socket.create_connection(("127.0.0.1", router.port), timeout=5) as connection:
        for piece in [body[start : start + 90] for start in range(0, len(body), 90)]:
            connection.sendall(piece)
            time.sleep(0.02)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(chunked[:100])
        time.sleep(0.05)
        connection.sendall(chunked[100:])
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_large_request_behind_one_of_unknown_length(router: Router) -> None:
    """What came with a chunked request and was not yet looked at keeps its order."""
    chunked = POST + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n"
    chunked += b"%x\r\n%b\r\n0\r\n\r\n" % (len(RED), RED)
    large = b"POST /nobody/ HTTP/1.1\r\nHost: x\r\nContent-Length: 90000\r\n\r\n" + bytes(90000)
    last = b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answers = router.raw(chunked + large + chunked + last)
    statuses = re.findall(rb"HTTP/1.1 (\d{3})", answers)
    assert statuses == [b"200", b"404", b"200", b"200"]


def test_the_beginning_of_another_request_costs_no_thread(tmp_path: Path) -> None:
    """A byte that follows a request waits for the rest like any other beginning, and the rest is answered."""
    request = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
    with (
        ToyModelServer() as toy,
        started(tmp_path, table(toy), THREADS="2", RECEIVE_TIMEOUT="8") as router,
        contextlib.ExitStack() as stack,
    ):
        address = ("127.0.0.1", router.port)
        slow = [stack.enter_context(socket.create_connection(address, 5)) for _ in range(4)]
        for client in slow:
            client.sendall(request + request[:1])
            assert b"alive" in _until(b"alive", client)
        begun = time.monotonic()
        assert router.predict() == 200
        assert time.monotonic() - begun < 4
        for client in slow:
            client.sendall(request[1:])
            assert b"alive" in _until(b"alive", client)


def _until(end: bytes, connection: socket.socket) -> bytes:
    """What comes, until it holds `end` or the connection is closed."""
    received = b""
    while end not in received and (more := connection.recv(65536)):
        received += more
    return received


def test_whole_requests_that_wait_for_a_thread_are_limited(tmp_path: Path) -> None:
    """Beyond 256 MiB of bodies that no thread has taken yet it is 503, and the wait counts as time."""
    body = b"POST /colours/predict/ HTTP/1.1\r\nHost: x\r\nX-Request-Timeout: 1\r\n"
    body += b"Content-Type: image/png\r\nContent-Length: %d\r\n\r\n" % (30 * 2**20)
    body += RED + bytes(30 * 2**20 - len(RED))
    with (
        ToyModelServer() as toy,
        started(tmp_path, table(toy), THREADS="1") as router,
        contextlib.ExitStack() as stack,
    ):
        toy.model.delay_seconds = 3.0
        busy = threading.Thread(target=router.predict)
        busy.start()
        wait_until(lambda: len(toy.model.requests) > 0, seconds=5, what="the only thread is busy")
        address = ("127.0.0.1", router.port)
        clients = [stack.enter_context(socket.create_connection(address, 20)) for _ in range(10)]
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.sendall(body)
        statuses = [client.recv(65536).split(b" ", 2)[1] for client in clients]
        assert statuses[0] == b"504"
        assert statuses.count(b"503") >= 1
        busy.join()


def test_stalled_uploads_give_way(tmp_path: Path) -> None:
    """Beyond 256 MiB of bodies that are not whole, the largest are given up: who comes with less is served."""
    size = 30 * 2**20
    stalled = POST + b"Content-Length: %d\r\n\r\n" % size + bytes(size - 1)
    with (
        ToyModelServer() as toy,
        started(tmp_path, table(toy)) as router,
        contextlib.ExitStack() as stack,
    ):
        address = ("127.0.0.1", router.port)
        clients = [stack.enter_context(socket.create_connection(address, 20)) for _ in range(9)]
        for client in clients:
            with contextlib.suppress(ConnectionError):
                client.sendall(stalled)
        assert b"alive" in router.raw(
            b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        assert router.predict() == 200
        given_up, _, _ = select.select(clients, [], [], 5)
        answer = given_up[0].recv(65536)
        assert problem_of(answer)["status"] == 503
        assert b"\r\nRetry-After: 1\r\n" in answer


def test_no_connection_is_kept(tmp_path: Path) -> None:
    """With KEEP_ALIVE=0 a connection is closed after its answer, not before its request."""
    with ToyModelServer() as toy, started(tmp_path, table(toy), KEEP_ALIVE="0") as router:
        with socket.create_connection(("127.0.0.1", router.port), timeout=5) as late:
            time.sleep(1.5)  # idle connections are looked at every second
            late.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
            answer = _until(b"\0", late)
        assert b"Connection: close\r\n" in answer
        assert b"alive" in answer


def test_a_worker_short_of_files_lives_on(tmp_path: Path) -> None:
    """A worker that can open no file for a connection takes it when there are files again."""
    with ToyModelServer() as toy, started(tmp_path, table(toy)) as router:
        assert router.predict() == 200
        pid = router.program.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children")
        worker = int(children.read_text())
        limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
        resource.prlimit(worker, resource.RLIMIT_NOFILE, (0, limits[1]))
        with socket.create_connection(("127.0.0.1", router.port), timeout=5) as waiting:
            waiting.sendall(b"GET /livez HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            wait_until(
                lambda: "has to wait" in router.program.output(), seconds=5, what="it is short"
            )
            resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)
            assert b"alive" in _until(b"alive", waiting)
        assert int(children.read_text()) == worker


def test_a_slow_upload_takes_nothing_from_the_model(tmp_path: Path) -> None:
    """The model's time begins when all of a body is there, also where a thread receives it."""
    with (
        ToyModelServer() as toy,
        started(tmp_path, table(toy) + "timeout_seconds = 0.5\n") as router,
        socket.create_connection(("127.0.0.1", router.port), timeout=5) as slow,
    ):
        slow.sendall(POST + b"Content-Type: image/png\r\nTransfer-Encoding: chunked\r\n\r\n")
        for piece in (RED[:20], RED[20:]):
            time.sleep(0.4)
            slow.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        slow.sendall(b"0\r\n\r\n")
        assert slow.recv(65536).startswith(b"HTTP/1.1 200")


def test_client_that_waits_to_be_asked(router: Router) -> None:
    """A client that expects 100-continue is told to go on before it sends its body."""
    head = POST + b"Content-Type: image/png\r\nExpect: 100-continue\r\nContent-Length: %d\r\n\r\n"
    with socket.create_connection(("127.0.0.1", router.port), timeout=5) as connection:
        connection.sendall(head % len(RED))
        assert connection.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        connection.sendall(RED)
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")


def test_refused_body_keeps_the_connection(router: Router) -> None:
    """A whole body that no route reads is dropped, and the next request of the connection is answered."""
    connection = HTTPConnection("127.0.0.1", router.port, timeout=5)
    connection.connect()
    connection.auto_open = 0
    with contextlib.closing(connection):
        for method, path, status in (("POST", "/nobody/predict/", 404),) * 2 + (
            ("GET", "/hello/", 200),
        ):
            connection.request(method, path, bytes(90000) if method == "POST" else None)
            answer = connection.getresponse()
            answer.read()
            assert answer.status == status


def test_idle_connections_cost_no_thread(router: Router) -> None:
    """Connections that send nothing leave the threads to others."""
    with contextlib.ExitStack() as stack:
        for _ in range(200):
            stack.enter_context(socket.create_connection(("127.0.0.1", router.port)))
        assert router.predict() == 200


def test_clients_that_do_not_take_their_answer(tmp_path: Path) -> None:
    """Clients that ask for something large and never read it hold up nobody for long."""
    env = {"THREADS": "4", "RECEIVE_TIMEOUT": "1", "DRAIN_SECONDS": "0"}
    with (
        ToyModelServer() as toy,
        started(tmp_path, table(toy), **env) as router,
        contextlib.ExitStack() as stack,
    ):
        for _ in range(8):
            deaf = stack.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect(("127.0.0.1", router.port))
            deaf.sendall(b"GET /docs/swagger-ui-bundle.js HTTP/1.1\r\nHost: x\r\n\r\n" * 8)
        time.sleep(0.2)
        begun = time.monotonic()
        assert router.predict() == 200
        assert time.monotonic() - begun < 8


@pytest.fixture
def crowd(tmp_path: Path) -> Iterator[tuple[Router, list[socket.socket]]]:
    """A router with few files, and more connections that have begun a request than it can hold."""
    few_files = (
        "import resource, runpy\n"
        "resource.setrlimit(resource.RLIMIT_NOFILE, (200, 200))\n"
        "runpy.run_module('flask_server', run_name='__main__')"
    )
    models_file, port = tmp_path / "models.toml", free_port()
    env = {"PORT": str(port), "MODELS_FILE": str(models_file), "WORKERS": "1", "THREADS": "8"}
    with ToyModelServer() as toy, contextlib.ExitStack() as stack:
        models_file.write_text(table(toy))
        program = stack.enter_context(running("-c", few_files, log=tmp_path / "log", env=env))
        program.wait_for(f"http://127.0.0.1:{port}/livez")
        address = ("127.0.0.1", port)
        slow = [stack.enter_context(socket.create_connection(address)) for _ in range(300)]
        for connection in slow:
            connection.sendall(b"GET /li")
        yield Router(program, port, models_file), slow


def test_more_connections_than_a_worker_holds(crowd: tuple[Router, list[socket.socket]]) -> None:
    """Where no more connections fit, the one that has dawdled longest makes room for the next."""
    router, _ = crowd
    for _ in range(3):
        assert router.predict() == 200


def test_who_makes_room_may_say_something_meanwhile(
    crowd: tuple[Router, list[socket.socket]],
) -> None:
    """A new connection, and a byte of the one that has to go for it, at the same moment: the worker lives on."""
    router, slow = crowd
    assert router.predict() == 200
    pid = router.program.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children")
    workers = children.read_text()
    os.kill(int(workers), signal.SIGSTOP)
    with socket.create_connection(("127.0.0.1", router.port)):
        time.sleep(0.1)
        for connection in slow:
            with contextlib.suppress(OSError):
                connection.sendall(b"v")
        os.kill(int(workers), signal.SIGCONT)
        assert router.predict() == 200
    assert children.read_text() == workers


METHODS = ["GET", "POST", "OPTIONS", "HEAD", "PUT", "TRACE", "CONNECT", "FOO", "M-SEARCH"]
TARGETS = [
    "/",
    "*",
    "http://x/livez",
    "x:443",
    "/%ff%fe",
    "/../../etc/passwd",
    "//evil",
    "/livez#x",
    "/;x=1",
]
TARGETS += [
    "/colours/predict/?top=%ff",
    "/colours/predict/?version_label=%0d%0aX:1",
    "/colours//predict/",
]
TARGETS += [
    "/readyz?model=%00%ff",
    "/docs/%2e%2e/app.py",
    "/samples/..%2fapp.py",
    "/hello/%",
    "/a" * 1000,
]
FIELDS = [
    "Origin",
    "Cookie",
    "Range",
    "If-None-Match",
    "If-Modified-Since",
    "Accept",
    "Content-Type",
    "Host",
]
FIELDS += [
    "Content-Encoding",
    "Authorization",
    "X-API-Key",
    "X-Forwarded-For",
    "Forwarded",
    "traceparent",
]
FIELDS += [
    "X-Request-Id",
    "X-Request-Timeout",
    "Access-Control-Request-Headers",
    "Upgrade",
    "Connection",
    "TE",
]
FIELDS += ["Transfer-Encoding", "Content-Length", "X-HTTP-Method-Override", "SCRIPT_NAME", "Date"]
VALUES = [
    "",
    "x",
    "\xff\xfe",
    "a" * 4000,
    "'\"<>&",
    "0",
    "-1",
    "9" * 30,
    "null",
    "*",
    "text/html",
    "[::1",
    "a:b:c",
]
VALUES += [
    "multipart/form-data; boundary=",
    "image/png; x=\xff",
    "bytes=9-1",
    "Bearer \xff",
    "Basic !!",
    "h2c",
]
VALUES += ["chunked", "gzip", "close", "=;,=", "Thu, 99 Foo 9999 99:99:99 GMT", "..", "%00"]


def odd_request(chance: random.Random) -> bytes:
    """A request of parts that are each allowed or nearly so."""
    fields = [
        f"{chance.choice(FIELDS)}: {chance.choice(VALUES)}" for _ in range(chance.randrange(4))
    ]
    body = chance.choice([b"", RED, b"{}", b"[1", b"b64=%", b"--x\r\n\r\n", b"[" * 20_000])
    head = f"{chance.choice(METHODS)} {chance.choice(TARGETS)} HTTP/1.{chance.choice('0111')}\r\n"
    head += "\r\n".join(["Connection: close", *fields, f"Content-Length: {len(body)}"])
    return head.encode("latin-1") + b"\r\n\r\n" + body


def test_odd_requests(router: Router) -> None:
    """No method, path, header or body makes a 500 or an HTML page of an error."""
    chance = random.Random(3)
    for _ in range(150):
        sent = odd_request(chance)
        answer = router.raw(sent)
        status = answer.split(b" ")[1]
        assert status[:1] in b"234" or status in (b"501", b"505"), (sent, answer)
        if status[:1] in b"45":
            assert b"Content-Type: application/problem+json" in answer, (sent, answer)
