"""The page in a real browser: it draws, it answers to mouse, wheel, keys and fingers, and its console stays silent."""

import html
import json
import re
import shutil
import subprocess

import numpy as np
import pytest

from pcfdsl.view.page import PageItem, Section, Viewer, write_page, write_report

# What the page says about itself is left in an attribute that --dump-dom prints.
WATCH = """<script>
const wrong = [];
addEventListener("error", (event) => wrong.push(event.message));
addEventListener("unhandledrejection", (event) => wrong.push(String(event.reason)));
for (const kind of ["error", "warn"]) console[kind] = (...words) => wrong.push(words.join(" "));
// Under a virtual clock the browser presents hardly any frame.
window.requestAnimationFrame = (draw) => setTimeout(draw, 16);
</script>"""
PROBE = """<script>
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function probe() {
  const root = document.querySelector(".viewer");
  const canvas = root.querySelector(".stage canvas");
  canvas.setPointerCapture = () => {};  // there is no real pointer to capture
  const picture = async () => {
    await pause(400);
    const { width, height } = canvas;
    const data = canvas.getContext("2d").getImageData(0, 0, width, height).data;
    let [painted, red, sum] = [0, 0, 0];
    for (let i = 0; i < data.length; i += 4) {
      painted += data[i] < 250 || data[i + 1] < 250 || data[i + 2] < 250;
      red += data[i] > 180 && data[i + 1] < 90 && data[i + 2] < 90;
      sum = (sum * 31 + data[i] + 3 * data[i + 1] + 7 * data[i + 2]) % 1000000007;
    }
    return { painted, red, sum, caption: canvas.dataset.drawn, size: [width, height] };
  };
  const send = (kind, type, more) =>
    canvas.dispatchEvent(new kind(type, { bubbles: true, cancelable: true, buttons: 1, ...more }));
  const key = (name) => send(KeyboardEvent, "keydown", { key: name });
  const finger = (what, id, x, y, more) =>
    send(PointerEvent, "pointer" + what, { pointerId: id, clientX: x, clientY: y, ...more });
  const drag = (x, y, more) => {
    finger("down", 1, 300, 300, more);
    finger("move", 1, 300 + x, 300 + y, more);
    finger("up", 1, 300 + x, 300 + y, more);
  };
  const steps = {
    start: () => {},
    boxes: () => key("b"),
    boxesBack: () => key("b"),
    turn: () => key("ArrowLeft"),
    turnReset: () => key("0"),
    drag: () => drag(60, 20),
    dragReset: () => key("0"),
    pan: () => drag(200, 0, { shiftKey: true }),
    panReset: () => key("0"),
    wheel: () => send(WheelEvent, "wheel", { deltaY: 800 }),
    wheelReset: () => key("0"),
    pinch: () => {
      finger("down", 1, 200, 300);
      finger("down", 2, 300, 300);
      finger("move", 2, 250, 300);
      finger("up", 1, 200, 300);
      finger("up", 2, 250, 300);
    },
    pinchReset: () => key("0"),
    pointSize: () => {
      const slider = root.querySelector("input[type=range]");
      slider.value = 8;
      slider.dispatchEvent(new Event("input"));
    },
    next: () => key("n"),
    previous: () => key("p"),
    open: () => key("o"),
    openBack: () => key("o"),
    click: () => root.querySelectorAll(".items button")[2].click(),
  };
  const seen = {};
  for (const [name, step] of Object.entries(steps)) {
    step();
    seen[name] = await picture();
  }
  const decoded = [...document.querySelectorAll(".viewer script")].map((script) =>
    JSON.parse(script.textContent).map((item) => [...decodeItem(item).points.slice(0, 30)]));
  const thumbnails = [...root.querySelectorAll(".items canvas")].map((small) =>
    small.getContext("2d").getImageData(0, 0, small.width, small.height).data.some((v, i) => i % 4 < 3 && v < 250));
  const status = root.querySelector("output").textContent;
  return { seen, wrong, decoded, thumbnails, status, label: canvas.ariaLabel };
}
</script>"""
BOXES = """<script>
const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
async function probe() {
  const root = document.querySelector(".viewer");
  const canvas = root.querySelector(".stage canvas");
  canvas.setPointerCapture = () => {};
  const [hint, bar] = [root.querySelector(".hint"), root.querySelector(".bar")];
  const look = async () => {
    await pause(400);
    const data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
    const said = { hint: hint.hidden ? null : hint.textContent, status: bar.querySelector("output").textContent };
    const seen = { blue: 0, red: 0, green: 0, ...said };
    for (let i = 0; i < data.length; i += 4) {
      const [r, g, b] = [data[i], data[i + 1], data[i + 2]];
      seen.red += r > 180 && g < 90 && b < 90;
      seen.blue += b > 180 && r < 90 && g < 90;
      seen.green += g > 120 && r < 90 && b < 120;
    }
    return seen;
  };
  const point = (x, y, z) => {
    const { left, top, width, height } = canvas.getBoundingClientRect();
    const cloud = decodeItem(JSON.parse(root.querySelector("script").textContent)[0]);
    const at = [0, 0, 0];
    projection(fittedView(cloud, width / height), width, height)(x, y, z, at);
    const where = { clientX: left + at[0], clientY: top + at[1], pointerId: 1, bubbles: true };
    canvas.dispatchEvent(new PointerEvent("pointermove", where));
  };
  const score = (value) => {
    const slider = bar.querySelector("input[name=score]");
    slider.value = value;
    slider.dispatchEvent(new Event("input"));
  };
  const chips = [...root.querySelectorAll(".classes button")];
  const chip = (name) => chips.find((button) => button.textContent === name).click();
  const key = (name) => canvas.dispatchEvent(new KeyboardEvent("keydown", { key: name, bubbles: true }));
  const steps = {
    start: () => {},
    hover: () => point(0, 0, 0.4),
    away: () => point(-2, -2, 0),
    sure: () => score(0.6),
    all: () => score(0),
    noChairs: () => chip("chair"),
    chairs: () => chip("chair"),
    none: () => chip("All"),
    everything: () => chip("All"),
    noTruth: () => key("t"),
    truth: () => key("t"),
  };
  const seen = {};
  for (const [name, step] of Object.entries(steps)) {
    step();
    seen[name] = await look();
  }
  const wide = document.documentElement.scrollWidth > innerWidth;
  return { seen, wrong, wide, chips: chips.map((button) => button.textContent) };
}
</script>"""
REPORT = """<script>
probe()
  .catch((error) => ({ wrong: [String(error), error.stack] }))
  .then((report) => { document.body.dataset.report = JSON.stringify(report); });
</script>"""


