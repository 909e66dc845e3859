"""Self-contained HTML files that need no network: viewers for clouds and boxes, and reports."""

import base64
import html
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from importlib import resources
from pathlib import Path

import numpy as np

from pcfdsl.rng import stream
from pcfdsl.store.atomic import write_file
from pcfdsl.view.camera import check_points
from pcfdsl.view.render import BOX_COLOR, HEIGHT_RAMP, TRUTH_COLOR, check_boxes, check_colors
from pcfdsl.view.sheet import png_bytes

__all__ = [
    "CLOUD_POINTS",
    "PageItem",
    "Picture",
    "Section",
    "Table",
    "Viewer",
    "page_html",
    "thinned",
    "write_page",
    "write_report",
]

STEPS = 65535
CLOUD_POINTS = 200_000  # most points of one cloud in a page: 1.6 MB, or 2.4 MB with colours
VIEWER_POINTS = 1_000_000  # most points of all clouds in a viewer, unless they are so many that each has few
FEW_POINTS = 5_000
SCRIPTS = ("draw.js", "boxes.js", "viewer.js")


@dataclass(frozen=True, eq=False)
class PageItem:
    """One cloud to look at.

    Attributes:
        points: [N, 3] metres, z up; finite.
        colors: [N, 3] uint8; None colours by height.
        boxes: [K, 7] cx cy cz dx dy dz yaw.
        box_labels: K names of what is in them, or none; the page has a switch for each name.
        box_colors: [K, 3] uint8; None draws all red.
        box_scores: [K] how certain a detector is of each, 0 to 1; None where nobody guessed.
        truth_boxes: [M, 7] what is really there, drawn dashed, to be held against `boxes`.
        truth_labels: M names, or none.
        truth_colors: [M, 3] uint8; None draws all green.
        caption: Text in the list and below the picture.
        num_points: Size of the whole cloud if `points` is a subset; None if it is all.
        notes: What its reader had to change.
    """

    points: np.ndarray
    colors: np.ndarray | None = None
    boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 7)))
    box_labels: Sequence[str] = ()
    box_colors: np.ndarray | None = None
    box_scores: np.ndarray | None = None
    truth_boxes: np.ndarray = field(default_factory=lambda: np.zeros((0, 7)))
    truth_labels: Sequence[str] = ()
    truth_colors: np.ndarray | None = None
    caption: str = ""
    num_points: int | None = None
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        check_points(self.points)
        if self.colors is not None:
            check_colors(self.colors, len(self.points), "colors")
        for kind, all_boxes, labels, colors in (
            ("box", self.boxes, self.box_labels, self.box_colors),
            ("truth", self.truth_boxes, self.truth_labels, self.truth_colors),
        ):
            num_boxes = len(check_boxes(all_boxes))
            if colors is not None:
                check_colors(colors, num_boxes, f"{kind}_colors")
            if len(labels) not in (0, num_boxes):
                raise ValueError(f"{len(labels)} {kind}_labels for {num_boxes} boxes; give one per box or none")
        scores = self.box_scores
        if scores is not None and (np.shape(scores) != (len(self.boxes),) or not np.isfinite(scores).all()):
            raise ValueError(
                f"box_scores has shape {np.shape(scores)} for {len(self.boxes)} boxes; give one finite number per box"
            )


