"""JSON bodies of one image, which are mostly read without a JSON parser."""

from __future__ import annotations

import pybase64
import pytest
from werkzeug import Request
from werkzeug.test import EnvironBuilder

from flask_server.bodies import Batch, images_in
from flask_server.errors import InvalidImage, InvalidRequest

IMAGE = bytes(range(256)) * 9
TEXT = pybase64.b64encode(IMAGE).decode()


def batch(body: str) -> Batch:
    """What is found in a JSON body."""
    environ = EnvironBuilder(
        method="POST", data=body, content_type="application/json"
    ).get_environ()
    request = Request(environ)
    request.max_content_length = 1_000_000
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
