"""Picture files of every mode that Pillow reads, as 8-bit grey or RGB: converted or refused, but never clipped."""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

__all__ = ["NO_PICTURE", "PICTURE_FILES", "check_picture", "pixels_of", "read_picture"]

PICTURE_FILES = (
    ".png",
    ".jpg",
    ".jpeg",
    ".bmp",
    ".gif",
    ".ppm",
    ".pgm",
    ".tif",
    ".tiff",
    ".webp",
    ".jfif",
    ".jpe",
    ".avif",
    ".jp2",
    ".tga",
)
# What Pillow raises for damaged files and for decompression bombs.
NO_PICTURE = (OSError, SyntaxError, ValueError, Image.DecompressionBombError)


def read_picture(path: str | Path) -> np.ndarray:
    """Read a picture in any format that Pillow supports: uint8 [H, W] if it is grey, else [H, W, 3].

    Raises:
        OSError: If there is no such file.
        ValueError: If it is not a readable picture; the message names the file.
    """
    data = Path(path).read_bytes()
    try:
        with Image.open(io.BytesIO(data)) as image:
            return pixels_of(image)
    except NO_PICTURE as error:
        raise ValueError(f"{path} cannot be read as a picture ({_reason(error)}); repair or remove it") from None


def check_picture(path: str | Path) -> str | None:
    """Why `read_picture` would refuse a file, judged by its header without decoding it; None if it would not."""
    try:
        with Image.open(path) as image:
            return _refusal(image.mode)
    except NO_PICTURE as error:
        return f"cannot be read as a picture ({_reason(error)})"


def pixels_of(image: Image.Image) -> np.ndarray:
    """Convert a picture to uint8: [H, W] if it is grey, else [H, W, 3] RGB.

    It is rotated upright as its EXIF data say. 16-bit values are divided by 257; a TIFF of 32 bits may also hold 8-bit
    ones. Transparent parts become white.

    Raises:
        ValueError: If its values have no known range: floating point, or 32-bit integers beyond 16 bits.
    """
    if refusal := _refusal(image.mode):
        raise ValueError(refusal)
    kind = image.format
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if kind == "TIFF" and image.mode == "I" and values.min() >= 0 and values.max() <= 255:
            return values.astype(np.uint8)  # 8 bits, saved with 32
        if values.min() < 0 or values.max() > 65535:
            raise ValueError(f"its values range from {values.min()} to {values.max()}; expected 8 or 16 bits")
        return np.round(values / 257).astype(np.uint8)
    grey = image.mode in ("1", "L", "LA", "La")
    if "transparency" in image.info or image.mode in ("LA", "La", "RGBA", "RGBa", "PA"):
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return np.array(image.convert("L" if grey else "RGB"))


def _reason(error: Exception) -> str:
    return "of no kind that is known, or damaged" if isinstance(error, UnidentifiedImageError) else str(error)


def _refusal(mode: str) -> str | None:
    if mode == "F":
        return "its values are floating-point numbers of unknown range; save it with 8 or 16 bits"
    return None