@pytest.fixture(scope="module")
def browse():
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("needs chromium (or google-chrome) on the path")

    def run(path, profile, probe=PROBE, dark=False):
        text = path.read_text(encoding="utf-8")
        path.write_text(
            text.replace("<title>", WATCH + "<title>").replace("</body>", probe + REPORT + "</body>"), encoding="utf-8"
        )
        options = (
            "--headless=new --no-sandbox --disable-gpu --window-size=900,700 --virtual-time-budget=30000 --dump-dom"
        )
        scheme = f"--blink-settings=preferredColorScheme={0 if dark else 1}"
        command = [program, *options.split(), scheme, f"--user-data-dir={profile}", path.as_uri()]
        result = subprocess.run(command, capture_output=True, text=True, timeout=120)
        report = re.search(r'data-report="([^"]*)"', result.stdout)
        assert report, f"the page never finished: {result.stderr[-800:]}"
        return json.loads(html.unescape(report[1]))

    return run


@pytest.fixture(scope="module")
def items():
    random = np.random.default_rng(0)
    shell = random.normal(size=(3000, 3))
    shell /= np.linalg.norm(shell, axis=1, keepdims=True) / (1.0, 0.7, 0.5)
    green = np.tile(np.array([(20, 150, 60)], dtype=np.uint8), (3000, 1))
    box = np.array([(0, 0, 0, 2.2, 1.6, 1.2, 0.3)])
    return [
        PageItem(shell.astype(np.float32), green, box, ["shell"], caption="a shell </script>"),
        PageItem(random.uniform(-1, 1, (500, 3)), caption="a cube"),
        PageItem(np.zeros((1, 3)), caption="one point"),
    ]


