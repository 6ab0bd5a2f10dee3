"""The Angular application of `examples/`, built, served on another origin, and driven in Chromium."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import threading
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import expect

from tests.debian import unavailable
from tests.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from playwright.sync_api import CDPSession, Page

    from tests.end_to_end.conftest import Deployment

# The first test may have to install Chromium and the packages, train a model and build the application.
pytestmark = [pytest.mark.browser, pytest.mark.tensorflow, pytest.mark.timeout(900)]

EXAMPLE = ROOT / "examples" / "angular-frontend"
SEVEN = ROOT / "test_images" / "digit_7.png"


def npm_path() -> str:
    """Where npm is, with a Node.js that Angular runs on."""
    npm, node = shutil.which("npm"), shutil.which("node")
    if npm is None or node is None:
        unavailable("npm is not installed; install Node.js 20.19 or newer")
    told = subprocess.run([node, "--version"], capture_output=True, text=True, check=True)
    if tuple(map(int, told.stdout.strip("v\n").split(".")[:2])) < (20, 19):
        unavailable(f"Node.js is {told.stdout.strip()}; install 20.19 or newer")
    return npm


def npm(*arguments: str, seconds: float) -> None:
    """Run npm in the example; fail with what it printed."""
    run = subprocess.run(
        [npm_path(), *arguments],
        cwd=EXAMPLE,
        env=os.environ | {"NG_CLI_ANALYTICS": "false"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr


def packages_are_current() -> bool:
    """Whether `npm ci` was run since the lock file changed; npm leaves a copy of it in node_modules."""
    copy, lock = EXAMPLE / "node_modules" / ".package-lock.json", EXAMPLE / "package-lock.json"
    return copy.is_file() and copy.stat().st_mtime >= lock.stat().st_mtime


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the application, built for production from the committed lock file."""
    if not packages_are_current():
        npm("ci", seconds=240)
    folder = tmp_path_factory.mktemp("angular")
    npm("run", "build", "--", "--output-path", str(folder), seconds=180)
    return folder / "browser"


class _QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture(scope="module")
def origin(built: Path, deployment: Deployment) -> Iterator[str]:
    """The application on the origin that the router allows; its config.json names the router."""
    (built / "config.json").write_text(json.dumps({"api": deployment.url}))
    handler = partial(_QuietHandler, directory=str(built))
    with ThreadingHTTPServer(("127.0.0.1", deployment.allowed_port), handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        yield f"http://127.0.0.1:{deployment.allowed_port}"
        server.shutdown()


@pytest.fixture
def opened(page: Page, origin: str) -> Page:
    """The application with the model `digits` chosen."""
    page.goto(origin)
    page.get_by_label("Model").select_option("digits")
    return page


@pytest.fixture
def network(page: Page) -> CDPSession:
    """Chromium's own view of the tab's traffic, which shows preflights and can be slowed down."""
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    return session


def test_lock_file_names_no_registry() -> None:
    """The lock file works with any mirror: no package is tied to the registry it came from."""
    packages = json.loads((EXAMPLE / "package-lock.json").read_text())["packages"]
    assert len(packages) > 100
    assert not [name for name, package in packages.items() if "resolved" in package]


def test_five_labels(opened: Page, network: CDPSession) -> None:
    """A photo goes to the router as base64, after a preflight, and five labels come back as a list with bars."""
    sent: list[dict[str, Any]] = []
    network.on("Network.requestWillBeSent", lambda told: sent.append(told))  # noqa: PLW0108 - must be a Python function
    with opened.expect_request("**/digits/predict/") as request:
        opened.locator("input[type=file]").set_input_files(SEVEN)
    rows = opened.get_by_role("listitem")
    expect(rows).to_have_count(5)
    expect(rows.first).to_contain_text("seven")
    expect(rows.first.get_by_role("meter", name="seven")).to_be_visible()
    expect(opened.get_by_text("Answered by version 1 of digits.")).to_be_visible()
    assert set(request.value.post_data_json) == {"b64"}
    told = [one["request"] for one in sent]
    methods = [one["method"] for one in told if one["url"].endswith("/digits/predict/")]
    assert sorted(methods) == ["OPTIONS", "POST"]  # the first is the preflight


def test_upload_progress(opened: Page, network: CDPSession) -> None:
    """On a slow line the share of the photo that is sent is shown as it grows."""
    slow = {"offline": False, "latency": 0, "downloadThroughput": -1, "uploadThroughput": 300_000}
    network.send("Network.emulateNetworkConditions", slow)
    large = {"name": "seven.png", "mimeType": "image/png"}
    padded = SEVEN.read_bytes() + bytes(600_000)  # what follows a PNG's end is of no meaning
    opened.locator("input[type=file]").set_input_files({**large, "buffer": padded})
    opened.wait_for_function(
        "() => { const { value } = document.querySelector('progress') ?? {}; return 0 < value && value < 1 }",
        polling=20,
    )
    expect(opened.get_by_role("listitem").first).to_contain_text("seven")
    expect(opened.locator("progress")).to_have_count(0)


def test_failure_is_a_sentence(opened: Page) -> None:
    """What the router says of a file that is no picture is read out as an alert."""
    notes = {"name": "notes.png", "mimeType": "image/png", "buffer": b"no picture"}
    opened.locator("input[type=file]").set_input_files(notes)
    expect(opened.get_by_role("alert")).to_contain_text("This is not an image of a known format")
    expect(opened.get_by_role("listitem")).to_have_count(0)


def test_another_origin_is_told_why(page: Page, origin: str) -> None:
    """On an origin that the router does not allow, the page says which setting would allow it."""
    other = origin.replace("127.0.0.1", "localhost")
    page.goto(other)
    expect(page.get_by_role("alert")).to_contain_text(f"does its CORS_ORIGINS allow {other}?")


def test_address_of_the_router_is_found_at_run_time(page: Page, origin: str) -> None:
    """`?api=` in the page's address says where the router is, without a new build."""
    page.goto(f"{origin}/?api=http://127.0.0.1:1/")
    expect(page.get_by_role("alert")).to_contain_text("http://127.0.0.1:1 cannot be reached")


def test_keyboard_reaches_the_photo(page: Page, origin: str) -> None:
    """The file chooser opens from the keyboard."""
    page.on("filechooser", lambda chooser: chooser.set_files(SEVEN))
    page.goto(origin)
    page.get_by_label("Model").select_option("digits")
    page.get_by_label("Model").focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("listitem").first).to_contain_text("seven")
