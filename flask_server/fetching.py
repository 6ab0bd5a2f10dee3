"""Fetch images by their URLs: off until hosts are allowed, and never from inside the deployment.

The address is resolved once, checked, and then connected to: a name that resolves otherwise a moment later changes
nothing (OWASP, Server-Side Request Forgery Prevention). Every redirect goes through the same checks.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from http.client import HTTPConnection, HTTPException, HTTPResponse
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote, urljoin, urlsplit

from flask_server.bodies import Link
from flask_server.errors import FetchRefused, RouterError, TooBusy, TooLarge, UnusableUrl
from flask_server.public_addresses import may_be_reached

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from flask_server.bodies import Encoded
    from flask_server.public_addresses import Network
    from flask_server.settings import Settings

    Resolve = Callable[[str, int], Sequence[str]]

_REDIRECTS = (301, 302, 303, 307, 308)
_MOST_REDIRECTS = 3
_MOST_CHARACTERS = 4096
_AT_ONCE = 4
_REQUESTS_AT_ONCE = 16
_LOOKUPS_AT_ONCE = _AT_ONCE * _REQUESTS_AT_ONCE
_CHUNK = 1 << 16
_IN_URLS = "/?%:@!$&'()*+,;=~-._"
_PORTS = {"http": 80, "https": 443}
_HEADERS = {"User-Agent": "keras-front-door", "Accept": "image/*", "Accept-Encoding": "identity"}


class Target(NamedTuple):
    """Where a URL leads."""

    scheme: str
    host: str
    port: int
    path: str
    """With its query."""


def resolve(host: str, port: int) -> list[str]:
    """The addresses of a host, however it is spelled.

    Raises:
        OSError: It has none.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


