import base64
import html.parser
import json
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pcfdsl.view.page import (
    CLOUD_POINTS,
    PageItem,
    Picture,
    Section,
    Table,
    Viewer,
    thinned,
    write_page,
    write_report,
)
from pcfdsl.view.render import BOX_COLOR

VOID = {"meta", "link", "input", "img", "br"}


class Reader(html.parser.HTMLParser):
    """Collects elements, checks that they close in order, and keeps every address the page would load."""

    def __init__(self):
        super().__init__()
        self.open, self.texts, self.tags, self.addresses = [], {}, [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action", "data")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.setdefault(self.open[-1] if self.open else "", []).append(data)


def read(path):
    reader = Reader()
    reader.feed(path.read_text(encoding="utf-8"))
    reader.close()
    assert reader.open == []
    return reader


def stored_items(reader):
    return [json.loads(text) for text in reader.texts["script"] if text.startswith("[{")]


def cloud(seed, num_points=50):
    return np.random.default_rng(seed).normal(size=(num_points, 3)).astype(np.float32)


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.tuples(*[st.floats(-1e6, 1e6, width=32)] * 3), min_size=0, max_size=20),
)
def test_the_page_holds_the_points_within_half_a_step(tmp_path_factory, rows):
    points = np.array(rows, dtype=np.float32).reshape(-1, 3)
    path = write_page(tmp_path_factory.mktemp("page") / "a.html", [PageItem(points)])
    ((stored,),) = stored_items(read(path))
    steps = np.frombuffer(base64.b64decode(stored["points"]), dtype="<u2").reshape(-1, 3)
    decoded = (np.array(stored["low"]) + steps * np.array(stored["step"])).astype(np.float32)
    extent = np.ptp(points.astype(np.float64), axis=0) if len(points) else np.zeros(3)
    largest = np.abs(points).max() if len(points) else 0
    assert decoded.shape == points.shape
    assert (np.abs(decoded.astype(np.float64) - points) <= extent / 131070 * 1.001 + 2e-7 * largest).all()


def test_the_page_holds_colours_boxes_and_captions(tmp_path):
    colors = np.random.default_rng(0).integers(0, 256, (50, 3), dtype=np.uint8)
    boxes = np.array([(0, 1, 2, 3, 4, 5, 0.5), (1, 1, 1, 2, 2, 2, -1)])
    items = [
        PageItem(cloud(0), colors, boxes, ["chair", "table"], caption="</script><b>&amp;", num_points=900),
        PageItem(cloud(1), boxes=boxes[:1], box_colors=np.array([(1, 2, 3)], dtype=np.uint8)),
    ]
    reader = read(write_page(tmp_path / "page.html", items, title="a < b & c"))
    ((first, second),) = stored_items(reader)
    import base64

    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(first["colors"]), np.uint8).reshape(-1, 3), colors)
    np.testing.assert_allclose(first["boxes"], boxes)
    assert first["box_labels"] == ["chair", "table"]
    assert first["box_colors"] == [list(BOX_COLOR)] * 2
    assert first["caption"] == "</script><b>&amp;"
    assert first["num_points"] == 900
    assert (second["colors"], second["num_points"], second["box_colors"]) == (None, 50, [[1, 2, 3]])
    assert reader.texts["title"] == ["a < b & c"]


def test_the_page_loads_nothing(tmp_path):
    image = np.zeros((4, 4, 3), dtype=np.uint8)
    path = write_report(tmp_path / "r.html", [Section("A", [Picture(image), Viewer([PageItem(cloud(0))])])])
    reader = read(path)
    assert reader.addresses
    assert all(address.startswith("data:") for address in reader.addresses)
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"https?://|@import|url\(|fetch\(|XMLHttpRequest|import\(", text)
    assert "__HEIGHT_RAMP__" not in text


def test_ten_thousand_points_take_eighty_kilobytes(tmp_path):
    few = write_page(tmp_path / "few.html", [PageItem(cloud(0, 10))]).stat().st_size
    many = write_page(tmp_path / "many.html", [PageItem(cloud(0, 10_010))]).stat().st_size
    assert many - few == pytest.approx(80_000, abs=100)


