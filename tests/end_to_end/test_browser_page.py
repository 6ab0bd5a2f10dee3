"""The page at `/` and Swagger UI at `/docs`, driven in Chromium."""

from __future__ import annotations

import base64
import json
import os
import re
import shutil
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import expect

from tests.browser import faultless
from tests.processes import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from tests.end_to_end.conftest import Deployment, Guarded

# The first test may have to install Chromium and train a model.
pytestmark = [pytest.mark.browser, pytest.mark.tensorflow, pytest.mark.timeout(900)]

SEVEN = ROOT / "test_images" / "digit_7.png"
# What lies on which background.
CHOSEN = ".model:has(:checked)"
BACKGROUNDS = {
    ".card": ("h2", ".quiet", ".score", ".model .name", "#labels .name"),
    CHOSEN: (f"{CHOSEN} .state", f"{CHOSEN} .about"),
    "pre": ("#call",),
}
# A DataTransfer with one file, as dropping or pasting brings it.
TRANSFER = """b64 => {
    const bytes = Uint8Array.from(atob(b64), letter => letter.charCodeAt(0));
    const transfer = new DataTransfer();
    transfer.items.add(new File([bytes], "digit_7.png", { type: "image/png" }));
    return transfer;
}"""


@pytest.fixture
def opened(page: Page, deployment: Deployment) -> Page:
    """The page with the model `digits` chosen."""
    page.goto(deployment.url)
    page.get_by_role("radio", name="digits").check()
    return page


def check_seven(page: Page) -> None:
    """The page shows five labels of a seven."""
    expect(page.locator("#labels li .name")).to_have_count(5)
    expect(page.locator("#labels li .name").first).to_have_text("seven")


def transferred(page: Page) -> Any:
    """The picture as the browser hands over what is dropped or pasted."""
    return page.evaluate_handle(TRANSFER, base64.b64encode(SEVEN.read_bytes()).decode())


def choose(page: Page) -> None:
    """Choose a file."""
    page.locator("#file").set_input_files(SEVEN)


def photograph(page: Page) -> None:
    """Let the camera deliver a photo."""
    page.locator("#camera").set_input_files(SEVEN)


def click_sample(page: Page) -> None:
    """Click a sample."""
    page.get_by_role("button", name="Sample digit_7.png").click()


def drop(page: Page) -> None:
    """Drop a file onto the page."""
    page.dispatch_event("#drop", "drop", {"dataTransfer": transferred(page)})


def paste(page: Page) -> None:
    """Paste a picture."""
    page.evaluate(
        "clipboardData => document.dispatchEvent(new ClipboardEvent('paste', { clipboardData }))",
        transferred(page),
    )


@pytest.mark.parametrize("give", [choose, photograph, click_sample, drop, paste])
def test_every_way_of_giving_a_picture(opened: Page, give: Callable[[Page], None]) -> None:
    """A picture that is chosen, photographed, picked from the samples, dropped or pasted gets its labels."""
    give(opened)
    check_seven(opened)


def test_time_is_shown_by_stage(opened: Page) -> None:
    """The waterfall has a row for each stage of Server-Timing, each beginning where the one before ends."""
    click_sample(opened)
    check_seven(opened)
    names = opened.locator("#stages .name").all_text_contents()
    assert {"decode", "preprocess", "upstream", "network, browser"} <= set(names)
    starts = opened.locator("#stages .fill").evaluate_all(
        "fills => fills.map(fill => Number(fill.style.getPropertyValue('--start') || 0))"
    )
    assert starts == sorted(starts)


def test_another_model_is_asked_about_the_same_picture(opened: Page) -> None:
    """Choosing another model asks it at once about the picture that is there."""
    click_sample(opened)
    check_seven(opened)
    opened.get_by_role("radio", name="colours").check()
    expect(opened.locator("#labels li")).to_have_count(3)


