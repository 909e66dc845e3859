"""Contact sheets of pictures with captions, and PNG files."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFont

from pcfdsl.store.atomic import write_file

__all__ = ["contact_sheet", "png_bytes", "save_png"]

CAPTION_SIZE = 14


def contact_sheet(
    images: Sequence[np.ndarray],
    captions: Sequence[str] | None = None,
    *,
    columns: int | None = None,
    gap: int = 12,
    background: str = "white",
    ink: str = "#333333",
) -> np.ndarray:
    """Pictures in rows, each with its caption below.

    Args:
        images: [H, W, 3] uint8 each; sizes may differ, a smaller one is centred in its cell.
        captions: One text per picture; a text wider than its cell is cut and ends in "...". By default none.
        columns: Pictures per row; by default the number that makes the sheet about as wide as 3:2.
        gap: Pixels between cells and around the sheet.
        background: Name or #rrggbb; so is `ink`, the colour of the captions.

    Returns:
        [height, width, 3] uint8.

    Raises:
        ValueError: Without pictures, for pictures of another kind, or captions of another number.
    """
    if not images:
        raise ValueError("contact_sheet got no pictures; give at least one [H, W, 3] uint8 array")
    for k, image in enumerate(images):
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
            raise ValueError(f"picture {k} has shape {image.shape} and type {image.dtype}; expected [H, W, 3] uint8")
    if captions is not None and len(captions) != len(images):
        raise ValueError(f"{len(captions)} captions for {len(images)} pictures; give one per picture")
    if columns is not None and columns < 1:
        raise ValueError(f"columns is {columns}; it must be at least 1")
    cell_height, cell_width = max(i.shape[0] for i in images), max(i.shape[1] for i in images)
    if columns is None:
        columns = max(1, round(float(np.sqrt(1.5 * len(images) * cell_height / cell_width))))
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    text_height = 0 if captions is None else CAPTION_SIZE + 8
    step_x, step_y = cell_width + gap, cell_height + text_height + gap
    sheet = Image.new("RGB", (columns * step_x + gap, rows * step_y + gap), ImageColor.getrgb(background)[:3])
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(size=CAPTION_SIZE)
    for k, image in enumerate(images):
        left, top = gap + k % columns * step_x, gap + k // columns * step_y
        height, width = image.shape[:2]
        sheet.paste(Image.fromarray(image), (left + (cell_width - width) // 2, top + (cell_height - height) // 2))
        if captions is not None:
            middle = (left + cell_width / 2, top + cell_height + text_height / 2)
            draw.text(middle, _fitted(captions[k], cell_width, font), anchor="mm", font=font, fill=ink)
    return np.array(sheet)


def png_bytes(image: np.ndarray) -> bytes:
    """[H, W, 3] uint8 as the content of a PNG file; equal pictures give equal bytes."""
    content = io.BytesIO()
    Image.fromarray(image).save(content, format="PNG", optimize=True)
    return content.getvalue()


def save_png(path: str | Path, image: np.ndarray) -> Path:
    """Write [H, W, 3] uint8 to a PNG file, atomically."""
    write_file(path, png_bytes(image))
    return Path(path)


def _fitted(text: str, width: int, font) -> str:
    text = text.replace("\n", " ")
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
