from __future__ import annotations

import os
import shutil
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from tests.processes import answers, free_port, running_command

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.slow

ACTIVATE = "systemd-socket-activate"


@pytest.mark.skipif(shutil.which(ACTIVATE) is None, reason=f"needs {ACTIVATE} (package systemd)")
def test_the_router_takes_its_socket_from_systemd(tmp_path: Path) -> None:
    """Systemd listens, the first request starts the router, which tells that it is ready and answers that request."""
    models = tmp_path / "models.toml"
    models.write_text("[any]\ninput_size = [8, 8]\n")
    port = free_port()
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notified:
        notified.bind(str(tmp_path / "notify"))
        notified.settimeout(30)
        env = {
            **os.environ,
            "MODELS_FILE": str(models),
            "PORT": str(port),
            "NOTIFY_SOCKET": str(tmp_path / "notify"),
            "WORKERS": "1",
        }
        pass_on = [f"--setenv={name}" for name in env]
        command = [ACTIVATE, f"--listen=127.0.0.1:{port}", *pass_on, sys.executable]
        log = tmp_path / "log"
        with running_command(*command, "-m", "flask_server", log=log, env=env) as router:
            router.wait_for(f"http://127.0.0.1:{port}/livez", seconds=30)
            assert b"READY=1" in notified.recv(1000)
            assert router.stop() in (0, -15)
    assert not answers(f"http://127.0.0.1:{port}/livez")
