from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

import pytest

from scripts.command_line import UserError
from scripts.http_request import ask, key_header
from tests.certificates import self_signed
from tests.processes import free_port
from tests.scripts.answering import answering

if TYPE_CHECKING:
    from pathlib import Path


def test_this_machine_is_asked_without_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy in the environment is not asked for what runs on this machine."""
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    with answering(200, '["well"]') as url:
        assert ask(url, hint="start it") == ["well"]


def test_other_machines_are_asked_as_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    """A router elsewhere may be reachable through the proxy alone."""
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with answering(200, '["the proxy answers"]') as proxy:
        monkeypatch.setenv("http_proxy", proxy)
        assert ask("http://router.invalid:5000", hint="start it") == ["the proxy answers"]


@pytest.mark.parametrize("url", ["http://[", "http://[::1", "router", "http://\u2024\u2024/"])
def test_what_is_no_url_is_said(url: str) -> None:
    """Whatever cannot be asked is one sentence that says how it is written."""
    with pytest.raises(UserError, match=r"is no URL of a web server; write http://HOST:PORT"):
        ask(url, hint="name another")


@pytest.mark.parametrize("body", ["<html>", "", "[" * 100_000])
def test_an_answer_that_is_no_json_is_said(body: str) -> None:
    """Nor is a nesting without end, which Python's parser gives up in a way of its own."""
    with answering(200, body) as url, pytest.raises(UserError, match="answered 200 without JSON"):
        ask(url, hint="name another")


def test_a_certificate_that_is_not_trusted_is_said(tmp_path: Path) -> None:
    """It is not that nobody answers; the sentence names what makes it trusted, and that does."""
    certificate, key = self_signed(tmp_path, "IP:127.0.0.1")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    with answering(200, '["well"]', context) as url:
        with pytest.raises(UserError, match=r"is not trusted; .* REQUESTS_CA_BUNDLE"):
            ask(url, hint="start it")
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("REQUESTS_CA_BUNDLE", str(certificate))
            assert ask(url, hint="start it") == ["well"]


@pytest.mark.parametrize("key", ["a\nb", "€", "kfd_ü"])
def test_a_key_that_cannot_be_sent_is_said(monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    """It is not the URL's fault when API_KEY is no key."""
    monkeypatch.setenv("API_KEY", key)
    with pytest.raises(UserError, match="API_KEY is no key"):
        key_header()
