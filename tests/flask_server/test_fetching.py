"""Images by URL: what is fetched, and everything that is not, against local servers."""

from __future__ import annotations

import contextlib
import ipaddress
import socket
import ssl
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from unittest.mock import Mock

import pytest

from flask_server.bodies import Link
from flask_server.errors import FetchRefused, TooBusy, TooLarge, UnusableUrl
from flask_server.fetching import Fetcher, target_of
from flask_server.public_addresses import may_be_reached
from flask_server.settings import load_settings
from model_config import ConfigError
from tests.certificates import self_signed
from tests.flask_server.conftest import encoded
from tests.processes import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from flask.testing import FlaskClient

LOOPBACK = ipaddress.ip_network("127.0.0.0/8")
MOST_BYTES = 10_000


class _Handler(BaseHTTPRequestHandler):
    """Answers each path as a test wants it."""

    protocol_version = "HTTP/1.1"
    server: PictureServer

    def do_GET(self) -> None:
        self.server.asked.append((self.path, self.headers["Host"]))
        status, headers, body = self.server.answers.get(self.path, (404, {}, b""))
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(ConnectionError):
            for byte in body if self.server.drip_seconds else ():
                self.wfile.write(bytes([byte]))
                time.sleep(self.server.drip_seconds)
            if not self.server.drip_seconds:
                self.wfile.write(body)
        self.close_connection = True

    def log_message(self, *_: object) -> None:
        """Say nothing."""


class PictureServer(ThreadingHTTPServer):
    """A web server of pictures on one loopback address."""

    daemon_threads = True

    def __init__(self, address: str = "127.0.0.1", port: int = 0) -> None:
        self.address_family = socket.AF_INET6 if ":" in address else socket.AF_INET
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.asked: list[tuple[str, str]] = []
        self.drip_seconds = 0.0
        super().__init__((address, port), _Handler)

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is none of its business."""

    def image(self, path: str, body: bytes | None = None, **headers: str) -> str:
        """Put an image there; return its URL."""
        content = encoded() if body is None else body
        self.answers[path] = (200, {"Content-Type": "image/png", **headers}, content)
        return f"http://pictures.test:{self.server_port}{path}"

    def redirect(self, path: str, location: str) -> str:
        """Put a redirect there; return its URL."""
        self.answers[path] = (302, {"Location": location}, b"")
        return f"http://pictures.test:{self.server_port}{path}"


@contextlib.contextmanager
def serving(address: str = "127.0.0.1", port: int = 0) -> Iterator[PictureServer]:
    """Run a server of pictures until the block ends."""
    server = PictureServer(address, port)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def pictures() -> Iterator[PictureServer]:
    """A server of pictures at 127.0.0.1."""
    with serving() as server:
        yield server


class Names:
    """A resolver that knows some names, and otherwise asks the system for numbers only."""

    def __init__(self, **names: list[str]) -> None:
        self.names = {name.replace("_", "."): addresses for name, addresses in names.items()}
        self.asked = 0

    def __call__(self, host: str, port: int) -> list[str]:
        """The addresses of a host."""
        self.asked += 1
        if host in self.names:
            return self.names[host]
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        return [str(entry[4][0]) for entry in found]


def fetcher(resolve: Callable[..., Any] | None = None, **settings: Any) -> Fetcher:
    """A fetcher that may fetch from everywhere, and from 127.0.0.0/8 although it is not public."""
    chosen = {"hosts": ("*:*",), "private": (LOOPBACK,), "timeout_seconds": 5.0, **settings}
    hosts = chosen.pop("hosts")
    known = resolve or Names(pictures_test=["127.0.0.1"])
    return Fetcher(hosts, most_bytes=MOST_BYTES, resolve=known, **chosen)


def fetch(one: Fetcher, url: str) -> bytes:
    """Fetch within ten seconds."""
    return one.fetch(url, time.monotonic() + 10)


def test_an_image_is_fetched(pictures: PictureServer) -> None:
    """The bytes are those at the URL, asked for by the host's own name."""
    url = pictures.image("/a%20b.png?size=1&x=%2F")
    assert fetch(fetcher(), url) == encoded()
    assert pictures.asked == [("/a%20b.png?size=1&x=%2F", f"pictures.test:{pictures.server_port}")]


