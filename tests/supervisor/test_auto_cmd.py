"""The whole program, without model servers of its own."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from typing import TYPE_CHECKING

import pytest

from flask_server.settings import Settings
from supervisor.options import PATH_VARIABLES
from supervisor.wishes import HANG_UP_SECONDS
from tests.processes import ROOT, free_port, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MODEL = "[a]\ninput_size = [8, 8]\nupstream = 'http://127.0.0.1:9'\n"


def command(folder: Path, models: str, server: str = "none") -> list[str]:
    """auto_cmd.py for these models, and a router alone unless told otherwise."""
    path = folder / "models.toml"
    path.write_text(models)
    program = [sys.executable, str(ROOT / "auto_cmd.py"), "--models", str(path)]
    return [*program, "--model-server", server]


def environment(folder: Path, **more: str) -> dict[str, str]:
    """Everything that is written goes to a folder of the test, and the router to a free port."""
    folders = {"STATE_DIR": str(folder / "state"), "LOGS_DIR": str(folder / "logs")}
    router = {"PORT": str(free_port()), "DRAIN_SECONDS": "0", "WORKERS": "1"}
    return {**os.environ, **router, **folders, **more}


def ended(folder: Path, models: str, **env: str) -> subprocess.CompletedProcess[str]:
    """What it says and exits with, where it ends by itself."""
    return subprocess.run(
        command(folder, models),
        env=environment(folder, **env),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MODEL_SERVER_FLAGS", '"abc'),
        ("HOST", "a..b"),
        ("HOST", "h" * 70),
        ("PORT", "5" * 5000),
        ("WEIGHTS_DIR", "~nobody-of-this-name/weights"),
    ],
)
def test_wrong_environment_variables_are_named(tmp_path: Path, name: str, value: str) -> None:
    """Each is one sentence, and nothing is started."""
    arguments = [*command(tmp_path, MODEL), "--check"]
    if name == "HOST":
        arguments.remove("--check")
    answer = subprocess.run(
        arguments,
        env=environment(tmp_path, **{name: value}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode == 1
    assert answer.stderr.startswith(f"auto_cmd.py: {name} ")
    assert answer.stderr.count("\n") == 1


def test_a_wrong_function_stops_everything_at_once(tmp_path: Path) -> None:
    """What the router will never take is said, and it is not started again and again."""
    answer = ended(tmp_path, MODEL + "preprocess = 'nomod:f'\n")
    assert answer.returncode == 1
    assert "starting it again" not in answer.stdout
    assert "No module named 'nomod'; without it nothing is served, so everything" in answer.stdout


def test_every_path_of_the_routers_is_passed_on_whole() -> None:
    """A setting of the router's that names a file is among the variables that are made absolute."""
    paths = {item.name.upper() for item in fields(Settings) if "Path" in str(item.type)}
    assert paths - {"PLACEMENT_FILE"} <= {*PATH_VARIABLES}  # that one the supervisor writes itself


def test_a_logs_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    """The program ends with one line about LOGS_DIR."""
    (tmp_path / "file").touch()
    answer = ended(tmp_path, MODEL, LOGS_DIR=str(tmp_path / "file"))
    assert answer.returncode == 1
    assert answer.stderr.startswith("auto_cmd.py: LOGS_DIR ")
    assert answer.stderr.count("\n") == 1


@contextlib.contextmanager
def started(
    folder: Path,
    standard_input: int = subprocess.DEVNULL,
    models: str = MODEL,
    server: str = "none",
    **env: str,
) -> Iterator[subprocess.Popen[bytes]]:
    """It runs until the block ends, in its folder, its output in a file there; yields when the table is printed."""
    with (
        (folder / "out").open("wb") as output,
        subprocess.Popen(
            command(folder, models, server),
            env=environment(folder, **env),
            cwd=folder,
            stdin=standard_input,
            stdout=output,
            stderr=output,
            start_new_session=True,
        ) as process,
    ):
        try:
            wait_until(lambda: tables(folder) > 0, seconds=30, what="it is up")
            yield process
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGTERM)
                process.wait(timeout=20)
            with contextlib.suppress(ProcessLookupError):
                process.kill()


def said(folder: Path) -> str:
    """What it has printed so far."""
    return (folder / "out").read_text()


def tables(folder: Path) -> int:
    """How often the table of models has been printed: at the start, and after each reload."""
    return said(folder).count("MODEL SERVER")


def test_closing_the_terminal_stops_everything(tmp_path: Path) -> None:
    """While the terminal is there SIGHUP is a reload; when it is gone it is the end, in order, however often it is told."""
    ours, theirs = pty.openpty()
    with started(tmp_path, theirs) as process:
        os.close(theirs)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: tables(tmp_path) == 2, seconds=20, what="the models file is read again")
        os.close(ours)
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGHUP)
        assert process.wait(timeout=20) == 129
    assert "all stopped" in said(tmp_path)


@pytest.mark.slow
def test_who_outlives_the_terminal_reads_the_file_again(tmp_path: Path) -> None:
    """Started with `disown`, it is told nothing when the terminal goes, and a SIGHUP later is a reload."""
    ours, theirs = pty.openpty()
    with started(tmp_path, theirs) as process:
        os.close(theirs)
        os.close(ours)
        time.sleep(HANG_UP_SECONDS + 0.5)
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: tables(tmp_path) == 2, seconds=20, what="the models file is read again")
        assert process.poll() is None