@dataclass(frozen=True)
class Table:
    """Rows of a report; cells are texts or numbers, and `**text**` in a cell is bold."""

    header: Sequence[str]
    rows: Sequence[Sequence[object]]
    caption: str = ""

    def markdown(self) -> str:
        """The rows in Markdown, without the caption."""
        lines = (self.header, ["---"] * len(self.header), *self.rows)
        return "".join(f"| {' | '.join(map(str, line))} |\n" for line in lines)


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture in a report: the content of a PNG file, or [H, W, 3] uint8."""

    image: bytes | np.ndarray
    caption: str = ""


@dataclass(frozen=True)
class Viewer:
    """An interactive viewer in a report."""

    items: Sequence[PageItem]


@dataclass(frozen=True)
class Section:
    """A heading and its content, in order; a plain string is a paragraph."""

    heading: str
    blocks: Sequence[str | Table | Picture | Viewer]


def write_page(path: str | Path, items: Sequence[PageItem], *, title: str = "pcfdsl") -> Path:
    """Write one HTML file that shows the clouds in any browser, without a network and without WebGL.

    Coordinates are quantised to 16 bits within the cloud's bounding box, an error of at most 1/131070 of its extent;
    10,000 points take 80 kB, or 120 kB with colours. Larger clouds than `CLOUD_POINTS` are thinned out, and clouds that
    together have more than `VIEWER_POINTS` to equal shares of it; the page says how many points it shows of how many.

    Raises:
        ValueError: Without items.
        OSError: If the file cannot be written; an existing file is left untouched.
    """
    write_file(path, _encoded(page_html(items, title=title)))
    return Path(path)


def page_html(items: Sequence[PageItem], *, title: str = "pcfdsl") -> str:
    """The page that `write_page` writes, as text.

    Raises:
        ValueError: Without items.
    """
    body = f'<main class="page"><h1>{html.escape(title)}</h1>{_viewer(items, whole_page=True)}</main>'
    return _document(title, body)


def write_report(path: str | Path, sections: Sequence[Section], *, title: str = "pcfdsl report") -> Path:
    """Write one self-contained HTML file of headings, paragraphs, tables, pictures and viewers.

    Raises:
        TypeError: For a block of another kind.
        ValueError: For a table row of another length than its header.
        OSError: If the file cannot be written; an existing file is left untouched.
    """
    parts = [f"<h1>{html.escape(title)}</h1>"]
    for section in sections:
        parts.append(f"<h2>{html.escape(section.heading)}</h2>")
        parts.extend(_block(block) for block in section.blocks)
    write_file(path, _encoded(_document(title, f'<main class="report">{"".join(parts)}</main>')))
    return Path(path)


def _encoded(text: str) -> bytes:
    return text.encode("utf-8", "backslashreplace")  # names of files may be any bytes


def thinned(item: PageItem, max_points: int) -> PageItem:
    """The item with at most `max_points` of its points, drawn evenly, always the same ones; it keeps their number."""
    if len(item.points) <= max_points:
        return item
    keep = np.sort(stream(0, "view", "thin").permutation(len(item.points))[:max_points])
    return replace(
        item,
        points=item.points[keep],
        colors=None if item.colors is None else item.colors[keep],
        num_points=len(item.points) if item.num_points is None else item.num_points,
    )


def _stored(item: PageItem) -> dict:
    points = np.asarray(item.points, dtype=np.float64)
    low, high = (points.min(axis=0), points.max(axis=0)) if len(points) else (np.zeros(3), np.zeros(3))
    step = (high - low) / STEPS
    steps = np.rint((points - low) / np.where(step > 0, step, 1.0)).astype("<u2")
    return {
        "caption": item.caption,
        "num_points": len(points) if item.num_points is None else item.num_points,
        "low": low.tolist(),
        "step": step.tolist(),
        "points": base64.b64encode(steps.tobytes()).decode(),
        "colors": None if item.colors is None else base64.b64encode(item.colors.tobytes()).decode(),
        **_stored_boxes("box", item.boxes, item.box_labels, item.box_colors, BOX_COLOR),
        "box_scores": None if item.box_scores is None else np.asarray(item.box_scores, np.float64).round(4).tolist(),
        **_stored_boxes("truth", item.truth_boxes, item.truth_labels, item.truth_colors, TRUTH_COLOR),
    }


def _stored_boxes(
    kind: str, boxes: np.ndarray, labels: Sequence[str], colors: np.ndarray | None, color: tuple[int, int, int]
) -> dict[str, list]:
    return {
        "boxes" if kind == "box" else f"{kind}_boxes": np.asarray(boxes, dtype=np.float64).round(5).tolist(),
        f"{kind}_labels": [str(label) for label in labels],
        f"{kind}_colors": np.asarray(np.tile(color, (len(boxes), 1)) if colors is None else colors).tolist(),
    }


def _viewer(items: Iterable[PageItem], *, whole_page: bool) -> str:
    items = list(items)
    if not items:
        raise ValueError("there is nothing to show: the list of items is empty")
    share = min(CLOUD_POINTS, max(VIEWER_POINTS // len(items), FEW_POINTS))
    stored = [_stored(thinned(item, share)) for item in items]
    # "<" is escaped so that no caption can end the script element.
    data = json.dumps(stored, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    kind = "viewer whole-page" if whole_page else "viewer"
    return f'<div class="{kind}"><script type="application/json">{data}</script></div>'


def _document(title: str, body: str) -> str:
    folder = resources.files("pcfdsl.view")
    style = (folder / "page.css").read_text(encoding="utf-8")
    script = "\n".join((folder / name).read_text(encoding="utf-8") for name in SCRIPTS)
    script = script.replace("__HEIGHT_RAMP__", json.dumps(HEIGHT_RAMP.astype(int).tolist()))
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="icon" href="data:,">'
        f"<title>{html.escape(title)}</title><style>\n{style}</style></head><body>"
        "<noscript><p>The clouds on this page are drawn by JavaScript, which is switched off here.</p></noscript>"
        f"{body}<script>\n{script}</script></body></html>\n"
    )


def _block(block: str | Table | Picture | Viewer) -> str:
    if isinstance(block, str):
        return f"<p>{_marked(block)}</p>"
    if isinstance(block, Table):
        return _table(block)
    if isinstance(block, Picture):
        content = block.image if isinstance(block.image, bytes) else png_bytes(block.image)
        source = f"data:image/png;base64,{base64.b64encode(content).decode()}"
        caption = html.escape(block.caption)
        return f'<figure><img src="{source}" alt="{caption}"><figcaption>{caption}</figcaption></figure>'
    if isinstance(block, Viewer):
        return _viewer(block.items, whole_page=False)
    raise TypeError(f"a report holds texts, Table, Picture and Viewer; got {type(block).__name__}")


def _table(table: Table) -> str:
    for k, row in enumerate(table.rows):
        if len(row) != len(table.header):
            raise ValueError(
                f"row {k} of table {table.caption!r} has {len(row)} cells for {len(table.header)} headings"
            )
    columns = zip(*table.rows, strict=True) if table.rows else [() for _ in table.header]
    kinds = [' class="number"' if cells and all(isinstance(c, int | float) for c in cells) else "" for cells in columns]

    def line(tag: str, row: Sequence[object]) -> str:
        cells = (f"<{tag}{kind}>{_marked(str(cell))}</{tag}>" for kind, cell in zip(kinds, row, strict=True))
        return f"<tr>{''.join(cells)}</tr>"

    caption = f"<caption>{html.escape(table.caption)}</caption>" if table.caption else ""
    head, body = line("th", table.header), "".join(line("td", row) for row in table.rows)
    return f'<div class="wide"><table>{caption}<thead>{head}</thead><tbody>{body}</tbody></table></div>'


def _marked(text: str) -> str:
    """Escaped text with `**bold**` and `` `code` `` rendered; an unpaired mark is kept as text."""
    escaped = html.escape(text)
    for mark, tag in (("**", "b"), ("`", "code")):
        pieces = escaped.split(mark)
        if len(pieces) % 2 == 0:
            pieces[-2:] = [mark.join(pieces[-2:])]
        escaped = "".join(f"<{tag}>{piece}</{tag}>" if i % 2 else piece for i, piece in enumerate(pieces))
    return escaped
