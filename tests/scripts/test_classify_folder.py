from __future__ import annotations

import csv
import json
import os
import threading
import time
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

import pytest

from scripts import classify_folder
from tests.processes import free_port
from tests.scripts.running import assert_one_sentence, run_script

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.slow


class Router(ThreadingHTTPServer):
    """Answers with the length of what it is sent; what is empty it calls damaged, and it may be busy at first."""

    def __init__(self, busy: int = 0) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.busy = busy
        self.refuses_with = 0
        self.answer: object = None
        self.retry_after = "0"
        self.asked: list[bytes] = []
        self.lock = threading.Lock()


class Handler(BaseHTTPRequestHandler):
    """One request to the router."""

    server: Router

    def do_GET(self) -> None:
        """`/readyz`."""
        self._answer(200, {"status": "ready"})

    def do_POST(self) -> None:
        """The model's route."""
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with self.server.lock:
            self.server.asked.append(body)
            self.server.busy -= 1
            busy = self.server.busy >= 0
        if self.server.refuses_with:
            self._answer(self.server.refuses_with, {"detail": "This needs an API key."})
        elif busy:
            self._answer(503, {"detail": "No version is available."})
        elif not body:
            self._answer(400, {"detail": "The image is damaged or truncated."})
        else:
            self._answer(200, self.server.answer or [[str(len(body)), f"a,b\n{len(body)}", 0.5]])

    def _answer(self, status: int, document: object) -> None:
        self.send_response(status)
        self.send_header("Retry-After", "73794" if status == 429 else self.server.retry_after)
        self.end_headers()
        self.wfile.write(json.dumps(document).encode())

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextmanager
def router(busy: int = 0) -> Iterator[tuple[Router, list[str]]]:
    """A running router, and the arguments that name it."""
    with Router(busy) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server, ["--model", "any", "--url", f"http://127.0.0.1:{server.server_port}"]
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two good pictures, one of them further down, a damaged one, and a file that is no picture."""
    folder = tmp_path / "photos"
    (folder / "below").mkdir(parents=True)
    (folder / "one.JPG").write_bytes(b"x")
    (folder / "below" / "two.png").write_bytes(b"xx")
    (folder / "damaged.gif").write_bytes(b"")
    (folder / "notes.txt").write_bytes(b"none")
    return folder


def rows(file: Path) -> dict[str, dict[str, str]]:
    """The table's lines by file."""
    with file.open(newline="") as stream:
        return {row["file"]: row for row in csv.DictReader(stream)}


def test_each_picture_has_a_line(folder: Path, tmp_path: Path) -> None:
    """Labels for those that are good, the reason for those that are not, nothing for other files."""
    with router() as (_, arguments):
        process = run_script("classify_folder", folder, *arguments, cwd=tmp_path)
    assert process.returncode == 0, process.stderr
    table = rows(tmp_path / "predictions.csv")
    assert set(table) == {"one.JPG", "below/two.png", "damaged.gif"}
    assert table["below/two.png"]["id_1"] == "2"
    assert table["below/two.png"]["name_1"] == "a,b\n2"
    assert table["below/two.png"]["score_1"] == "0.500000"
    assert "damaged or truncated" in table["damaged.gif"]["error"]
    assert "3 lines in predictions.csv, 1 failure among them" in process.stdout


def test_a_second_run_asks_only_for_what_is_missing(folder: Path, tmp_path: Path) -> None:
    """Whole lines stay, failures are tried again, and a half-written last line is dropped."""
    with router() as (server, arguments):
        run_script("classify_folder", folder, *arguments, cwd=tmp_path)
        file = tmp_path / "predictions.csv"
        file.write_text(file.read_text() + "three.png,,")
        (folder / "damaged.gif").write_bytes(b"xxx")
        (folder / "three.png").write_bytes(b"xxxx")
        server.asked.clear()
        process = run_script("classify_folder", folder, *arguments, cwd=tmp_path)
    assert sorted(server.asked) == [b"xxx", b"xxxx"]
    assert "4 pictures, 2 of them done before" in process.stdout
    assert {name: row["id_1"] for name, row in rows(file).items()} == {
        "one.JPG": "1",
        "below/two.png": "2",
        "damaged.gif": "3",
        "three.png": "4",
    }