class _Room:
    """How many bytes the images of one request may still have together: as many as it could have brought itself."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._left = most
        self._lock = threading.Lock()

    def check(self, size: int) -> None:
        """Raise `TooLarge` if so many more are too many."""
        if size > self._left:
            raise TooLarge(
                f"The URLs of this request lead to more than {self._most} bytes, the most that is taken."
            )

    def take(self, size: int) -> None:
        """Count bytes that have come; raises as `check`."""
        with self._lock:
            self.check(size)
            self._left -= size


@dataclass(frozen=True, slots=True)
class Fetcher:
    """Fetches images from the hosts that a deployment allows."""

    hosts: tuple[str, ...]
    """`name`, `[IPv6 address]`, `*.domain` or `*`, on ports 80 and 443; with `:port` on that one, with `:*` on any."""
    private: tuple[Network, ...]
    timeout_seconds: float
    most_bytes: int
    resolve: Resolve = resolve
    turns: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(_REQUESTS_AT_ONCE)
    )
    """For requests that fetch, so that slow hosts leave threads to those that do not."""
    lookups: threading.Semaphore = field(
        default_factory=lambda: threading.Semaphore(_LOOKUPS_AT_ONCE)
    )
    """For threads that ask a resolver, which outlive requests that have given up."""

    @classmethod
    def from_settings(cls, settings: Settings) -> Fetcher:
        """The fetcher that the settings describe."""
        return cls(
            settings.fetch_hosts,
            settings.fetch_networks,
            settings.fetch_timeout,
            settings.max_body_bytes,
        )

    def fetched(self, images: Sequence[Encoded | Link], deadline: float) -> list[Encoded]:
        """Replace each link among images by the image it leads to, or by what is wrong with it.

        Raises:
            TooBusy: Too many requests fetch already.
        """
        urls = [image.url for image in images if isinstance(image, Link)]
        if not urls:
            return [image for image in images if not isinstance(image, Link)]
        if not self.turns.acquire(blocking=False):
            raise TooBusy("Too many requests wait for images by URL; try again in a moment.")
        try:
            found = iter(self._images_or_errors(urls, deadline))
        finally:
            self.turns.release()
        return [next(found) if isinstance(image, Link) else image for image in images]

    def _images_or_errors(self, urls: Sequence[str], deadline: float) -> list[Encoded]:
        room = _Room(self.most_bytes)

        def image_or_error(url: str) -> Encoded:
            try:
                return self.fetch(url, deadline, room)
            except RouterError as error:
                return error

        with ThreadPoolExecutor(min(_AT_ONCE, len(urls))) as pool:
            return list(pool.map(image_or_error, urls))

    def fetch(self, url: str, deadline: float, room: _Room | None = None) -> bytes:
        """The bytes that a URL leads to, over at most three redirects.

        Args:
            url: http or https.
            deadline: When to give up at the latest, in seconds of `time.monotonic`.
            room: What is left for it by the request's other images.

        Raises:
            FetchRefused: Fetching is off, or the host or its address is not allowed.
            UnusableUrl: It is no URL, or its server does not answer with an image in time.
            TooLarge: The request's images are larger together than a request may be.
            TooBusy: Too many hosts are being looked up.
        """
        room = room or _Room(self.most_bytes)
        deadline = min(deadline, time.monotonic() + self.timeout_seconds)
        for _ in range(_MOST_REDIRECTS + 1):
            target = target_of(url)
            address = self._checked_address(target, deadline)
            answer = _get(target, address, deadline, room)
            if isinstance(answer, bytes):
                return answer
            url = _joined(url, answer.location)
        raise UnusableUrl(f"The URL redirects more than {_MOST_REDIRECTS} times.")

    def _checked_address(self, target: Target, deadline: float) -> str:
        if not self.hosts:
            raise FetchRefused("Images are not fetched by URL here; send the image itself.")
        if not any(_allows(pattern, target) for pattern in self.hosts):
            raise FetchRefused(f"Images are not fetched from '{target.host}:{target.port}' here.")
        addresses = self._addresses(target, deadline)
        if not all(may_be_reached(address, self.private) for address in addresses):
            raise FetchRefused(f"'{target.host}' has an address that is not public.")
        return addresses[0]

    def _addresses(self, target: Target, deadline: float) -> Sequence[str]:
        """Ask the resolver, which has no time limit of its own."""
        if not self.lookups.acquire(blocking=False):
            raise TooBusy("Too many hosts are being looked up; try again in a moment.")
        found: list[Sequence[str]] = []

        def ask() -> None:
            try:
                found.append(self.resolve(target.host, target.port))
            except (OSError, UnicodeError):
                found.append(())
            finally:
                self.lookups.release()

        thread = threading.Thread(target=ask, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # no more threads can be had now
            self.lookups.release()
            raise TooBusy("Too many hosts are being looked up; try again in a moment.") from None
        thread.join(max(deadline - time.monotonic(), 0.0))
        if not found or not found[0]:
            raise UnusableUrl(f"The host '{target.host}' has no address.")
        return found[0]


def target_of(url: str) -> Target:
    """Take a URL apart.

    Raises:
        UnusableUrl: It is no http or https URL of a host.
    """
    if len(url) > _MOST_CHARACTERS or re.search(r"[\x00-\x20\x7f\\]", url):
        raise UnusableUrl(
            "This is not a URL: it is too long, or holds spaces or control characters."
        )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = host if ":" in host else host.encode("idna").decode("ascii").rstrip(".")
    except (ValueError, UnicodeError):
        raise UnusableUrl("This is not a URL.") from None
    if parts.scheme not in _PORTS or not host or "@" in parts.netloc or "%" in host:
        raise UnusableUrl("Write a URL such as https://host/picture.jpg, without a user name.")
    path = quote(parts.path or "/", safe=_IN_URLS)
    query = "?" + quote(parts.query, safe=_IN_URLS) if parts.query else ""
    return Target(parts.scheme, host.lower(), port or _PORTS[parts.scheme], path + query)


def _allows(pattern: str, target: Target) -> bool:
    address, _, rest = pattern.lower().rpartition("]")
    name, _, port = rest.partition(":")
    name = address[1:] or name
    if port != "*" and target.port != (int(port) if port else _PORTS[target.scheme]):
        return False
    if name.startswith("*."):
        return target.host.endswith(name[1:])
    return name in ("*", target.host)


class _Redirect(NamedTuple):
    location: str


def _get(target: Target, address: str, deadline: float, room: _Room) -> bytes | _Redirect:
    """One exchange with one address; a clock breaks it off at the deadline, however slowly the other end sends."""
    left = deadline - time.monotonic()
    if left <= 0:
        raise UnusableUrl("The URL did not answer in time.")
    try:
        with _connected(target, address, left) as connected:
            clock = threading.Timer(deadline - time.monotonic(), _break_off, [connected])
            clock.daemon = True
            clock.start()
            try:
                answer = _exchange(target, connected, room)
            finally:
                clock.cancel()
                if time.monotonic() >= deadline:  # what was broken off may look whole, or wrong
                    raise TimeoutError
            return answer
    except ssl.SSLCertVerificationError as error:
        raise UnusableUrl(
            f"The URL's certificate is not trusted: {error.verify_message}."
        ) from None
    except (OSError, HTTPException):
        late = time.monotonic() >= deadline
        what = "did not answer in time" if late else "cannot be fetched: its server breaks off"
        raise UnusableUrl(f"The URL {what}.") from None


def _connected(target: Target, address: str, seconds: float) -> socket.socket:
    """Connect; hands are shaken later, as the clock runs only then."""
    connected = socket.create_connection((address, target.port), timeout=seconds)
    if target.scheme == "http":
        return connected
    context = ssl.create_default_context()
    return context.wrap_socket(
        connected, server_hostname=target.host, do_handshake_on_connect=False
    )


def _break_off(connected: socket.socket) -> None:
    try:
        # Not `SSLSocket.shutdown`, which would let the reading thread go on without encryption.
        socket.socket.shutdown(connected, socket.SHUT_RDWR)
    except OSError:  # it has ended by itself
        return


def _exchange(target: Target, connected: socket.socket, room: _Room) -> bytes | _Redirect:
    # Not `HTTPSConnection`: it is connected already. The port is for the header `Host`.
    connection = HTTPConnection(target.host, target.port)
    connection.default_port = _PORTS[target.scheme]
    connection.sock = connected
    try:
        if isinstance(connected, ssl.SSLSocket):
            connected.do_handshake()
        connection.request("GET", target.path, headers=_HEADERS)
        with connection.getresponse() as response:
            location = response.headers.get("Location")
            if response.status in _REDIRECTS and location:
                return _Redirect(location)
            _check_head(response, room)
            return _body(response, room)
    finally:
        connection.close()


def _joined(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        raise UnusableUrl("The URL redirects to something that is no URL.") from None


def _check_head(response: HTTPResponse, room: _Room) -> None:
    if response.status != 200:
        raise UnusableUrl(f"The URL answered {response.status}, not an image.")
    if "Content-Type" not in response.headers:
        raise UnusableUrl("The URL answered without a type, not an image.")
    kind = response.headers.get_content_type()
    if not kind.startswith("image/") and not kind.endswith("/octet-stream"):
        raise UnusableUrl(f"The URL answered '{kind[:100]}', not an image.")
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise UnusableUrl("The URL answered with a content encoding that nobody asked for.")
    room.check(response.length or 0)


def _body(response: HTTPResponse, room: _Room) -> bytes:
    body = bytearray()
    while chunk := response.read1(_CHUNK):
        room.take(len(chunk))
        body += chunk
    if response.length:
        raise ConnectionError("less was sent than announced")
    return bytes(body)
