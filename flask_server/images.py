"""Untrusted bytes -> an image in the model's colours: the only file that opens images, or writes any."""

from __future__ import annotations

import io
import logging
import threading
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, TiffImagePlugin, UnidentifiedImageError

from flask_server.errors import DeadlinePassed, InvalidImage, RouterError, TooLarge
from model_config import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray
    from PIL.ImageFile import ImageFile

    from flask_server.settings import Settings

# How far a JPEG is reduced as it is decoded -> how many times larger than needed it must stay, for `resizing` to make of it
# what it makes of the whole; docs/performance.md tells how near.
_SPARE_BY_REDUCTION = {8: 2.0, 4: 2.0, 2: 1.6}
# Pillow would hand a file over 64 KB at a time, and libjpeg begins a row of blocks anew where such a piece ends.
_AT_ONCE = 16 * 2**20
_ORIENTATION_TAG = 0x0112
_FROM_THE_RIGHT, _FROM_BELOW, _ON_ITS_SIDE = {2, 3, 7, 8}, {3, 4, 6, 7}, {5, 6, 7, 8}
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
# Each scan of a progressive JPEG goes over all of its pixels again. Encoders write about ten.
_START_OF_SCAN, _MOST_SCANS = b"\xff\xda", 100
_MODES = {"rgb": "RGB", "grayscale": "L"}
# As long as a JPEG's may be. Longer ones cost more memory than their pixels: a row or a column has its own, too.
_LONGEST_SIDE = 65_535
# Six times what the largest file takes that is no trick, a PNG of 30 MB.
_MOST_SECONDS = 3.0
_log = logging.getLogger(__name__)
# Pillow only warns of an image that would fill the memory.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)
# Else Pillow itself walks through the strips of a plain TIFF, a million if a file says so, and takes a minute for it.
TiffImagePlugin.READ_LIBTIFF = True


Box = tuple[float, float, float, float]
"""Left, upper, right, lower, in pixels."""


@dataclass(frozen=True, slots=True)
class Picture:
    """A decoded image, upright, in the model's colours."""

    image: Image.Image
    """Mode RGB or L."""
    pixels: int
    """How many the file holds, however small it was decoded."""
    box: Box | None = None
    """The part that shows the photo, where that is not the whole.

    A JPEG decoded small is rounded up to whole pixels; the last row and column may hold only a part of one.
    """
    reduction: int = 1
    """Each pixel of a JPEG decoded small is the mean of so many in each direction."""


class _Source(io.BytesIO):
    """A file that Pillow may read from until it has used up its time of a processor.

    It walks through heads and plain pixels in Python, block by block: some megabytes of tiny ones would take a minute.
    """

    def __init__(self, encoded: bytes) -> None:
        super().__init__(encoded)
        self._end = time.thread_time() + _MOST_SECONDS

    def read(self, size: int | None = -1, /) -> bytes:
        if time.thread_time() > self._end:
            raise InvalidImage(f"The image takes longer than {_MOST_SECONDS:g} s to decode.")
        return super().read(size)


@dataclass(frozen=True, slots=True)
class ImageReader:
    """Opens images within limits; at most `turns` of them at once, since each takes a core and its pixels' memory."""

    formats: tuple[str, ...]
    max_pixels: int
    turns: threading.Semaphore = field(default_factory=threading.Semaphore)

    @classmethod
    def from_settings(cls, settings: Settings) -> ImageReader:
        """The reader that the settings describe.

        Raises:
            ConfigError: IMAGE_FORMATS names a format that Pillow cannot read.
        """
        Image.init()
        unknown = set(settings.image_formats) - set(Image.OPEN)
        if unknown:
            raise ConfigError(
                f"IMAGE_FORMATS names {min(unknown)}, which Pillow cannot read here;"
                f" choose among {', '.join(sorted(Image.OPEN))}."
            )
        Image.MAX_IMAGE_PIXELS = settings.max_pixels  # its own, which it has for the whole process
        turns = threading.Semaphore(settings.decode_concurrency)
        return cls(settings.image_formats, settings.max_pixels, turns)

    def read(
        self,
        encoded: bytes,
        color_mode: str,
        *,
        at_least: tuple[int, int] | None = None,
        deadline: float | None = None,
    ) -> Picture:
        """Decode an image.

        Args:
            encoded: The file's bytes.
            color_mode: `rgb` or `grayscale`.
            at_least: Height and width that it will be resized to: a larger JPEG may be decoded to a half, quarter or
                eighth, as long as it stays so much larger that the result hardly differs. None: decode it whole.
            deadline: When it must have begun at the latest, in seconds of `time.monotonic`.

        Raises:
            InvalidImage: It is no image of an allowed format, or is damaged.
            TooLarge: It has more than `max_pixels` pixels, or too long a side; found before any is decoded.
            DeadlinePassed: Time was up before its turn came.
        """
        with self._turn(deadline):
            try:
                return self._decoded(encoded, _MODES[color_mode], at_least)
            except (RouterError, MemoryError):
                raise
            except (Image.DecompressionBombError, Image.DecompressionBombWarning):
                raise TooLarge(self._too_large()) from None
            except UnidentifiedImageError:
                formats = ", ".join(self.formats)
                raise InvalidImage(f"This is not an image of a known format ({formats}).") from None
            except Exception as error:  # noqa: BLE001 - hostile bytes provoke any exception in a decoder
                _log.info("an image could not be decoded: %s: %s", type(error).__name__, error)
                raise InvalidImage("The image is damaged or truncated.") from None

    @contextmanager
    def _turn(self, deadline: float | None) -> Iterator[None]:
        left = None if deadline is None else deadline - time.monotonic()
        in_time = left is None or left > 0
        if not in_time or not self.turns.acquire(timeout=left):
            raise DeadlinePassed(
                "The images were not decoded in time; send fewer or smaller ones, or try again."
            )
        try:
            yield
        finally:
            self.turns.release()

    def _decoded(self, encoded: bytes, mode: str, at_least: tuple[int, int] | None) -> Picture:
        with Image.open(_Source(encoded), formats=self.formats) as image:
            for width, height in _sizes(image):
                self._check_size(width, height)
            pixels = image.width * image.height
            if image.info.get("progressive") and encoded.count(_START_OF_SCAN) > _MOST_SCANS:
                raise InvalidImage(f"The JPEG has more than {_MOST_SCANS} scans.")
            reduction = _reduction(image, at_least)
            box = _decode_small(image, reduction)
            reduction = reduction if box else 1
            image.decodermaxblock = _AT_ONCE
            image.load()
            orientation = _orientation(image)
            turn = _TURNS.get(orientation)
            upright = image if turn is None else image.transpose(turn)
            box = _turned(box, image.size, orientation)
            return Picture(_in_mode(upright, mode), pixels, box, reduction)

    def _check_size(self, width: int, height: int) -> None:
        if width * height > self.max_pixels:
            raise TooLarge(self._too_large())
        if max(width, height) > _LONGEST_SIDE:
            raise TooLarge(f"The image has a side of more than {_LONGEST_SIDE} pixels.")

    def _too_large(self) -> str:
        return f"The image has more than {self.max_pixels} pixels, the most that is taken."