def test_it_is_off_until_hosts_are_allowed(pictures: PictureServer) -> None:
    """Without FETCH_HOSTS nothing is fetched, and not even the name is looked up."""
    names = Names(pictures_test=["127.0.0.1"])
    with pytest.raises(FetchRefused, match="not fetched by URL here"):
        fetch(fetcher(names, hosts=()), pictures.image("/a"))
    assert (names.asked, pictures.asked) == (0, [])


@pytest.mark.parametrize(
    ("pattern", "url", "allowed"),
    [
        ("pictures.test", "http://pictures.test/", True),
        ("pictures.test", "https://PICTURES.test./", True),
        ("pictures.test", "http://pictures.test:8080/", False),
        ("pictures.test:8080", "http://pictures.test:8080/", True),
        ("pictures.test", "http://evil.test/", False),
        ("pictures.test", "http://pictures.test.evil.test/", False),
        ("*.pictures.test", "http://a.b.pictures.test/", True),
        ("*.pictures.test", "http://evilpictures.test/", False),
        ("*.pictures.test", "http://pictures.test/", False),
        ("*", "http://anything.test/", True),
        ("*", "http://anything.test:6379/", False),
        ("[2001:DB8::1]", "http://[2001:db8::1]/", True),
        ("[2001:db8::1]:8080", "http://[2001:db8::1]:8080/", True),
        ("[2001:db8::1]", "http://[2001:db8::1]:8080/", False),
        ("[2001:db8::1]", "http://[2001:db8::2]/", False),
    ],
)
def test_hosts_are_matched_whole(pattern: str, url: str, allowed: bool) -> None:
    """A pattern is a host, a host with a port, everything below a domain, or all; ports are 80 and 443 otherwise."""
    nobody = fetcher(lambda *_: [], hosts=(pattern,))
    with pytest.raises(UnusableUrl if allowed else FetchRefused):
        fetch(nobody, url)


@pytest.mark.parametrize(
    "host",
    [
        "127.0.0.1",
        "localhost",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0x7f.1",
        "127.1",
        "0",
        "[::1]",
        "[::]",
        "[::ffff:127.0.0.1]",
        "[::ffff:7f00:1]",
        "[::127.0.0.1]",
        "[64:ff9b::7f00:1]",
        "[2002:7f00:1::]",
        "[0:0:0:0:0:ffff:a00:1]",
        "[fe80::1]",
        "[fd00:ec2::254]",
        "10.0.0.1",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "2852039166",
        "100.100.100.200",
        "168.63.129.16",
        "192.0.0.192",
        "224.0.0.1",
        "255.255.255.255",
    ],
)
def test_no_spelling_leads_inside(host: str) -> None:
    """Loopback, private, link-local, metadata and multicast addresses are refused, in every spelling."""
    with serving() as server:
        server.image("/")
        with pytest.raises(FetchRefused, match="not public"):
            fetch(fetcher(Names(), private=()), f"http://{host}:{server.server_port}/")
        assert server.asked == []


def test_public_addresses_may_be_reached() -> None:
    """Ordinary addresses of both families are public; a network that is named may be reached besides."""
    assert may_be_reached("93.184.216.34", ())
    assert may_be_reached("2606:2800:220:1::1", ())
    assert may_be_reached("::ffff:93.184.216.34", ())
    assert not may_be_reached("10.1.2.3", ())
    assert may_be_reached("10.1.2.3", (ipaddress.ip_network("10.1.0.0/16"),))
    assert not may_be_reached("fe80::1%eth0", (ipaddress.ip_network("10.1.0.0/16"),))


def test_one_bad_address_is_enough() -> None:
    """A name with a public and a private address is refused."""
    names = Names(mixed_test=["93.184.216.34", "10.0.0.1"])
    with pytest.raises(FetchRefused):
        fetch(fetcher(names, private=()), "http://mixed.test/")


def test_a_name_that_changes_its_address(pictures: PictureServer) -> None:
    """The address that was checked is the one that is connected to: the name is asked for once, and not again."""
    url = pictures.image("/a")
    with serving("127.0.0.2", pictures.server_port) as inside:
        inside.image("/a", b"secret")
        answers = iter([["127.0.0.1"], ["127.0.0.2"], ["127.0.0.2"]])
        changing = fetcher(
            lambda *_: next(answers), private=(ipaddress.ip_network("127.0.0.1/32"),)
        )
        assert fetch(changing, url) == encoded()
        with pytest.raises(FetchRefused):
            fetch(changing, url)
        assert inside.asked == []


