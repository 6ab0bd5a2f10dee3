"""Hosts on one switch, made of network namespaces: real addresses, real links that can be cut. Needs root."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.deploy.container import needs_namespaces
from tests.processes import running_command

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.processes import Program

SUBNET = "10.213.57"
"""Lives only inside the namespaces; this machine's own network is not touched."""


def needs_hosts() -> list[pytest.MarkDecorator]:
    """Skips where hosts cannot be made."""
    without_ip = shutil.which("ip") is None
    return [needs_namespaces(), pytest.mark.skipif(without_ip, reason="needs ip (iproute2)")]


def ip(*words: str) -> None:
    """Run `ip`; fail with what it says if it fails."""
    result = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 0, f"ip {' '.join(words)}: {result.stderr}"


class Host:
    """A namespace with one interface, whose cable ends in the switch."""

    def __init__(self, network: Network, number: int) -> None:
        self.network = network
        self.number = number
        self.namespace = f"{network.name}-{number}"
        self.address = f"{SUBNET}.{number}"

    def connect(self) -> None:
        """Make the namespace, its interface and the cable."""
        switch, port = self.network.switch, f"port{self.number}"
        ip("netns", "add", self.namespace)
        ip("-n", self.namespace, "link", "set", "lo", "up")
        peer = ("peer", "name", "eth0", "netns", self.namespace)
        ip("-n", switch, "link", "add", port, "type", "veth", *peer)
        ip("-n", switch, "link", "set", port, "master", "bridge", "up")
        ip("-n", self.namespace, "address", "add", f"{self.address}/24", "dev", "eth0")
        ip("-n", self.namespace, "link", "set", "eth0", "up")

    def cut(self) -> None:
        """Pull the cable: nothing comes through, and nobody is told."""
        ip("-n", self.network.switch, "link", "set", f"port{self.number}", "down")

    def restore(self) -> None:
        """Put the cable back."""
        ip("-n", self.network.switch, "link", "set", f"port{self.number}", "up")

    @contextlib.contextmanager
    def running(self, *command: str | Path, log: Path, **env: str) -> Iterator[Program]:
        """Run a program on this host."""
        inside = ("ip", "netns", "exec", self.namespace, *command)
        with running_command(*inside, log=log, env={**os.environ, **env}) as program:
            yield program

    def output(self, *command: str | Path) -> str:
        """What a short command on this host prints."""
        inside = ["ip", "netns", "exec", self.namespace, *map(str, command)]
        return subprocess.run(inside, capture_output=True, text=True, timeout=20, check=True).stdout


class Network:
    """A switch, and the hosts on it."""

    def __init__(self) -> None:
        self.name = f"kfd{os.getpid()}"
        self.switch = f"{self.name}-switch"
        self.hosts: list[Host] = []

    def __enter__(self) -> Network:
        ip("netns", "add", self.switch)
        ip("-n", self.switch, "link", "add", "bridge", "type", "bridge")
        ip("-n", self.switch, "link", "set", "bridge", "up")
        return self

    def __exit__(self, *_: object) -> None:
        for namespace in (*(host.namespace for host in self.hosts), self.switch):
            with contextlib.suppress(AssertionError):
                ip("netns", "delete", namespace)

    def add_host(self) -> Host:
        """One more host, connected."""
        host = Host(self, len(self.hosts) + 1)
        self.hosts.append(host)
        host.connect()
        return host
