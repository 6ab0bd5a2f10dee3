"""Who is who: `X-Request-Id` and W3C `traceparent` are accepted, made where absent, forwarded and answered."""

from __future__ import annotations

import re
import secrets
from typing import TYPE_CHECKING

from flask import g, request

from flask_server.facts import RequestFacts, facts

if TYPE_CHECKING:
    from flask import Flask, Response

REQUEST_ID = "X-Request-Id"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._~+/=@:-]{1,128}")
# https://www.w3.org/TR/trace-context/#traceparent-header: version, trace id, parent id, flags
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
)


def init_app(app: Flask) -> None:
    """Give every request of `app` its facts, an id and a place in a trace."""
    app.before_request(_begin)
    app.after_request(_answer)


def forwarded_headers() -> dict[str, str]:
    """What the model server is told of the request."""
    current = facts()
    headers = {REQUEST_ID: current.request_id, "traceparent": current.traceparent}
    return headers | ({"tracestate": current.tracestate} if current.tracestate else {})


def _begin() -> None:
    given = request.headers.get(REQUEST_ID, "")
    request_id = given if _REQUEST_ID.fullmatch(given) else secrets.token_hex(16)
    parent = request.headers.get("traceparent", "").strip()
    known = _TRACEPARENT.fullmatch(parent) is not None
    trace_id, flags = (parent[3:35], parent[53:55]) if known else (secrets.token_hex(16), "00")
    g.facts = RequestFacts(
        request_id=request_id,
        traceparent=f"00-{trace_id}-{secrets.token_hex(8)}-{flags}",
        tracestate=_tracestate() if known else None,
    )


def _tracestate() -> str | None:
    """Passed on as it came, unless it is longer than anyone must take or holds more than visible characters."""
    state = request.headers.get("tracestate", "")
    return state if re.fullmatch(r"[\x20-\x7e]{1,512}", state) else None


def _answer(response: Response) -> Response:
    response.headers[REQUEST_ID] = facts().request_id
    response.headers["traceparent"] = facts().traceparent
    return response
