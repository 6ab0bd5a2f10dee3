"""HTTP as it may come over a socket: what is answered, what is refused, when the connection ends."""

from __future__ import annotations

import socket
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from serving.http_server import HttpServer
from tests.processes import free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

pytestmark = pytest.mark.slow  # each waits to see that no more comes

OK = b"HTTP/1.1 200 OK\r\n"


class Echo:
    """A WSGI application that tells what it was asked; knows how many requests are in it."""

    def __init__(self) -> None:
        self.inside = 0
        self.most_inside = 0
        self.lock = threading.Lock()

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Answer with method, target and body."""
        with self.lock:
            self.inside += 1
            self.most_inside = max(self.most_inside, self.inside)
        if environ["REQUEST_URI"] == "/slow":
            time.sleep(0.1)
        body = environ["wsgi.input"].read()
        parts = (environ["REQUEST_METHOD"], environ["REQUEST_URI"], environ.get("HTTP_X_A", ""))
        text = " ".join(parts).encode("latin-1") + b" " + body
        with self.lock:
            self.inside -= 1
        start_response("200 OK", [("Content-Length", str(len(text)))])
        return [text]

    def drain(self, timeout_seconds: float) -> bool:
        """Wait for nothing."""
        return timeout_seconds >= 0


@pytest.fixture
def echo() -> Echo:
    """The application that answers."""
    return Echo()


@pytest.fixture
def server(echo: Echo) -> Iterator[tuple[str, int]]:
    """A server on a port of its own that answers two requests at once."""
    port = free_port()
    http = HttpServer(echo, "127.0.0.1", port, 2)  # type: ignore[arg-type]
    http.start()
    yield ("127.0.0.1", port)
    assert http.drain(5)


def exchange(
    server: tuple[str, int], *sent: bytes, end: bool = False, patience: float = 10
) -> bytes:
    """Send pieces one by one; all that comes back until the server closes, or is silent after it has said something.

    Args:
        server: Where to.
        sent: The pieces.
        end: Whether to say that no more will come; then the server is expected to close.
        patience: Seconds to wait for the first word.
    """
    with socket.create_connection(server, timeout=5) as client:
        for piece in sent:
            client.sendall(piece)
            time.sleep(0.02)
        if end:
            client.shutdown(socket.SHUT_WR)
        received = b""
        try:
            client.settimeout(patience)
            while data := client.recv(65536):
                received += data
                client.settimeout(patience if end else 0.5)
        except TimeoutError:
            return received
        return received + b"<closed>"


def test_requests_follow_one_another(server: tuple[str, int]) -> None:
    """A connection is kept, and requests sent at once are answered in order."""
    said = exchange(
        server, b"GET /a HTTP/1.1\r\n\r\nPOST /b HTTP/1.1\r\nContent-Length: 2\r\n\r\nhi" * 2
    )
    assert said.count(OK) == 4
    assert [text.split(b"HTTP/1.1")[0] for text in said.split(b"\r\n\r\n")[1:]] == [
        b"GET /a  ",
        b"POST /b  hi",
    ] * 2
    assert not said.endswith(b"<closed>")


@pytest.mark.parametrize("size", [0, 1, 65535, 300_000])
def test_bodies_come_whole(server: tuple[str, int], size: int) -> None:
    """A body arrives as it was sent, in pieces or at once."""
    body = bytes(range(256)) * (size // 256 + 1)
    body = body[:size]
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % size
    middle = size // 2
    for sent in ((head + body,), (head, body), (head + body[:middle], body[middle:])):
        assert exchange(server, *sent).endswith(b"POST /  " + body)


def test_chunks_are_joined(server: tuple[str, int]) -> None:
    """A chunked body is joined, its trailers passed over, and the connection kept."""
    head = b"POST /c HTTP/1.1\r\nTransfer-Encoding: chunked\r\nX-A: 1\r\n\r\n"
    chunks = (b"5;x=y\r\nhel", b"lo\r\n3\r\n you\r\n"[:4], b"3\r\nyou\r\n0\r\nX-A: 2\r\n\r\n")
    said = exchange(server, head, *chunks)
    assert said.endswith(b"POST /c 1 helloyou")


def test_what_follows_a_chunked_body_at_once_is_to_be_asked_again(server: tuple[str, int]) -> None:
    """The first request is answered as it was sent, and the connection closes instead of losing the second in silence."""
    first = b"POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n"
    said = exchange(server, first + b"GET /b HTTP/1.1\r\nX-A: 9\r\n\r\n")
    assert b"Connection: close" in said
    assert said.endswith(b"POST /a  hi<closed>")


def test_a_client_that_waits_to_be_told_to_go_on(server: tuple[str, int]) -> None:
    """`Expect: 100-continue` is answered before the body is there."""
    head = b"POST / HTTP/1.1\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    said = exchange(server, head, b"hi")
    assert said.startswith(b"HTTP/1.1 100 Continue\r\n\r\n" + OK)


@pytest.mark.parametrize(
    ("version", "header", "kept"),
    [
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", True),
        (b"1.1", b"", True),
        (b"1.1", b"Connection: close\r\n", False),
    ],
)
def test_who_closes(server: tuple[str, int], version: bytes, header: bytes, kept: bool) -> None:
    """HTTP/1.1 keeps the connection unless told otherwise, HTTP/1.0 the other way round; the answer says which."""
    said = exchange(server, b"GET / HTTP/%s\r\n%s\r\n" % (version, header))
    assert said.endswith(b"<closed>") is not kept
    assert (b"Connection: close" in said) is not kept
    assert (b"Connection: keep-alive" in said) is (kept and version == b"1.0")


def test_head_has_no_body(server: tuple[str, int]) -> None:
    """HEAD is told the length and sent nothing."""
    said = exchange(server, b"HEAD /x HTTP/1.1\r\n\r\n")
    assert b"Content-Length: 9" in said
    assert said.endswith(b"\r\n\r\n")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"nonsense\r\n\r\n", 501),
        (b"GET\r\n\r\n", 501),
        (b"GET / HTTP/x\r\n\r\n", 400),
        (b"BREW / HTTP/1.1\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nno colon\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", 400),
        (b"GET /" + b"a" * 70_000 + b" HTTP/1.1\r\n\r\n", 431),
        (b"GET / HTTP/1.1\r\n" + b"X-A: a\r\n" * 9000 + b"\r\n", 431),
    ],
)
def test_what_is_no_request_is_refused(server: tuple[str, int], sent: bytes, status: int) -> None:
    """The client is told, by a page as for what comes further, and the connection ends; the server goes on."""
    said = exchange(server, sent, end=True)
    assert said.startswith(b"HTTP/1.1 %d " % status)
    assert b"\r\nContent-Type: text/html\r\n" in said
    assert b"<TITLE>%d " % status in said
    assert b"Connection: close" in said
    assert said.endswith(b"<closed>")
    assert exchange(server, b"GET / HTTP/1.1\r\n\r\n").startswith(OK)


def test_empty_lines_and_offers_are_passed_over(server: tuple[str, int]) -> None:
    """Empty lines before a request, and an offer to upgrade, change nothing."""
    assert exchange(server, b"\r\n\r\n\r\nGET /e HTTP/1.1\r\n\r\n").endswith(b"GET /e  ")
    offer = b"GET /u HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n"
    assert exchange(server, offer).endswith(b"GET /u  ")


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    ],
)
def test_an_offer_to_upgrade_takes_no_body_away(server: tuple[str, int], body: bytes) -> None:
    """Java's client and curl --http2 offer it with each request: the body is read, and the next request is one."""
    post = b"POST /u HTTP/1.1\r\nConnection: Upgrade\r\nupgrade: h2c\r\n" + body
    with socket.create_connection(server, timeout=5) as client:
        for _ in range(2):
            client.sendall(post)
            assert client.recv(65536).endswith(b"POST /u  hello")