def test_redirects_are_followed(pictures: PictureServer) -> None:
    """Three redirects, relative ones too, lead to the image; a fourth is refused."""
    pictures.image("/image")
    pictures.redirect("/3", "/image")
    pictures.redirect("/2", "3")
    first = pictures.redirect("/1", "//pictures.test:" + str(pictures.server_port) + "/2")
    assert fetch(fetcher(), first) == encoded()
    with pytest.raises(UnusableUrl, match="redirects"):
        fetch(fetcher(), pictures.redirect("/0", "/1"))


@pytest.mark.parametrize(
    ("location", "error"),
    [
        ("http://127.0.0.2:{port}/image", FetchRefused),
        ("http://[::1]:{port}/image", FetchRefused),
        ("http://169.254.169.254/latest/meta-data/", FetchRefused),
        ("http://2130706434:{port}/image", FetchRefused),
        ("file:///etc/passwd", UnusableUrl),
        ("ftp://pictures.test/image", UnusableUrl),
        ("http://user:pw@pictures.test/image", UnusableUrl),
        ("http://", UnusableUrl),
    ],
)
def test_redirects_are_checked_like_urls(
    pictures: PictureServer, location: str, error: type[Exception]
) -> None:
    """No redirect leads where the URL itself could not."""
    url = pictures.redirect("/away", location.format(port=pictures.server_port))
    with serving("127.0.0.2", pictures.server_port) as inside:
        inside.image("/image", b"secret")
        only = (ipaddress.ip_network("127.0.0.1/32"),)
        with pytest.raises(error):
            fetch(fetcher(private=only), url)
        assert inside.asked == []


def test_a_redirect_to_another_host_needs_leave(pictures: PictureServer) -> None:
    """A redirect from an allowed host to one that is not allowed is refused."""
    pictures.image("/image")
    port = pictures.server_port
    url = pictures.redirect("/away", f"http://other.test:{port}/image")
    names = Names(pictures_test=["127.0.0.1"], other_test=["127.0.0.1"])
    with pytest.raises(FetchRefused, match=r"other\.test"):
        fetch(fetcher(names, hosts=(f"pictures.test:{port}",)), url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "picture.jpg",
        "file:///etc/passwd",
        "gopher://pictures.test/",
        "http:///a",
        "http://a b/",
        "http://pictures.test\r\nHost: x/",
        "http://pictures.test\\@evil.test/",
        "http://user@pictures.test/",
        "http://pictures.test:99999/",
        "http://[::1/",
        "http://[fe80::1%25eth0]/",
        "http://" + "a" * 70 + ".test/",
        "http://pictures.test/" + "a" * 5000,
    ],
)
def test_what_is_no_url(url: str) -> None:
    """Only http and https URLs of a host, without credentials and odd characters, are looked at."""
    with pytest.raises(UnusableUrl):
        target_of(url)


def test_names_of_all_languages() -> None:
    """A host and a path in any script are written as HTTP wants them."""
    target = target_of("https://bücher.example/fünf.png")
    assert target == ("https", "xn--bcher-kva.example", 443, "/f%C3%BCnf.png")


def test_types_sizes_and_statuses(pictures: PictureServer) -> None:
    """Only 200, only an image type, only as many bytes as allowed, announced or not, and all that were announced."""
    pictures.answers["/html"] = (200, {"Content-Type": "text/html"}, b"<html>")
    base = f"http://pictures.test:{pictures.server_port}"
    with pytest.raises(UnusableUrl, match="text/html"):
        fetch(fetcher(), base + "/html")
    with pytest.raises(UnusableUrl, match="404"):
        fetch(fetcher(), base + "/nothing")
    pictures.answers["/untyped"] = (200, {}, b"x")
    with pytest.raises(UnusableUrl, match="without a type"):
        fetch(fetcher(), base + "/untyped")
    with pytest.raises(UnusableUrl, match="encoding"):
        fetch(fetcher(), pictures.image("/gz", **{"Content-Encoding": "gzip"}))
    with pytest.raises(TooLarge):
        fetch(fetcher(), pictures.image("/big", b"x", **{"Content-Length": str(MOST_BYTES + 1)}))
    endless = pictures.image("/endless", b"x" * (MOST_BYTES + 1))
    del pictures.answers["/endless"][1]["Content-Type"]
    pictures.answers["/endless"][1].update(
        {"Content-Type": "image/png", "Content-Length": "", "Connection": "close"}
    )
    with pytest.raises(TooLarge):
        fetch(fetcher(), endless)
    with pytest.raises(UnusableUrl):
        fetch(fetcher(), pictures.image("/cut", b"x", **{"Content-Length": "100"}))