def as_png(pixels: NDArray[np.uint8]) -> bytes:
    """Pixels [H, W, C], with one channel or three, as a PNG file."""
    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


def _sizes(image: ImageFile) -> Iterator[tuple[int, int]]:
    """Each size for which decoding takes memory: a tile of a TIFF may be larger than the image."""
    yield image.size
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        if TiffImagePlugin.TILEWIDTH in tags and TiffImagePlugin.TILELENGTH in tags:
            yield tags[TiffImagePlugin.TILEWIDTH], tags[TiffImagePlugin.TILELENGTH]


def _reduction(image: ImageFile, at_least: tuple[int, int] | None) -> int:
    """How far an image may be reduced as it is decoded."""
    if at_least is None or image.format not in ("JPEG", "MPO"):
        return 1
    spare = min(image.size) / max(at_least)
    enough = (by for by, least in _SPARE_BY_REDUCTION.items() if spare >= by * least)
    return next(enough, 1)


def _decode_small(image: ImageFile, reduction: int) -> Box | None:
    """Let a JPEG be decoded at reduced size; the result is a `Picture.box`."""
    if reduction == 1:
        return None
    reduced = image.draft(None, (image.width // reduction, image.height // reduction))
    return reduced[1] if reduced else None


def _orientation(image: Image.Image) -> int:
    """How the EXIF block says that the image lies, 1 to 8; a damaged block says nothing."""
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
    except Exception as error:  # noqa: BLE001 - as above: what a camera or an attacker wrote there
        _log.info("an EXIF block could not be read: %s: %s", type(error).__name__, error)
        return 1
    return orientation if orientation in range(2, 9) else 1


def _turned(box: Box | None, size: tuple[int, int], orientation: int) -> Box | None:
    """Where the part of an image that shows the photo is once the image is upright (EXIF 2.3, 4.6.4, Orientation)."""
    if box is None:
        return None
    left, upper, right, lower = box
    width, height = size
    if orientation in _FROM_THE_RIGHT:
        left, right = width - right, width - left
    if orientation in _FROM_BELOW:
        upper, lower = height - lower, height - upper
    return (
        (upper, left, lower, right) if orientation in _ON_ITS_SIDE else (left, upper, right, lower)
    )


def _in_mode(image: Image.Image, mode: str) -> Image.Image:
    """Convert to 8 bits a channel.

    Pillow clips wider numbers at 255; 16 bits are scaled instead, 32 bits where some do not fit, and floats are read as 0 to 1
    where none is larger.
    """
    if image.mode == mode:
        return image.copy() if image.readonly else image
    if image.mode == "LAB":  # which Pillow converts to RGB only
        image = image.convert("RGB")
    if image.mode.startswith("I;16") or image.mode in ("I", "F"):
        image = _narrowed(np.asarray(image), wide=image.mode.startswith("I;16"))
    return image.convert(mode)


def _narrowed(values: NDArray[Any], *, wide: bool) -> Image.Image:
    top = values.max(initial=0, where=np.isfinite(values))
    if values.dtype.kind == "f":
        values = np.nan_to_num(values, posinf=top, neginf=0) * np.float32(255 if top <= 1 else 1)
    elif wide or top > 255:
        values = values >> 8
    return Image.fromarray(np.clip(values, 0, 255).astype(np.uint8), "L")