def test_names_that_could_pass_for_others(server: tuple[str, int]) -> None:
    """A header with an underscore is not taken for the one with a hyphen."""
    sent = b"POST / HTTP/1.1\r\nContent_Length: 9\r\nX_A: no\r\nX-A: yes\r\nContent-Length: 2\r\n\r\nhi"
    assert exchange(server, sent).endswith(b"POST / yes hi")


def test_clients_that_leave(server: tuple[str, int]) -> None:
    """Who leaves in the middle of a head, a body or an answer costs the others nothing."""
    for sent in (b"GET / HT", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\nhi"):
        with socket.create_connection(server, timeout=5) as client:
            client.sendall(sent)
    with socket.create_connection(server, timeout=5) as client:
        client.sendall(b"GET /slow HTTP/1.1\r\n\r\n")
    assert exchange(server, b"GET / HTTP/1.1\r\n\r\n").startswith(OK)


def test_only_so_many_at_once(server: tuple[str, int], echo: Echo) -> None:
    """More connections than threads are all answered, two at a time."""
    answers: list[bytes] = []

    def ask() -> None:
        answers.append(exchange(server, b"GET /slow HTTP/1.0\r\n\r\n", end=True))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(10)
    assert len(answers) == 8
    assert all(answer.startswith(OK) for answer in answers)
    assert echo.most_inside == 2


def test_when_all_places_are_taken(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who is idle has to make way for a new connection; who is being answered has not, nor stops the server from stopping."""
    monkeypatch.setattr("serving.http_server._CONNECTIONS", 1)
    port = free_port()
    http = HttpServer(echo, "127.0.0.1", port, 1)  # type: ignore[arg-type]
    http.start()
    server = ("127.0.0.1", port)
    with socket.create_connection(server, timeout=5) as first:
        first.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert first.recv(65536).startswith(OK)
        assert exchange(server, b"GET / HTTP/1.1\r\n\r\n").startswith(OK)
        assert first.recv(1) == b""
    with socket.create_connection(server, timeout=5) as first:
        first.sendall(b"GE")  # no more than idle
        assert exchange(server, b"GET / HTTP/1.1\r\n\r\n").startswith(OK)
        assert first.recv(1) == b""
    with socket.create_connection(server, timeout=5) as first:
        first.sendall(b"POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nhel")
        assert exchange(server, b"GET / HTTP/1.1\r\n\r\n", patience=0.5) == b""
        first.sendall(b"lo")
        assert first.recv(65536).endswith(b"hello")
    with socket.create_connection(server, timeout=5) as holder:
        holder.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert holder.recv(65536).startswith(OK)
        assert http.drain(5)


class _Overtaken(socket.socket):
    """A listening socket whose accepting thread has seen that it is to end before it is woken."""

    def shutdown(self, how: int) -> None:
        """Wake that thread otherwise, and let it end first."""
        socket.create_connection(self.getsockname(), timeout=5).close()
        for thread in threading.enumerate():
            if thread.name == "http":
                thread.join(5)
        super().shutdown(how)


def test_draining_while_a_connection_comes(echo: Echo, monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection that comes just as the server drains does not get in its way."""
    listener = socket.create_server(("127.0.0.1", 0))
    overtaken = _Overtaken(fileno=listener.detach())
    monkeypatch.setattr("serving.http_server._listener", lambda *_: overtaken)
    http = HttpServer(echo, "", 0, 1)  # type: ignore[arg-type]
    http.start()
    assert http.drain(5)
    assert overtaken.fileno() == -1


@pytest.mark.parametrize("host", ["*", "localhost", "127.0.0.1"])
def test_where_it_listens(echo: Echo, host: str) -> None:
    """`*` is every address of this machine, of both families; a name is its address."""
    port = free_port()
    http = HttpServer(echo, host, port, 1)  # type: ignore[arg-type]
    http.start()
    addresses = ["127.0.0.1", "::1"] if host == "*" and socket.has_dualstack_ipv6() else [host]
    for address in addresses:
        with socket.create_connection((address, port), timeout=5) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            assert client.recv(65536).startswith(OK)
    assert http.drain(5)
    wait_until(lambda: _is_free(port), seconds=5, what="the port is free again")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0
