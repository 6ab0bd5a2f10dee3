"""One HTTP request, whose failures are sentences for a person."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, cast

import requests
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema

from scripts.command_line import UserError
from supervisor.ports import is_local

if TYPE_CHECKING:
    from collections.abc import Mapping


TIMEOUT_SECONDS = 60.0
WITHOUT_PROXY = {"http": "", "https": ""}
"""For this machine's own servers, which no proxy reaches; elsewhere the environment decides (http_proxy, no_proxy, …)."""


class BusyError(UserError):
    """The server cannot answer now (503), or has answered this caller too often (429)."""

    def __init__(self, sentence: str, http_status: int, retry_after_seconds: float) -> None:
        super().__init__(sentence)
        self.http_status = http_status
        self.retry_after_seconds = retry_after_seconds


class KeyRefusedError(UserError):
    """An API key is wanted, or another one, or its quota is used up: asking again will not help."""


def ask(  # noqa: PLR0913 - what a request consists of
    url: str,
    *,
    hint: str,
    json: object = None,
    body: Mapping[str, str] | bytes | None = None,
    params: Mapping[str, str] | None = None,
    headers: Mapping[str, str] | None = None,
) -> object:
    """Send a request, a POST if there is something to send, and return the JSON of its answer.

    Args:
        url: Where to.
        hint: What to do when nobody answers there.
        json: What is sent as JSON.
        body: What is sent as a form, or as it is.
        params: The query.
        headers: What is said beside it, such as `key_header()`.

    Raises:
        BusyError: The server says that it cannot answer now.
        KeyRefusedError: The server does not let the caller in.
        UserError: Nobody answers, or the answer is a failure or no JSON; the sentence quotes the server's own.
    """
    method = "GET" if json is None and body is None else "POST"
    try:
        response = requests.request(
            method,
            url,
            json=json,
            data=body,
            params=params,
            headers=headers,
            timeout=TIMEOUT_SECONDS,
            proxies=WITHOUT_PROXY if is_local(url) else None,
        )
    except requests.Timeout:
        raise UserError(f"{url} did not answer within {TIMEOUT_SECONDS:g} s.") from None
    except requests.exceptions.SSLError:
        raise UserError(
            f"The certificate of {url} is not trusted; name the file of whoever signed it in the environment's REQUESTS_CA_BUNDLE."
        ) from None
    except requests.ConnectionError:
        raise UserError(f"Nobody answers at {url}; {hint}.") from None
    except (InvalidSchema, InvalidURL, MissingSchema, ValueError):
        raise UserError(f"'{url}' is no URL of a web server; write http://HOST:PORT.") from None
    except requests.RequestException as error:
        raise UserError(f"'{url}' cannot be asked: {error}; {hint}.") from None
    return _answer(response, hint)


def key_header() -> dict[str, str]:
    """The environment's API_KEY, for a router that asks for one; never to be sent to a model server.

    Raises:
        KeyRefusedError: It cannot be sent.
    """
    key = os.environ.get("API_KEY", "").strip()
    if not (key.isascii() and key.isprintable()):
        raise KeyRefusedError(
            "The environment's API_KEY is no key: one is letters, digits and '_'."
        )
    return {"X-API-Key": key} if key else {}


def _answer(response: requests.Response, hint: str) -> object:
    try:
        answer = response.json()
    except (ValueError, RecursionError):
        raise UserError(
            f"{response.url} answered {response.status_code} without JSON; is it the right server? Otherwise {hint}."
        ) from None
    if not response.ok:
        raise _failure(response, answer)
    return cast(object, answer)


def _failure(response: requests.Response, answer: object) -> UserError:
    sentence = f"{response.url} answered {response.status_code}: {_reason(answer)}"
    if response.status_code in (401, 403):
        return KeyRefusedError(f"{sentence} Scripts send the key in the environment's API_KEY.")
    if response.status_code not in (429, 503):
        return UserError(sentence)
    after = response.headers.get("Retry-After", "")
    return BusyError(sentence, response.status_code, float(after) if after.isdecimal() else 1.0)


def _reason(answer: object) -> str:
    """What the router (problem details) or a model server (`error`) says of a failure."""
    if isinstance(answer, dict):
        return str(answer.get("detail") or answer.get("error") or answer.get("title") or answer)
    return str(answer)
