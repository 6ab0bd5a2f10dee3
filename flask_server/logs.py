"""The log: one line a request, for people (text) or for programs (JSON); no key, no image, no forged line in it."""

from __future__ import annotations

import json
import logging
import re
import time
from typing import TYPE_CHECKING, Any

from flask import request

from flask_server.facts import facts

if TYPE_CHECKING:
    from flask import Flask, Response

# Asked every few seconds by machines: in the log only when something is wrong, or at LOG_LEVEL=debug.
_QUIET_ENDPOINTS = frozenset({"livez", "readyz", "metrics", "static", "sample", "docs_asset"})
_LONGEST_TEXT = 1000
_KEY = re.compile(r"kfd_([0-9a-f]{8})_[0-9a-f]+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_PLAIN_VALUE = re.compile(r"[!#-<>-~]+")  # visible ASCII without quotes and '='
_log = logging.getLogger(__name__)


def set_up_logging(level: str, log_format: str) -> None:
    """Write lines to standard error; called by entry points only.

    Args:
        level: The least important lines that are written: debug, info, warning or error.
        log_format: `text` or `json`.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if log_format == "json" else TextFormatter())
    logging.basicConfig(level=level.upper(), handlers=[handler])
    logging.captureWarnings(capture=True)
    logging.getLogger("gunicorn.error").setLevel(logging.WARNING)


def init_app(app: Flask) -> None:
    """Log one line for each request of `app`."""
    app.after_request(_log_request)


class TextFormatter(logging.Formatter):
    """`2026-01-31T12:00:00.000Z INFO logger: message name=value …`; tracebacks are indented below."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        words = [_time(record), record.levelname, f"{record.name}:", _shown(record.getMessage())]
        words += [f"{name}={_value(value)}" for name, value in _fields(record).items()]
        traceback = "".join(f"\n    | {_shown(line)}" for line in self._traceback(record))
        return _without_keys(" ".join(words) + traceback)

    def _traceback(self, record: logging.LogRecord) -> list[str]:
        return self.formatException(record.exc_info).splitlines() if record.exc_info else []


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time, level, logger, message, and what the message is about."""

    def format(self, record: logging.LogRecord) -> str:
        """See `logging.Formatter.format`."""
        line: dict[str, Any] = {
            "time": _time(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage()[:_LONGEST_TEXT],
            **_fields(record),
        }
        if record.exc_info:
            line["traceback"] = self.formatException(record.exc_info)
        return _without_keys(json.dumps(line))


def _log_request(response: Response) -> Response:
    quiet = request.endpoint in _QUIET_ENDPOINTS and response.status_code < 400
    level = logging.DEBUG if quiet else logging.INFO
    if _log.isEnabledFor(level):
        _log.log(level, "request", extra={"fields": _request_fields(response.status_code)})
    return response


def _request_fields(status: int) -> dict[str, Any]:
    current = facts()
    stages = {**current.stage_seconds, "total": current.total_seconds()}
    fields = {
        "method": request.method,
        "path": request.path[:200],
        "status": status,
        "model": current.model,
        "version": current.version,
        "key": current.key_name,
        "problem": current.problem,
        **{f"{name}_ms": round(seconds * 1000, 1) for name, seconds in stages.items()},
        "client": request.remote_addr,
        "id": current.request_id,
        "trace": current.traceparent[3:35],
    }
    return {name: value for name, value in fields.items() if value is not None}


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = getattr(record, "fields", {})
    return fields


def _time(record: logging.LogRecord) -> str:
    """UTC, ISO 8601, milliseconds."""
    seconds = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{seconds}.{int(record.msecs):03d}Z"


def _value(value: object) -> str:
    text = str(value)
    return text if _PLAIN_VALUE.fullmatch(text) else json.dumps(text)


def _shown(text: str) -> str:
    """What others wrote must not begin a new line, colour the terminal, or fill the disk."""
    return _CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text[:_LONGEST_TEXT])


def _without_keys(line: str) -> str:
    """No API key, wherever somebody put one; its id remains."""
    return _KEY.sub(r"kfd_\1_…", line)
