"""The small HTML pages of the real server's HTTP library, for what never reaches the REST API."""

from __future__ import annotations

from http import HTTPStatus

CONTENT_TYPE = "text/html"
_CLIENT_CLOSED_REQUEST = 499


def error_page(status: int) -> bytes:
    """A page that tells a status."""
    phrase = reason(status)
    text = (
        f"<HTML><HEAD>\n<TITLE>{status} {phrase}</TITLE>\n</HEAD><BODY>\n"
        f"<H1>{phrase}</H1>\n</BODY></HTML>\n"
    )
    return text.encode()


def reason(status: int) -> str:
    """The words that follow a status."""
    if status == _CLIENT_CLOSED_REQUEST:
        return "Client Closed Request"
    return HTTPStatus(status).phrase
