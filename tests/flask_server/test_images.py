from __future__ import annotations

import io
import struct
import time
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from flask_server import images
from flask_server.errors import InvalidImage, TooLarge
from flask_server.images import ImageReader
from flask_server.settings import IMAGE_FORMATS
from tests.flask_server.conftest import encoded

READER = ImageReader(IMAGE_FORMATS, max_pixels=1_000_000)


def read(file: bytes, color_mode: str, at_least: tuple[int, int] | None = None) -> Image.Image:
    """The decoded image."""
    return READER.read(file, color_mode, at_least=at_least).image


RAMP = np.linspace(0, 255, 64, dtype=np.uint8).reshape(8, 8)


def saved(image: Image.Image, kind: str, **how: Any) -> bytes:
    """The image's file."""
    file = io.BytesIO()
    image.save(file, kind, **how)
    return file.getvalue()


def ramp(mode: str) -> Image.Image:
    """A grey ramp in some mode."""
    return Image.fromarray(RAMP).convert("RGB").convert(mode)


@pytest.mark.parametrize("kind", IMAGE_FORMATS)
def test_formats(kind: str) -> None:
    """Every allowed format is read, to RGB and to grey."""
    file = saved(ramp("RGB"), kind)
    for color_mode, mode in (("rgb", "RGB"), ("grayscale", "L")):
        image = read(file, color_mode)
        assert (image.mode, image.size) == (mode, (8, 8))
        assert np.abs(np.asarray(image.convert("L"), np.int16) - RAMP).max() < 12


@pytest.mark.parametrize(
    ("mode", "kind"),
    [
        ("CMYK", "JPEG"),
        ("CMYK", "TIFF"),
        ("L", "JPEG"),
        ("P", "PNG"),
        ("P", "GIF"),
        ("LA", "PNG"),
        ("RGBA", "PNG"),
        ("RGBA", "WEBP"),
        ("1", "PNG"),
        ("LAB", "TIFF"),
        ("YCbCr", "TIFF"),
    ],
)
def test_modes(mode: str, kind: str) -> None:
    """Every colour mode becomes RGB."""
    source = ramp("L").convert("RGB").convert("LAB") if mode == "LAB" else ramp(mode)
    image = read(saved(source, kind), "rgb")
    assert (image.mode, image.size) == ("RGB", (8, 8))


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bits(kind: str) -> None:
    """16 bits a pixel are scaled to 8, not clipped."""
    wide = Image.fromarray(RAMP.astype(np.uint16) * 257)
    image = read(saved(wide, kind), "grayscale")
    assert np.abs(np.asarray(image, np.int16) - RAMP).max() <= 1


def test_sixteen_bits_of_a_dark_picture() -> None:
    """They are scaled whatever they show: 200 of 65,535 is black, not light grey."""
    dark = Image.fromarray(np.full((4, 4), 200, np.uint16))
    assert np.asarray(read(saved(dark, "PNG"), "grayscale")).max() == 0


@pytest.mark.parametrize(
    ("dtype", "factor"), [(np.float32, 1 / 255), (np.float32, 1), (np.int32, 257)]
)
def test_wide_tiff(dtype: Any, factor: float) -> None:
    """Floats from 0 to 1 or 0 to 255, and 32-bit integers, become 8 bits."""
    wide = Image.fromarray((RAMP * dtype(factor)).astype(dtype))
    image = read(saved(wide, "TIFF"), "rgb")
    assert np.abs(np.asarray(image, np.int16)[..., 0] - RAMP).max() <= 1


@pytest.mark.parametrize("odd", [np.nan, np.inf, -np.inf])
def test_a_pixel_that_is_no_number(odd: float) -> None:
    """One such pixel of a float TIFF changes none of the others."""
    wide = RAMP.astype(np.float32) / 255
    wide[0, 0] = odd
    image = read(saved(Image.fromarray(wide), "TIFF"), "grayscale")
    assert np.abs(np.asarray(image, np.int16) - RAMP)[1:].max() <= 1