def test_millions_of_points_are_thinned_out_and_counted(tmp_path):
    points, colors = np.random.default_rng(0).random((1_000_000, 3)), np.zeros((1_000_000, 3), dtype=np.uint8)
    path = write_page(tmp_path / "page.html", [PageItem(points, colors)])
    ((item,),) = stored_items(read(path))
    assert path.stat().st_size < 2_500_000
    assert item["num_points"] == 1_000_000
    assert len(base64.b64decode(item["points"])) == 6 * CLOUD_POINTS
    assert len(base64.b64decode(item["colors"])) == 3 * CLOUD_POINTS


def test_many_clouds_share_the_points_of_a_page(tmp_path):
    path = write_page(tmp_path / "page.html", [PageItem(cloud(0, 30_000), caption=str(k)) for k in range(50)])
    (stored,) = stored_items(read(path))
    assert [len(base64.b64decode(item["points"])) // 6 for item in stored] == [20_000] * 50


def test_thinning_keeps_colours_with_their_points_and_the_whole_number():
    points = np.random.default_rng(0).random((1000, 3))
    item = PageItem(points, (points * 255).astype(np.uint8), num_points=5000)
    few = thinned(item, 100)
    np.testing.assert_array_equal(few.colors, (few.points * 255).astype(np.uint8))
    assert (len(few.points), few.num_points) == (100, 5000)
    assert thinned(few, 100) is few


def test_a_report_has_its_blocks_in_order(tmp_path):
    table = Table(["run", "mAP"], [["scratch", 21.5], ["**pre-trained**", 26.4]], "Table 1")
    sections = [
        Section("Result & more", ["The `VoteNet` is **better** <than> 2 ** 3.", table]),
        Section("Look", [Viewer([PageItem(cloud(0)), PageItem(cloud(1))]), Viewer([PageItem(cloud(2))])]),
    ]
    reader = read(write_report(tmp_path / "report.html", sections, title="A report"))
    assert reader.texts["h1"] == ["A report"]
    assert reader.texts["h2"] == ["Result & more", "Look"]
    assert "".join(reader.texts["p"]).endswith("The  is  <than> 2 ** 3.")
    assert reader.texts["code"] == ["VoteNet"]
    assert reader.texts["b"] == ["better", "pre-trained"]
    assert reader.texts["th"] == ["run", "mAP"]
    assert reader.texts["td"] == ["scratch", "21.5", "26.4"]
    numeric = [attributes.get("class") for tag, attributes in reader.tags if tag in ("th", "td")]
    assert numeric == [None, "number"] * 3
    assert [len(items) for items in stored_items(reader)] == [2, 1]


@pytest.mark.parametrize(
    ("write", "error", "message"),
    [
        (lambda path: write_page(path, []), ValueError, "nothing to show"),
        (lambda path: write_report(path, [Section("A", [3])]), TypeError, "got int"),
        (lambda path: write_report(path, [Section("A", [Table(["a"], [[1, 2]])])]), ValueError, "row 0"),
        (lambda path: PageItem(np.zeros((3, 2))), ValueError, r"\[N, 3\]"),
        (lambda path: PageItem(np.full((3, 3), np.nan)), ValueError, "3 of 3 points are not finite"),
        (lambda path: PageItem(np.zeros((3, 3)), np.zeros((3, 3))), ValueError, "uint8"),
        (
            lambda path: PageItem(np.zeros((3, 3)), boxes=np.ones((1, 7)), box_labels=("a", "b")),
            ValueError,
            "2 box_labels",
        ),
        (
            lambda path: PageItem(np.zeros((3, 3)), boxes=np.ones((1, 7)), box_scores=np.ones(2)),
            ValueError,
            "box_scores has shape",
        ),
    ],
)
def test_what_makes_no_page(tmp_path, write, error, message):
    with pytest.raises(error, match=message):
        write(tmp_path / "page.html")
    assert list(tmp_path.iterdir()) == []