def test_the_images_of_a_request_share_its_limit(pictures: PictureServer) -> None:
    """Together they have as many bytes as a request may, announced or not; whichever is beyond is refused."""
    links = [Link(pictures.image(f"/{number}", b"x" * (MOST_BYTES // 2 - 1))) for number in "abc"]
    del pictures.answers["/c"][1]["Content-Type"]
    pictures.answers["/c"][1].update(
        {"Content-Type": "image/png", "Content-Length": "", "Connection": "close"}
    )
    found = fetcher().fetched(links, time.monotonic() + 10)
    assert sorted(isinstance(one, TooLarge) for one in found) == [False, False, True]
    assert not any(
        isinstance(one, TooLarge) for one in fetcher().fetched(links[:2], time.monotonic() + 10)
    )


def test_requests_that_fetch_are_limited() -> None:
    """While 16 requests wait for slow hosts, one more is sent away at once, and what fetches nothing goes on."""
    asked, over = threading.Semaphore(0), threading.Event()

    def resolve(*_: object) -> list[str]:
        asked.release()
        over.wait(20)
        return []

    slow = fetcher(resolve)
    links, deadline = [Link("http://pictures.test/")], time.monotonic() + 20
    waiting = [threading.Thread(target=slow.fetched, args=(links, deadline)) for _ in range(16)]
    for thread in waiting:
        thread.start()
        assert asked.acquire(timeout=5)
    with pytest.raises(TooBusy):
        slow.fetched(links, deadline)
    assert slow.fetched([b"image"], deadline) == [b"image"]
    over.set()
    for thread in waiting:
        thread.join()
    assert [type(one) for one in slow.fetched(links, deadline)] == [UnusableUrl]


def test_slow_servers_are_left(pictures: PictureServer) -> None:
    """A server that sends a byte now and then is broken off when time is up."""
    url = pictures.image("/slow", b"x" * 1000)
    pictures.drip_seconds = 0.2
    begun = time.monotonic()
    with pytest.raises(UnusableUrl, match="in time"):
        fetch(fetcher(timeout_seconds=0.5), url)
    assert time.monotonic() - begun < 8


def test_a_silent_server_and_a_silent_resolver_are_left() -> None:
    """Neither a server that never answers nor a resolver that never does holds a request."""
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://pictures.test:{silent.getsockname()[1]}/"
        with pytest.raises(UnusableUrl, match="in time"):
            fetch(fetcher(timeout_seconds=0.5), url)
    over = threading.Event()
    with pytest.raises(UnusableUrl, match="no address"):
        fetch(fetcher(lambda *_: over.wait(60), timeout_seconds=0.5), "http://pictures.test/")
    over.set()


def test_lookups_that_nobody_waits_for_any_more_are_limited() -> None:
    """A resolver that never answers holds 64 threads at most, however many requests give up on it."""
    over, ends = threading.Event(), []
    impatient = fetcher(lambda *_: over.wait(60) and [], timeout_seconds=0.001)
    for _ in range(70):
        with pytest.raises((UnusableUrl, TooBusy)) as end:
            fetch(impatient, "http://pictures.test/")
        ends.append(end.type)
    assert ends == [UnusableUrl] * 64 + [TooBusy] * 6
    over.set()
    wait_until(lambda: impatient.lookups._value == 64, seconds=10, what="there is room again")
    with pytest.raises(UnusableUrl):
        fetch(impatient, "http://pictures.test/")


def test_a_head_that_drips_is_late() -> None:
    """What was cut off is not taken for the whole head of an answer without a type."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def drip() -> None:
            server, _ = listener.accept()
            with server, contextlib.suppress(OSError):
                server.sendall(b"HTTP/1.1 200 OK\r\n")
                for _ in range(30):
                    server.sendall(b"A: b\r\n")
                    time.sleep(0.1)

        thread = threading.Thread(target=drip)
        thread.start()
        with pytest.raises(UnusableUrl, match="in time"):
            fetch(
                fetcher(timeout_seconds=0.5),
                f"http://pictures.test:{listener.getsockname()[1]}/",
            )
        thread.join()


def test_a_thread_that_cannot_be_had_costs_no_lookup_of_later(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A shortage that passes is over when it has passed."""
    one = fetcher(lambda *_: [])
    with monkeypatch.context() as short:
        short.setattr(threading.Thread, "start", Mock(side_effect=RuntimeError("can't start")))
        for _ in range(70):
            with pytest.raises(TooBusy):
                fetch(one, "http://pictures.test/")
    with pytest.raises(UnusableUrl):
        fetch(one, "http://pictures.test/")


def encrypt(pictures: PictureServer, tmp_path: Path) -> Path:
    """Let the server speak TLS; its certificate, which vouches for itself."""
    certificate, key = self_signed(tmp_path, "DNS:pictures.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    pictures.socket = context.wrap_socket(pictures.socket, server_side=True)
    return certificate


def test_https_is_verified(pictures: PictureServer, tmp_path: Path) -> None:
    """A certificate that nobody vouches for is refused."""
    url = pictures.image("/a").replace("http:", "https:")
    encrypt(pictures, tmp_path)
    with pytest.raises(UnusableUrl, match="certificate is not trusted: self-signed"):
        fetch(fetcher(), url)
    assert pictures.asked == []


@pytest.mark.slow
def test_slow_https_servers_are_left(
    pictures: PictureServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An encrypted answer that drips is broken off when time is up, too; one that is in time is taken."""
    url = pictures.image("/a", b"x" * 1000).replace("http:", "https:")
    monkeypatch.setenv("SSL_CERT_FILE", str(encrypt(pictures, tmp_path)))
    assert fetch(fetcher(), url) == b"x" * 1000
    pictures.drip_seconds = 0.2
    begun = time.monotonic()
    with pytest.raises(UnusableUrl, match="in time"):
        fetch(fetcher(timeout_seconds=1.0), url)
    assert time.monotonic() - begun < 8


def test_several_at_once_each_have_their_answer(pictures: PictureServer) -> None:
    """Links among images are replaced in their places; what is wrong with one is its own answer."""
    good = Link(pictures.image("/a"))
    bad = Link(pictures.image("/b").replace("/b", "/nothing"))
    found = fetcher().fetched([b"x", good, bad, good], time.monotonic() + 10)
    assert [found[0], found[1], found[3]] == [b"x", encoded(), encoded()]
    assert isinstance(found[2], UnusableUrl)


@pytest.mark.parametrize(
    "env",
    [
        {"FETCH_HOSTS": "http://pictures.test"},
        {"FETCH_HOSTS": "a.*.test"},
        {"FETCH_NETWORKS": "10.0.0.1/8"},
        {"FETCH_TIMEOUT": "soon"},
    ],
)
def test_wrong_settings_are_named(env: dict[str, str]) -> None:
    """A host pattern or network that says nothing stops the router at start-up."""
    with pytest.raises(ConfigError, match=next(iter(env))):
        load_settings([], env)


def test_every_route_takes_urls(
    client_of: Callable[..., FlaskClient], pictures: PictureServer
) -> None:
    """`?image_url=`, JSON `url` and `instances` of URLs are answered as the image itself would be."""
    url = pictures.image("/a").replace("pictures.test", "127.0.0.1")
    client = client_of(fetch_hosts=("*:*",), fetch_networks=(LOOPBACK,))
    expected = client.post("/colours/predict/", data=encoded(), content_type="image/png").json
    assert client.post(f"/colours/predict/?image_url={url}").json == expected
    assert client.post("/colours/predict/", json={"url": url}).json == expected
    several = {"instances": [{"url": url}, {"url": url + "x"}]}
    first, second = client.post("/colours/predict/", json=several).json
    assert first == expected
    assert (second["status"], second["title"]) == (400, "Unusable URL")


def test_urls_are_refused_by_default(client: FlaskClient, pictures: PictureServer) -> None:
    """A router that was told of no hosts answers 403 and fetches nothing."""
    answer = client.post("/colours/predict/", json={"url": pictures.image("/a")})
    assert (answer.status_code, answer.content_type) == (403, "application/problem+json")
    assert pictures.asked == []


def test_the_api_describes_urls_where_they_are_taken(
    client: FlaskClient, client_of: Callable[..., FlaskClient]
) -> None:
    """The OpenAPI document speaks of URLs only where fetching is on."""

    def parameters(of: FlaskClient) -> list[str]:
        operation = of.get("/openapi.json").get_json()["paths"]["/colours/predict/"]["post"]
        return [parameter["name"] for parameter in operation["parameters"]]

    assert "image_url" not in parameters(client)
    assert "image_url" in parameters(client_of(fetch_hosts=("*",)))
