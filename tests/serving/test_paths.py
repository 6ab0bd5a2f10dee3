"""The URL grammar."""

from __future__ import annotations

import pytest

from serving.errors import InvalidArgument
from serving.paths import (
    Inference,
    Metadata,
    Status,
    Target,
    VersionOutOfRange,
    is_api,
    is_valid_uri,
    parse,
)


@pytest.mark.parametrize(
    ("method", "path", "asked"),
    [
        ("POST", "/v1/models/m:predict", Inference(Target("m"), "predict")),
        ("POST", "/V1/Models/m/VERSIONS/7:regress", Inference(Target("m", 7), "regress")),
        (
            "POST",
            "/v1/models/m/labels/st%61ble:classify",
            Inference(Target("m", None, "stable"), "classify"),
        ),
        ("GET", "/v1/models/m", Status(Target("m"))),
        ("GET", "/v1/models/m/versions/0012", Status(Target("m", 12))),
        ("GET", "/v1/models/a%2Fb+c", Status(Target("a/b+c"))),
        ("GET", "/v1/models/m?x=1", Status(Target("m?x=1"))),
        ("GET", "/v1/models/m/metadata", Metadata(Target("m"))),
        ("GET", "/v1/models/m/METADATA", Status(Target("m"))),
        ("GET", "/v1/models/metadata", Status(Target("metadata"))),
        ("GET", "/v1/models/versions/1", Status(Target("", 1))),
    ],
)
def test_parse_understands(method: str, path: str, asked: object) -> None:
    """Names are unescaped after the split; path words ignore case; nothing is normalised."""
    assert parse(method, path) == asked


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models/m:predict"),
        ("GET", "/v1/models/m/"),
        ("GET", "/v1/models/m/versions/x"),
        ("GET", "/v1/models/m/metadata?x=1"),
        ("PUT", "/v1/models/m"),
        ("POST", "/v1/models/m"),
        ("POST", "/v1/models/m:Predict"),
        ("POST", "/v1/models/m:predict?x=1"),
        ("POST", "/v1/models/m:pre%64ict"),
        ("POST", "/v1/models/a:b:predict"),
    ],
)
def test_parse_refuses_what_no_route_matches(method: str, path: str) -> None:
    """What no route matches is echoed as malformed, byte for byte."""
    with pytest.raises(InvalidArgument) as refused:
        parse(method, path)
    assert refused.value.message == f"Malformed request: {method} {path}"


@pytest.mark.parametrize("digits", [str(2**63), "9" * 5000])
def test_a_version_beyond_int64_is_its_own_error(digits: str) -> None:
    """A version that no int64 holds is told apart, however long it is."""
    with pytest.raises(VersionOutOfRange):
        parse("GET", f"/v1/models/m/versions/{digits}")


def test_only_v1_is_the_api() -> None:
    """Whatever is not under /v1/ is not the API's."""
    assert is_api("/v1/")
    assert is_api("/V1/anything?at#all")
    assert not is_api("/v1")
    assert not is_api("//v1/models/m")


def test_uris_are_checked_as_libevent_does() -> None:
    """Broken escapes and characters outside RFC 3986 make a target invalid."""
    assert is_valid_uri("/v1/models/a%2Fb:predict?x=/y#z")
    assert not any(is_valid_uri(uri) for uri in ("/%zz", "/%", "/a[1]", '/"a"', "/a b"))
