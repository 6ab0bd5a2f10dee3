"""The URL grammar of TensorFlow Serving's REST API, as one pure function.

Paths are matched as they come, percent-escapes and query included: nothing is normalised, and
names are unescaped only after the split (so `%2F` may be part of a name).
Source: https://www.tensorflow.org/tfx/serving/api_rest and recorded answers of the real server.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal
from urllib.parse import unquote

from serving.errors import InvalidArgument

Verb = Literal["predict", "classify", "regress"]

INT64_MAX = 2**63 - 1

_VERBS: tuple[Verb, ...] = ("predict", "classify", "regress")

_PREFIX = re.compile(r"/v1/.*", re.IGNORECASE | re.DOTALL)
_VERSION = r"(?:/versions/(?P<version>[0-9]+)|/labels/(?P<label>[^/:]+))?"
_INFERENCE = re.compile(
    rf"/v1/models/(?P<model>[^/:]+){_VERSION}:(?P<verb>classify|regress|predict)", re.IGNORECASE
)
_STATUS = re.compile(
    rf"/v1/models(?:/(?P<model>[^/:]+))?{_VERSION}(?:/(?P<verb>metadata))?", re.IGNORECASE
)

# RFC 3986, section 3.3: what libevent lets through in a path, a query and a fragment.
_PCHAR = r"(?:[A-Za-z0-9\-._~!$&'()*+,;=:@/]|%[0-9A-Fa-f]{2})"
_URI = re.compile(rf"{_PCHAR}*(?:\?(?:{_PCHAR}|\?)*)?(?:#(?:{_PCHAR}|\?)*)?")


@dataclass(frozen=True)
class Target:
    """Which version of which model is meant: a number, a label, or neither (the newest)."""

    model: str
    version: int | None = None
    version_label: str | None = None


@dataclass(frozen=True)
class Inference:
    """`POST …:predict`, `:classify` or `:regress`."""

    target: Target
    verb: Verb


@dataclass(frozen=True)
class Status:
    """`GET …`: the states of a model's versions."""

    target: Target


@dataclass(frozen=True)
class Metadata:
    """`GET …/metadata`: the signatures of a version."""

    target: Target


class VersionOutOfRange(InvalidArgument):
    """A version number that no int64 can hold; the real server answers 400 with an empty body."""


def is_valid_uri(uri: str) -> bool:
    """Whether an HTTP library as strict as libevent lets `uri` through."""
    return _URI.fullmatch(uri) is not None


def is_api(path: str) -> bool:
    """Whether `path` is under `/v1/`; all else is not the API's."""
    return _PREFIX.fullmatch(path) is not None


def parse(method: str, path: str) -> Inference | Status | Metadata:
    """Say what is asked for.

    Args:
        method: the HTTP method, in capitals.
        path: the raw request target under `/v1/`, query included.

    Raises:
        InvalidArgument: no route matches.
        VersionOutOfRange: the version is beyond int64.
    """
    if method == "POST" and (match := _INFERENCE.fullmatch(path)):
        target = _target(match)
        for verb in _VERBS:  # the route ignores case, this does not
            if match["verb"] == verb:
                return Inference(target, verb)
    elif method == "GET" and (match := _STATUS.fullmatch(path)):
        target = _target(match)
        return Metadata(target) if match["verb"] == "metadata" else Status(target)
    raise InvalidArgument(f"Malformed request: {method} {path}")


def _target(match: re.Match[str]) -> Target:
    version, label = match["version"], match["label"]
    if version is not None and _exceeds_int64(version):
        raise VersionOutOfRange(f"Failed to convert version: {version} to numeric.")
    return Target(
        _unquoted(match["model"] or ""),
        None if version is None else int(version.lstrip("0") or "0"),
        None if label is None else _unquoted(label),
    )


def _exceeds_int64(digits: str) -> bool:
    significant = digits.lstrip("0")
    return len(significant) > len(str(INT64_MAX)) or int(significant or "0") > INT64_MAX


def _unquoted(name: str) -> str:
    return unquote(name, errors="surrogateescape")
