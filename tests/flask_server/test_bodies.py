"""JSON bodies of one image, which are mostly read without a JSON parser."""

from __future__ import annotations

import tracemalloc

import pybase64
import pytest
from werkzeug import Request
from werkzeug.test import EnvironBuilder

from flask_server.bodies import Batch, images_in
from flask_server.errors import InvalidImage, InvalidRequest, TooLarge

IMAGE = bytes(range(256)) * 9
TEXT = pybase64.b64encode(IMAGE).decode()


def batch(body: str | bytes, kind: str = "application/json") -> Batch:
    """What is found in a body."""
    environ = EnvironBuilder(method="POST", data=body, content_type=kind).get_environ()
    request = Request(environ)
    request.max_content_length = 10_000_000
    return images_in(request, most=3)


@pytest.mark.parametrize(
    "body",
    [
        f'{{"b64":"{TEXT}"}}',
        f' {{ "b64"\t:\r\n"{TEXT}" }}\n',
        f'{{"b64": "data:image/jpeg;base64,{TEXT}"}}',
        f'{{"b64": "{TEXT}", "name": "x"}}',
        f'{{"name": "}}", "b64": "{TEXT}"}}',
        f'{{"b64": "{TEXT[:8]}\\n{TEXT[8:]}"}}',
        f'{{"b64": "{TEXT[:8]} {TEXT[8:]}"}}',
        f'{{"b64": "{TEXT.replace("/", chr(92) + "/")}"}}',
        f'{{"b64": "eA==", "b64": "{TEXT}"}}',
        f'{{"\\u0062\\u0036\\u0034": "{TEXT}"}}',
    ],
)
def test_one_image_however_it_is_written(body: str) -> None:
    """The image is found whatever stands around it, and however JSON writes it."""
    assert batch(body) == Batch((IMAGE,), single=True)


@pytest.mark.parametrize(
    "body",
    [
        f'{{"b64": "{TEXT}"',
        f'{{"b64": "{TEXT}"}} x',
        f'{{"b64": "{TEXT}"}}}}',
        f'{{"b64": "{TEXT}",}}',
        f'{{"b64": "{TEXT}',
        f'{{"b64" "{TEXT}"}}',
        f'{{"b64": "{TEXT[:8]}\n{TEXT[8:]}"}}',
        f'\v{{"b64": "{TEXT}"}}',
        f'{{"b64": "{TEXT}"\f}}',
    ],
)
def test_what_is_not_json_is_refused(body: str) -> None:
    """A body that JSON does not allow is no request, even where the image could be guessed."""
    with pytest.raises(InvalidRequest, match="not JSON"):
        batch(body)


@pytest.mark.parametrize("text", ["", "?", "eA", "eA=", "é", "data:image/png,eA=="])
def test_what_is_no_image_is_its_own_error(text: str) -> None:
    """Base64 that is empty or wrong is an invalid image; missing padding alone is forgiven."""
    found = batch(f'{{"b64": "{text}"}}')
    assert found.single
    if text in ("eA", "eA="):
        assert found.images == (b"x",)
    else:
        assert isinstance(found.images[0], InvalidImage)


FORM = "application/x-www-form-urlencoded"


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (b'{"instances":[' + b"[]," * 1_000_000 + b"[]]}", "application/json"),
        (b'{"instances":[' + (b"[" * 900 + b"]" * 900 + b",") * 1000 + b"0]}", "application/json"),
        (b'{"b64":[' + (b'{"a":' * 900 + b"0" + b"}" * 900 + b",") * 1000 + b"0]}", "text/plain"),
        (b"b64=ab&" * 1_000_000, FORM),
        (b"a&" * 1_000_000, FORM),
        (b"b64=ab&" * 4, FORM),
    ],
)
def test_a_body_of_many_values(body: bytes, kind: str) -> None:
    """It is refused before a value is made of each, which would take many times the body's memory."""
    tracemalloc.start()
    with pytest.raises((TooLarge, InvalidRequest)):
        batch(body, kind)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < len(body) * 3 + 1_000_000


def test_many_values_beside_an_image() -> None:
    """What else a client sends with its image does not matter, within reason."""
    boxes = ",".join("[1,2,3,4]" for _ in range(500))
    assert batch(f'{{"boxes":[{boxes}],"b64":"{TEXT}"}}').images == (IMAGE,)


@pytest.mark.parametrize("opening", ["[", '{"a":', '{"b64":'])
def test_a_body_nested_deep(opening: str) -> None:
    """However deep it goes, it is a request that says nothing usable."""
    closing = "]" if opening == "[" else "}"
    for depth in (10, 1000, 2000):
        with pytest.raises(InvalidRequest):
            batch(opening * depth + "0" + closing * depth)