def test_colour_spaces_of_print_for_a_grayscale_model() -> None:
    """LAB goes by way of RGB."""
    lab = saved(ramp("L").convert("RGB").convert("LAB"), "TIFF")
    assert read(lab, "grayscale").mode == "L"


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_exif_orientation(kind: str, orientation: int) -> None:
    """A photo is turned upright as its EXIF block says."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    picture = Image.new("RGB", (20, 12))
    picture.paste((255, 255, 255), (0, 0, 10, 6))
    image = read(saved(picture, kind, exif=exif), "grayscale")
    white = np.asarray(image, np.int16) > 128
    corner = {
        1: (0, 0),
        2: (0, 1),
        3: (1, 1),
        4: (1, 0),
        5: (0, 0),
        6: (0, 1),
        7: (1, 1),
        8: (1, 0),
    }
    down, right = corner[orientation]
    height, width = white.shape
    assert (height, width) == ((12, 20) if orientation < 5 else (20, 12))
    half = white[down * height // 2 :, right * width // 2 :][: height // 2, : width // 2]
    assert half.mean() > 0.8
    assert white.mean() < 0.35


def test_exif_that_says_odd_things_beside_the_orientation() -> None:
    """A tag of a wrong type keeps no photo from being turned upright."""
    orientation = struct.pack(">HHIHxx", 0x0112, 3, 1, 6)
    resolution = struct.pack(">HHI4s", 0x011A, 2, 3, b"72")  # as text; it should be a fraction
    exif = b"Exif\0\0MM\0*" + struct.pack(">IH", 8, 2) + orientation + resolution + bytes(4)
    file = saved(Image.new("RGB", (20, 12)), "JPEG", exif=exif)
    assert read(file, "rgb").size == (12, 20)


def test_a_jpeg_that_is_gone_over_again_and_again() -> None:
    """Each scan of a progressive JPEG costs a pass over all pixels: one of hundreds is refused, not decoded."""
    file = saved(ramp("RGB").resize((64, 64)), "JPEG", progressive=True)
    last = file.rindex(b"\xff\xda")
    assert read(file, "rgb").size == (64, 64)
    with pytest.raises(InvalidImage, match="100 scans"):
        read(file[:-2] + file[last:-2] * 100 + file[-2:], "rgb")


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data:UserWarning")
def test_damaged_exif() -> None:
    """An EXIF block that cannot be read says nothing; the photo is read."""
    file = saved(ramp("RGB"), "JPEG", exif=b"Exif\x00\x00MM\x00*\xff\xff\xff\xff" + b"\xff" * 30)
    assert read(file, "rgb").size == (8, 8)


@pytest.mark.parametrize("kind", IMAGE_FORMATS)
def test_truncated(kind: str) -> None:
    """A file cut in the middle of its pixels is an invalid image."""
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    file = saved(Image.fromarray(noise), kind)
    for end in (0, 1, 10, len(file) // 3, len(file) * 2 // 3):
        with pytest.raises(InvalidImage):
            read(file[:end], "rgb")


def test_avif_can_be_added() -> None:
    """A format that is not allowed of itself is read where the setting names it."""
    file = saved(ramp("RGB"), "AVIF")
    assert ImageReader(("AVIF",), 1_000_000).read(file, "rgb").image.size == (8, 8)


def test_formats_that_are_not_allowed() -> None:
    """A format outside the allow-list is refused even if Pillow could read it."""
    for kind in ("AVIF", "ICO", "TGA", "PDF", "EPS", "JPEG2000", "PCX", "SGI"):
        with pytest.raises(InvalidImage, match="known format"):
            read(saved(ramp("RGB"), kind), "rgb")


def chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk of a PNG."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def test_bomb_is_refused_before_it_is_decoded() -> None:
    """A few bytes that claim many pixels are too large, found without decoding them."""
    for width, height in ((1001, 1000), (30_000, 30_000), (2_000_000_000, 2_000_000_000)):
        header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
        file = b"\x89PNG\r\n\x1a\n" + header + chunk(b"IDAT", b"") + chunk(b"IEND", b"")
        with pytest.raises(TooLarge):
            read(file, "rgb")


def tiff(width: int, height: int, further: dict[int, tuple[int, bytes]], pixels: bytes) -> bytes:
    """A grey TIFF; `further` are tags with their type and values."""
    tags = {256: width, 257: height, 258: 8, 262: 1, 277: 1}
    entries = {tag: (4, struct.pack("<I", value)) for tag, value in tags.items()} | further
    start = 8 + len(pixels) + 2 + 12 * len(entries) + 4
    directory, values = struct.pack("<H", len(entries)), b""
    for tag, (kind, value) in sorted(entries.items()):
        count = len(value) // {3: 2, 4: 4}[kind]
        place = value.ljust(4, b"\0")
        if len(value) > 4:
            place = struct.pack("<I", start + len(values))
            values += value
        directory += struct.pack("<HHI", tag, kind, count) + place
    head = b"II*\0" + struct.pack("<I", 8 + len(pixels))
    return head + pixels + directory + bytes(4) + values


def tiled(side: int) -> bytes:
    """A TIFF of one pixel in one square tile."""
    tile = zlib.compress(bytes(side * side))
    numbers = {259: 8, 322: side, 323: side, 324: 8, 325: len(tile)}
    further = {tag: (4, struct.pack("<I", number)) for tag, number in numbers.items()}
    return tiff(1, 1, further, tile)


def test_a_tile_larger_than_its_image() -> None:
    """Tiles of a TIFF count as an image does, for each is decoded whole."""
    assert read(tiled(1000 - 1000 % 16), "rgb").size == (1, 1)
    with pytest.raises(TooLarge, match="1000000 pixels"):
        read(tiled(1008), "rgb")


def test_a_side_longer_than_any_camera_makes() -> None:
    """A row of a million pixels is refused though these are few: each column and row costs memory of its own."""
    for size in ((65_536, 1), (1, 65_536)):
        with pytest.raises(TooLarge, match="65535"):
            read(saved(Image.new("L", size), "PNG"), "rgb")
    assert read(saved(Image.new("L", (65_535, 1)), "PNG"), "rgb").size == (65_535, 1)


def test_a_plain_tiff_of_a_million_strips() -> None:
    """It is refused at once, not walked through strip by strip."""
    strips = {273: (3, struct.pack("<H", 8) * 200_000), 278: (3, struct.pack("<H", 1))}
    begun = time.thread_time()
    with pytest.raises(InvalidImage):
        read(tiff(10, 10, strips, bytes(10)), "rgb")
    assert time.thread_time() - begun < 1


def test_a_file_that_takes_too_long_to_decode(monkeypatch: pytest.MonkeyPatch) -> None:
    """Decoding ends when a file has used up its time, here with blocks that are unpacked one after the other."""
    monkeypatch.setattr(images, "_MOST_SECONDS", 0.1)
    profile = chunk(b"iCCP", b"x\0\0" + zlib.compress(bytes(1_000_000)))
    file = saved(ramp("RGB"), "PNG")
    begun = time.thread_time()
    with pytest.raises(InvalidImage, match=r"0\.1 s"):
        read(file[:33] + profile * 1000 + file[33:], "rgb")
    assert time.thread_time() - begun < 0.5
    assert read(file[:33] + profile + file[33:], "rgb").size == (8, 8)


def test_large_jpeg_is_decoded_small() -> None:
    """A JPEG is decoded at reduced size where that suffices: 1.6 times the wanted size when halved, else twice."""
    file = saved(Image.new("RGB", (800, 600)), "JPEG")
    assert read(file, "rgb", at_least=(37, 37)).size == (100, 75)
    assert read(file, "rgb", at_least=(38, 38)).size == (200, 150)
    assert read(file, "rgb", at_least=(75, 75)).size == (200, 150)
    assert read(file, "rgb", at_least=(76, 76)).size == (400, 300)
    assert read(file, "rgb", at_least=(187, 187)).size == (400, 300)
    assert read(file, "rgb", at_least=(188, 188)).size == (800, 600)
    assert read(file, "rgb").size == (800, 600)


def test_animation() -> None:
    """Of an animation the first frame counts."""
    red, blue = Image.new("RGB", (4, 4), (255, 0, 0)), Image.new("RGB", (4, 4), (0, 0, 255))
    for kind in ("GIF", "WEBP", "PNG", "TIFF"):
        image = read(saved(red, kind, save_all=True, append_images=[blue]), "rgb")
        assert image.getpixel((0, 0))[0] > 240  # type: ignore[index]


def test_phone_photo_of_several_pictures() -> None:
    """A multi-picture JPEG, as phones make them, is a JPEG."""
    red, blue = Image.new("RGB", (40, 40), (255, 0, 0)), Image.new("RGB", (40, 40), (0, 0, 255))
    file = saved(red, "MPO", save_all=True, append_images=[blue])
    assert read(file, "rgb", at_least=(4, 4)).getpixel((0, 0))[0] > 240  # type: ignore[index]


def test_alpha_is_dropped_as_keras_does() -> None:
    """Transparent pixels keep their colour, as keras.utils.load_img has it."""
    assert read(saved(Image.new("RGBA", (2, 2), (9, 8, 7, 0)), "PNG"), "rgb").getpixel((0, 0)) == (
        9,
        8,
        7,
    )


def test_encoded_helper_makes_what_it_says() -> None:
    """The test picture has the colour asked for."""
    assert read(encoded((1, 2, 3)), "rgb").getpixel((0, 0)) == (1, 2, 3)