def test_ctrl_c_before_anything_is_started_just_ends_it(tmp_path: Path) -> None:
    """Whoever thinks better of it in the first moment sees no traceback."""
    arguments = command(tmp_path, MODEL)
    (tmp_path / "models.toml").unlink()
    os.mkfifo(tmp_path / "models.toml")
    with (
        subprocess.Popen(
            arguments, env=environment(tmp_path), stderr=subprocess.PIPE, stdin=subprocess.DEVNULL
        ) as process,
        (tmp_path / "models.toml").open("w"),  # when it is reading the file
    ):
        process.send_signal(signal.SIGINT)
        _, complaints = process.communicate(timeout=20)
    assert process.returncode == -signal.SIGINT
    assert complaints == b""


def test_without_a_terminal_a_hang_up_is_a_reload(tmp_path: Path) -> None:
    """What runs with nohup or as a service reads the models file again, as ever."""
    with started(tmp_path) as process:
        process.send_signal(signal.SIGHUP)
        wait_until(lambda: tables(tmp_path) == 2, seconds=20, what="the models file is read again")
        assert process.poll() is None


TENSORFLOW_MODEL_SERVER = f"""#!{sys.executable}
import http.server, json, sys
from pathlib import Path
flags = dict(word.lstrip("-").partition("=")[::2] for word in sys.argv[1:])

class Status(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        name = self.path.rpartition("/")[2]
        served = f'name: "{{name}}"' in Path(flags["model_config_file"]).read_text()
        rows = [{{"version": "1", "state": "AVAILABLE"}}] if served else []
        self.send_response(200)
        self.end_headers()
        self.wfile.write(json.dumps({{"model_version_status": rows}}).encode())

http.server.HTTPServer(("127.0.0.1", int(flags["rest_api_port"])), Status).serve_forever()
"""
"""As much of the real one as tells which versions it has."""
MADE_WHEN_THE_OTHER_IS_SERVED = """
import json, os, time, urllib.error, urllib.request
from pathlib import Path
here = Path(__file__).parent
told = {}
while told.get("ready") != "AVAILABLE":
    time.sleep(0.05)
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{os.environ['PORT']}/readyz")
    except urllib.error.HTTPError as error:
        told = {name: model["state"] for name, model in json.load(error)["models"].items()}
    except OSError:
        pass
(here / "told.json").write_text(json.dumps(told))
(here / "m" / "slow" / "1").mkdir(parents=True)
(here / "m" / "slow" / "1" / "saved_model.pb").touch()
"""


@pytest.mark.slow
@pytest.mark.parametrize("servers", ["separate", "shared"])
def test_a_version_that_is_still_being_made_keeps_no_other_model_waiting(
    tmp_path: Path, servers: str
) -> None:
    """What can be served is, while a slow download or training goes on; the start, and /readyz, wait for that."""
    program = tmp_path / "tensorflow_model_server"
    program.write_text(TENSORFLOW_MODEL_SERVER)
    program.chmod(0o755)
    (tmp_path / "make.py").write_text(MADE_WHEN_THE_OTHER_IS_SERVED)
    (tmp_path / "m" / "ready" / "1").mkdir(parents=True)
    (tmp_path / "m" / "ready" / "1" / "saved_model.pb").touch()
    models = f"model_servers = '{servers}'\n[ready]\ninput_size = [8, 8]\n[slow]\ninput_size = [8, 8]\ntrain = 'make.py'\n"
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "SAVED_MODELS_DIR": "m"}
    with started(tmp_path, models=models, server="binary", **env):
        told = json.loads((tmp_path / "told.json").read_text())
        assert told == {"ready": "AVAILABLE", "slow": "PREPARING"}
        rows = [line for line in said(tmp_path).splitlines() if "/predict/ " in line]
        assert [line.split()[2] for line in rows] == ["AVAILABLE", "AVAILABLE"]


def test_a_router_with_a_certificate_is_asked_over_https(
    tmp_path: Path, certificate: tuple[Path, Path]
) -> None:
    """It is up as soon as one without, and the table tells the address that answers."""
    tls = {"TLS_CERTIFICATE": str(certificate[0]), "TLS_KEY": str(certificate[1])}
    with started(tmp_path, **tls):
        assert re.search(r"^a +https://127\.0\.0\.1:\d+/a/predict/ ", said(tmp_path), re.MULTILINE)


def test_relative_paths_mean_the_folder_that_it_was_started_in(tmp_path: Path) -> None:
    """The programs that it starts find the files and folders that were named from another folder than the project's."""
    (tmp_path / "tell.py").write_text(
        "import os; print(*(os.environ[name] for name in ('SAVED_MODELS_DIR', 'WEIGHTS_DIR')))"
    )
    (tmp_path / "keys.json").write_text('{"keys": []}')
    paths = {"STATE_DIR": "state", "LOGS_DIR": "logs", "API_KEYS_FILE": "keys.json"}
    paths |= {"SAVED_MODELS_DIR": "m", "WEIGHTS_DIR": "w"}
    model = "[a]\ninput_size = [8, 8]\ntrain = 'tell.py'\n"
    with started(tmp_path, models=model, server="embedded", **paths):
        assert f"a is not served: {tmp_path}/m {tmp_path}/w\n" in said(tmp_path)
        assert (tmp_path / "logs" / "router.log").exists()


def test_a_tilde_is_the_home_folder(tmp_path: Path) -> None:
    """Also where no shell has read it, for the supervisor and for the programs that it starts."""
    (tmp_path / "tell.py").write_text("import os; print(os.environ['WEIGHTS_DIR'])")
    paths = {"HOME": str(tmp_path), "LOGS_DIR": "~/my-logs", "WEIGHTS_DIR": "~/w"}
    model = "[a]\ninput_size = [8, 8]\ntrain = 'tell.py'\n"
    with started(tmp_path, models=model, server="embedded", **paths):
        assert f"a is not served: {tmp_path}/w\n" in said(tmp_path)
        assert (tmp_path / "my-logs" / "router.log").exists()