def test_the_page_draws_and_answers(browse, items, tmp_path):
    report = browse(write_page(tmp_path / "page.html", items), tmp_path / "profile")
    assert report["wrong"] == []
    seen = report["seen"]
    start = seen["start"]
    assert start["caption"] == "a shell </script>"
    assert start["painted"] > 0.02 * np.prod(start["size"])
    assert start["red"] > 500, "the edges of the box"
    assert seen["boxes"]["red"] == 0
    for back in ("boxesBack", "turnReset", "dragReset", "panReset", "wheelReset", "pinchReset", "previous", "openBack"):
        assert seen[back]["sum"] == start["sum"], back
    for step in ("boxes", "turn", "drag", "pan", "wheel", "pinch", "open"):
        assert seen[step]["sum"] != start["sum"], step
    assert seen["wheel"]["painted"] < 0.5 * start["painted"], "the wheel zooms out"
    assert seen["pinch"]["painted"] < 0.6 * start["painted"], "pinching zooms out"
    assert seen["pointSize"]["painted"] > start["painted"]
    assert (seen["next"]["caption"], seen["previous"]["caption"]) == ("a cube", "a shell </script>")
    assert seen["click"]["caption"] == "one point"
    assert seen["click"]["painted"] > 0
    assert report["status"] == "one point · 1 point"
    assert report["label"].startswith("one point")
    assert report["thumbnails"] == [True, True, True]
    for item, points in zip(items, report["decoded"][0], strict=True):
        expected = np.asarray(item.points, dtype=np.float64).reshape(-1)[:30]
        np.testing.assert_allclose(points, expected, atol=2.2 / 131070)


def test_boxes_are_named_filtered_and_held_against_the_truth(browse, tmp_path):
    grey = np.full((2000, 3), 128, dtype=np.uint8)
    points = np.random.default_rng(0).uniform((-2, -2, 0), (2, 2, 0.05), (2000, 3))
    item = PageItem(
        points,
        grey,
        boxes=np.array([(0, 0, 0.5, 1.5, 1.5, 1, 0.2), (1.5, 1.5, 0.3, 0.6, 0.6, 0.6, 0)]),
        box_labels=["chair", "lamp"],
        box_scores=np.array([0.5, 0.875]),
        box_colors=np.array([(255, 0, 0), (0, 0, 255)], np.uint8),
        truth_boxes=np.array([(0, 0, 0.4, 1.2, 1.2, 0.8, 0)]),
        truth_labels=["chair"],
        caption="a room",
    )
    report = browse(write_page(tmp_path / "page.html", [item]), tmp_path / "profile", BOXES, dark=True)
    assert report["wrong"] == []
    assert report["chips"] == ["All", "chair", "lamp"]
    assert not report["wide"], "the page scrolls sideways"
    seen = report["seen"]
    start = seen["start"]
    assert start["status"] == "a room · 2,000 points · 2 boxes · 1 in truth"
    assert min(start["red"], start["blue"], start["green"]) > 100
    assert seen["hover"]["hint"] == "chair 0.50 · 1.50 × 1.50 × 1.00 m, 11°\ntruth: chair · 1.20 × 1.20 × 0.80 m"
    assert (start["hint"], seen["away"]["hint"]) == (None, None)
    assert seen["hover"]["red"] > 1.2 * start["red"], "the line of the box that the pointer is on is thicker"
    colors = ("red", "blue", "green")
    for step, gone in (
        ("sure", ["red"]),
        ("noChairs", ["red", "green"]),
        ("none", ["red", "blue", "green"]),
        ("noTruth", ["green"]),
    ):
        assert [color for color in colors if seen[step][color] < 0.05 * start[color]] == gone, step
    assert seen["sure"]["status"] == "a room · 2,000 points · 1 of 2 boxes · 1 in truth"
    for step in ("away", "all", "chairs", "everything", "truth"):
        assert seen[step] == start, step


def test_a_report_with_two_viewers_draws(browse, items, tmp_path):
    path = write_report(
        tmp_path / "report.html", [Section("A", ["text", Viewer(items)]), Section("B", [Viewer(items[1:])])]
    )
    report = browse(path, tmp_path / "profile")
    assert report["wrong"] == []
    assert report["seen"]["start"]["painted"] > 1000
    assert report["seen"]["wheel"]["sum"] == report["seen"]["start"]["sum"], "the wheel scrolls the report"
    assert len(report["decoded"]) == 2