def test_failure_is_a_sentence(opened: Page, tmp_path: Path) -> None:
    """What the router says of a file that is no picture stands on the page, for screen readers too."""
    (tmp_path / "notes.png").write_text("no picture")
    opened.locator("#file").set_input_files(tmp_path / "notes.png")
    expect(opened.locator("[aria-live] .failure")).to_contain_text("not an image")


def test_states_are_live(opened: Page, deployment: Deployment) -> None:
    """A model that goes away is told within seconds, and so is its return, without a reload."""
    state = opened.locator(".model", has_text="colours").locator(".state")
    expect(state).to_have_text("available")
    deployment.toy.model.versions.clear()
    expect(state).to_have_text("unreachable", timeout=15_000)
    deployment.toy.model.versions.append(1)
    expect(state).to_have_text("available", timeout=15_000)


def test_states_that_come_in_leave_the_focus_where_it_is(opened: Page) -> None:
    """Whoever goes through the models with the keyboard still stands on one after the list was read again."""
    radio = opened.get_by_role("radio", name="digits")
    radio.focus()
    for _ in range(2):
        with opened.expect_response("**/models/"):
            pass
    expect(opened.locator("#models-state")).to_be_empty()
    expect(radio).to_be_focused()


def test_a_router_that_is_gone_is_told(opened: Page) -> None:
    """When the router no longer answers, the page says so, and goes on when it is back."""
    opened.context.set_offline(True)
    expect(opened.locator("#models-state")).to_contain_text("does not answer", timeout=15_000)
    opened.context.set_offline(False)
    expect(opened.locator("#models-state")).to_be_empty(timeout=15_000)


def test_keyboard_alone_suffices(opened: Page) -> None:
    """From the chosen model, Tab and Enter lead to a sample's labels."""
    opened.get_by_role("radio", name="digits").focus()
    for _ in range(40):
        opened.keyboard.press("Tab")
        if "digit_7" in opened.evaluate("document.activeElement.dataset.name ?? ''"):
            break
    opened.keyboard.press("Enter")
    check_seven(opened)


def code_of(page: Page, language: str) -> str:
    """The call in one of the languages."""
    # The label, not the radio button beneath it: only so Playwright waits until the growing page stands still.
    page.locator("label", has=page.get_by_role("radio", name=language)).click()
    expect(page.get_by_role("radio", name=language)).to_be_checked()
    return page.locator("#call").inner_text()


@pytest.fixture(params=["digit_7.png", """ Bob's "best",\\ 7 at the beach; $HOME é.png"""])
def own_picture(request: pytest.FixtureRequest, opened: Page, tmp_path: Path) -> Path:
    """A picture that the page was given, whatever its name."""
    copy = tmp_path / request.param
    shutil.copy(SEVEN, copy)
    opened.locator("#file").set_input_files(copy)
    check_seven(opened)
    return copy


