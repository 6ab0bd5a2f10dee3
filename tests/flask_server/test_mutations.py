"""Damaged files and bodies by the hundred: MUTATIONS=20000 asks for more of them."""

from __future__ import annotations

import base64
import ctypes
import os
import random
import urllib.parse
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import orjson
import pytest
from PIL import Image

from flask_server.settings import IMAGE_FORMATS
from tests.flask_server.test_images import saved

if TYPE_CHECKING:
    from collections.abc import Callable

    from flask.testing import FlaskClient

    from tests.flask_server.toy_model_server import ToyModelServer

COUNT = int(os.environ.get("MUTATIONS", "4000"))
PATH = "/colours/predict/"
# What may be answered: labels, or a failure of whoever sent it.
EXPECTED = {200, 400, 413}


def pictures() -> list[bytes]:
    """Files of every format, with the features that decoders stumble over."""
    noise = np.random.default_rng(5).integers(0, 256, (24, 32, 3), np.uint8)
    image = Image.fromarray(noise)
    exif = Image.Exif()
    exif[0x0112] = 6
    files = [saved(image, kind) for kind in IMAGE_FORMATS]
    files += [
        saved(image, "JPEG", progressive=True, exif=exif),
        saved(image.convert("CMYK"), "JPEG"),
    ]
    files += [saved(image, "TIFF", compression=how) for how in ("tiff_lzw", "jpeg", "tiff_deflate")]
    files += [
        saved(image.convert("P"), "PNG"),
        saved(image.convert("1"), "TIFF", compression="group4"),
    ]
    files += [saved(image, "WEBP", lossless=True, exif=exif), saved(image.convert("LA"), "PNG")]
    for kind in ("GIF", "WEBP", "PNG", "TIFF", "MPO"):
        files.append(saved(image, kind, save_all=True, append_images=[image.rotate(90)]))
    return files


def mutated(data: bytes, chance: random.Random) -> bytes:
    """The same with some bytes changed, cut out, doubled, or the end missing."""
    changed = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 5, 20))):
        place = chance.randrange(len(changed)) if chance.random() < 0.5 else chance.randrange(64)
        place = min(place, len(changed) - 1)
        match chance.randrange(6):
            case 0:
                changed[place] ^= 1 << chance.randrange(8)
            case 1:
                changed[place] = chance.choice((0, 1, 0x7F, 0x80, 0xFF))
            case 2:
                changed[place : place + 4] = chance.choice(
                    (b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff")
                )
            case 3:
                del changed[place : place + chance.randrange(1, 16)]
            case 4:
                changed[place:place] = changed[place : place + chance.randrange(1, 64)]
            case _:
                del changed[max(1, place) :]
        changed = changed or bytearray(b"\x00")
    return bytes(changed)


def bodies(picture: bytes, chance: random.Random) -> dict[str, Any]:
    """A request that carries the picture in one of the ways; sometimes the body itself is damaged."""
    text = base64.b64encode(picture).decode()
    body, kind = chance.choice(
        (
            (picture, "image/png"),
            (picture, ""),
            (orjson.dumps({"b64": text}), "application/json"),
            (orjson.dumps({"instances": [{"b64": text}, {"b64": text}]}), "application/json"),
            (f"b64={urllib.parse.quote(text)}".encode(), "application/x-www-form-urlencoded"),
            (
                b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\n%b\r\n--x--'
                % picture,
                "multipart/form-data; boundary=x",
            ),
        )
    )
    damaged = mutated(body, chance) if chance.random() < 0.3 else body
    return {"data": damaged, "content_type": kind}


def resident_kilobytes() -> int:
    """How much memory this process holds, without what the C library keeps although it is free."""
    ctypes.CDLL(None).malloc_trim(0)
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmRSS:")[1].split()[0])


# Pillow's complaints about damaged metadata are only logged where the router runs as a program.
@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")
@pytest.mark.timeout(60 + COUNT // 20)
def test_mutations(client_of: Callable[..., FlaskClient], toy: ToyModelServer) -> None:
    """Whatever is sent, the answer is labels or a sentence, never a 5xx; and memory does not grow."""
    client = client_of(max_pixels=2_000_000, max_body_bytes=1_000_000)
    chance = random.Random(int(os.environ.get("MUTATIONS_SEED", "1")))
    originals, seen, early = pictures(), dict.fromkeys(EXPECTED, 0), 0
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
        for number in range(COUNT):
            if number == COUNT // 4:
                early = resident_kilobytes()
            response = client.post(
                PATH, **bodies(mutated(chance.choice(originals), chance), chance)
            )
            assert response.status_code in EXPECTED, (number, response.text)
            seen[response.status_code] += 1
            toy.model.requests.clear()  # it runs in this process, whose memory is measured
    assert all(seen[status] for status in (200, 400)), "neither too mild nor too wild"
    assert resident_kilobytes() < early * 1.1
