"""Which TCP ports of this machine are taken, and by whom."""

from __future__ import annotations

import contextlib
import errno
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from model_config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Collection

FIRST_MODEL_SERVER_PORT = 9000
LOCAL_HOSTS = ("localhost", "127.0.0.1", "::1", "0.0.0.0")


def is_local(url: str) -> bool:
    """Whether a base URL names this machine, so that the supervisor may start a server there."""
    return urlsplit(url).hostname in LOCAL_HOSTS


def address_of(local_url: str) -> str:
    """The address of this machine on which a server is reached by such a URL."""
    return "::1" if urlsplit(local_url).hostname == "::1" else "127.0.0.1"


def url_of(host: str, port: int, *, scheme: str = "http") -> str:
    """The base URL of a server at an address."""
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def port_of(url: str) -> int:
    """The port that a base URL names, or that its scheme implies."""
    parts = urlsplit(url)
    return parts.port or (443 if parts.scheme == "https" else 80)


def in_use(host: str, port: int) -> bool:
    """Whether somebody listens on the address already.

    Raises:
        ConfigError: The address cannot be bound for another reason (no such host, a privileged port).
    """
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        with socket.socket(family, kind, protocol) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except UnicodeError:
        raise ConfigError(f"HOST is '{host}', which is no host's name; change it.") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            return True
        raise ConfigError(
            f"Nothing can listen on {host}:{port} ({error.strerror}); change HOST or PORT."
        ) from None
    return False


def free_port(taken: Collection[int], first: int = FIRST_MODEL_SERVER_PORT) -> int:
    """The lowest port from `first` up that is neither taken, nor in use, nor reserved by another supervisor.

    Raises:
        ConfigError: There is none.
    """
    for port in range(first, 65536):
        if port not in taken and _is_free(port):
            return port
    raise ConfigError(
        f"Every port from {first} up is in use; stop some of the programs on this machine."
    )


def _is_free(port: int) -> bool:
    with (
        socket.socket() as probe
    ):  # without SO_REUSEADDR: a port that is only reserved is not free either
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def reserve(host: str, port: int) -> socket.socket:
    """Keep a port for a model server while it is not there: before it listens, and between its death and its return.

    A socket that is bound and does not listen leaves the port to programs that bind with SO_REUSEADDR, as servers do
    (socket(7)), and `free_port` of another supervisor passes it over. Closing it ends the reservation.
    """
    holding = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    with contextlib.suppress(OSError):  # somebody was faster: the model server will say so
        holding.bind((host, port))
    return holding


def holder(port: int) -> str:
    """Who listens on the port, as far as this user may know, e.g. `process 4711 (gunicorn)`."""
    inodes = _listening_inodes(port)
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            links = (str(fd.readlink()) for fd in (process / "fd").iterdir())
            if any(link in inodes for link in links):
                return f"process {process.name} ({(process / 'comm').read_text().strip()})"
    return "another program"


def _listening_inodes(port: int) -> set[str]:
    """Sockets of Linux' /proc/net/tcp* in state LISTEN (0A) on the port, as their /proc/*/fd links name them."""
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for row in Path(table).read_text().splitlines()[1:]:
                columns = row.split()
                if columns[3] == "0A" and int(columns[1].rsplit(":", 1)[1], 16) == port:
                    inodes.add(f"socket:[{columns[9]}]")
    return inodes