def test_python_call_runs(opened: Page, own_picture: Path) -> None:
    """The Python code on the page, run beside the picture, prints the labels."""
    code = code_of(opened, "Python")
    run = subprocess.run(
        [sys.executable, "-c", code],
        cwd=own_picture.parent,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert run.stdout.split()[1] == "seven"


def test_key_is_asked_for_and_never_shown(page: Page, guarded: Guarded) -> None:
    """A router with API keys makes the page ask for one, which opens it and stands in none of the calls."""
    page.goto(guarded.url)
    expect(page.locator("#models-state")).to_contain_text("Send a valid API key")
    page.get_by_label("API key").fill("kfd_\N{HORIZONTAL ELLIPSIS}")  # as a page has shown it, cut
    page.get_by_role("button", name="Use it").click()
    expect(page.locator("#key:invalid")).to_be_visible()
    page.get_by_label("API key").fill(guarded.key)
    page.get_by_role("button", name="Use it").click()
    page.get_by_role("radio", name="digits").check()
    click_sample(page)
    check_seven(page)
    expect(page.get_by_label("API key")).to_be_hidden()
    for language in ("curl", "TypeScript", "Python"):
        code = code_of(page, language)
        assert guarded.key not in code
        assert "Authorization" in code
    env = os.environ | {"API_KEY": guarded.key}
    program = [sys.executable, "-c", code]
    run = subprocess.run(
        program, cwd=SEVEN.parent, env=env, capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout.split()[1] == "seven"


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
def test_curl_call_runs(opened: Page, own_picture: Path) -> None:
    """The curl command on the page, run beside the picture, answers the labels."""
    command = code_of(opened, "curl").replace("curl ", "curl -s ", 1)
    run = subprocess.run(
        ["sh", "-c", command], cwd=own_picture.parent, capture_output=True, timeout=60, check=True
    )
    assert json.loads(run.stdout)[0][1] == "seven"


def test_typescript_call_names_the_model(opened: Page) -> None:
    """The TypeScript code posts to the chosen model."""
    assert "/digits/predict/" in code_of(opened, "TypeScript")


def test_call_is_copied(opened: Page) -> None:
    """The copy button puts the code into the clipboard and says so."""
    opened.context.grant_permissions(["clipboard-read", "clipboard-write"])
    opened.get_by_role("button", name="Copy").click()
    expect(opened.locator("#copied")).to_have_text("Copied.")
    assert opened.evaluate("navigator.clipboard.readText()").startswith("curl ")


def test_no_other_host_is_asked(page: Page, deployment: Deployment) -> None:
    """The page and Swagger UI ask nobody but the router, so they work offline."""
    hosts: set[str] = set()
    page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    page.goto(deployment.url)
    click_sample(page)
    expect(page.locator("#labels li").first).to_be_visible()
    page.goto(f"{deployment.url}/docs")
    expect(page.locator(".opblock").first).to_be_visible()
    assert hosts - {""} == {urlsplit(deployment.url).netloc}


@pytest.fixture(params=["light", "dark"])
def phone(
    request: pytest.FixtureRequest, browser: Browser, deployment: Deployment
) -> Iterator[Page]:
    """The page on a phone of 375 pixels, in light and in dark."""
    context = browser.new_context(
        viewport={"width": 375, "height": 812},
        is_mobile=True,
        has_touch=True,
        color_scheme=request.param,
    )
    with faultless(context.new_page()) as page:
        page.goto(deployment.url)
        page.get_by_role("radio", name="digits").check()
        yield page
        context.close()


def test_phone(phone: Page) -> None:
    """On a phone nothing sticks out, the camera is offered, and the labels come into view."""
    expect(phone.get_by_text("Take a photo")).to_be_visible()
    assert phone.locator("#camera").get_attribute("capture") == "environment"
    click_sample(phone)
    check_seven(phone)
    expect(phone.locator("#labels li").first).to_be_in_viewport()
    assert phone.evaluate("document.documentElement.scrollWidth") == 375


def test_contrast(phone: Page) -> None:
    """Text stands out from its background by 4.5 to 1, as WCAG 2.2 asks (1.4.3), in light and in dark."""
    click_sample(phone)
    check_seven(phone)
    for back, texts in BACKGROUNDS.items():
        ground = luminance(phone, back, "backgroundColor")
        for text in texts:
            light, dark = sorted((ground, luminance(phone, text, "color")), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, text


def luminance(page: Page, selector: str, name: str) -> float:
    """The relative luminance (WCAG 2.2) of a computed colour."""
    colour = page.locator(selector).first.evaluate(f"one => getComputedStyle(one).{name}")
    shares = [int(part) / 255 for part in re.findall(r"\d+", colour)[:3]]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_swagger_ui_calls_the_model(page: Page, deployment: Deployment) -> None:
    """In Swagger UI a model's example can be tried as it stands, and is answered."""
    page.goto(f"{deployment.url}/docs")
    operation = page.locator(".opblock", has_text="/digits/predict/")
    operation.click()
    operation.get_by_role("button", name="Try it out").click()
    operation.get_by_role("button", name="Execute").click()
    expect(operation.locator(".live-responses-table")).to_contain_text("zero")