def test_a_picture_of_any_name_has_one_line(folder: Path, tmp_path: Path) -> None:
    """Bytes that are no UTF-8 and a carriage return in a name neither end the run nor are asked for twice."""
    (folder / os.fsdecode(b"\xff.png")).write_bytes(b"xxx")
    (folder / "a\rb.png").write_bytes(b"xxxx")
    with router() as (server, arguments):
        server.answer = [["\ud800", "half a character", 0.5]]
        first = run_script("classify_folder", folder, *arguments, cwd=tmp_path)
        server.asked.clear()
        again = run_script("classify_folder", folder, *arguments, cwd=tmp_path)
    assert again.returncode == 0, again.stderr
    assert first.returncode == 0, first.stderr
    assert server.asked == [b""]
    table = rows(tmp_path / "predictions.csv")
    assert {"\\udcff.png", "a\\rb.png"} < set(table)
    assert len(table) == 5


def test_a_busy_model_is_asked_again(folder: Path, tmp_path: Path) -> None:
    """A 503 that says when to come back costs no picture its line."""
    with router(busy=3) as (server, arguments):
        run_script("classify_folder", folder, "--concurrency", "1", *arguments, cwd=tmp_path)
    assert len(server.asked) == 6
    assert sum(bool(row["error"]) for row in rows(tmp_path / "predictions.csv").values()) == 1


def test_a_model_that_is_away_for_longer_ends_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A 503 may ask for more patience than there is: the picture is asked about again sooner."""
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    with router(busy=1) as (server, (*_, url)):
        server.retry_after = "120"
        assert classify_folder._ask_patiently(url, b"x", 1)
    assert pauses == [10]


@pytest.mark.parametrize("answer", [{"grade": 2}, ["a", "b"], [["1", "one", 0.5]] * 3])
def test_an_answer_of_a_models_own_has_its_line(
    folder: Path, tmp_path: Path, answer: object
) -> None:
    """What is no list of labels stands as JSON where the name does; labels beyond --top are left out."""
    with router() as (server, arguments):
        server.answer = answer
        run_script("classify_folder", folder, *arguments, cwd=tmp_path)
        server.asked.clear()
        run_script("classify_folder", folder, *arguments, cwd=tmp_path)
    assert server.asked == [b""]
    row = rows(tmp_path / "predictions.csv")["one.JPG"]
    expected = "one" if answer == [["1", "one", 0.5]] * 3 else json.dumps(answer)
    assert (row["error"], row["name_1"]) == ("", expected)


@pytest.mark.parametrize("status", [401, 403, 429])
def test_a_refused_key_ends_it_at_once(folder: Path, tmp_path: Path, status: int) -> None:
    """What one picture is refused for (a day's quota, too), all would be: a sentence, no table of failures."""
    with router() as (server, arguments):
        server.refuses_with = status
        process = run_script(
            "classify_folder", folder, "--concurrency", "1", *arguments, cwd=tmp_path
        )
    assert_one_sentence(process, f"answered {status}: This needs an API key.")
    assert len(server.asked) < 3
    assert rows(tmp_path / "predictions.csv") == {}


def test_another_table_is_not_overwritten(folder: Path, tmp_path: Path) -> None:
    """A file with other columns is left alone."""
    (tmp_path / "mine.csv").write_text("name,age\n")
    with router() as (_, arguments):
        process = run_script(
            "classify_folder", folder, "--out", "mine.csv", *arguments, cwd=tmp_path
        )
    assert_one_sentence(process, "mine.csv", "--out")
    assert (tmp_path / "mine.csv").read_text() == "name,age\n"


def test_a_router_that_is_not_there_is_one_sentence(folder: Path, tmp_path: Path) -> None:
    """Nothing is written before the router has answered."""
    url = f"http://127.0.0.1:{free_port()}"
    process = run_script("classify_folder", folder, "--model", "m", "--url", url, cwd=tmp_path)
    assert_one_sentence(process, url, "make run")
    assert not (tmp_path / "predictions.csv").exists()


@pytest.mark.parametrize("name", ["nowhere", "empty"])
def test_a_folder_without_pictures_is_one_sentence(tmp_path: Path, name: str) -> None:
    """Whether it is missing or empty, it is named."""
    (tmp_path / "empty").mkdir()
    process = run_script("classify_folder", name, "--model", "m", cwd=tmp_path)
    assert_one_sentence(process, name)
