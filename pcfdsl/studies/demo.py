"""The demo: fractals, stored and verified -> scenes -> pre-training -> fine-tuning -> evaluation, against scratch."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pcfdsl.config import option, validate
from pcfdsl.datasets.custom import prepare_furniture
from pcfdsl.datasets.sources import SourceConfig
from pcfdsl.generate.pcfractal import generate_pcfractal, verify_pcfractal
from pcfdsl.store.atomic import make_folder, write_file
from pcfdsl.studies.report import write_demo_report
from pcfdsl.train.tasks.detection import DetectorConfig, train_detector
from pcfdsl.view.page import write_page
from pcfdsl.view.sheet import save_png
from pcfdsl.view.sources import load_items, render_items

__all__ = ["ARMS", "DemoConfig", "run_demo"]

ARMS = ("scratch", "pre-trained")


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Both trainings of the demo, and what of the fractals is stored."""

    pretrain: DetectorConfig = option(DetectorConfig(), "pre-training, on fractals")
    finetune: DetectorConfig = option(DetectorConfig(), "fine-tuning, the same for both arms but for where it starts")
    stored_instances: int = option(4, "instances per category of the PC-FractalDB that is stored and shown", minimum=1)
    seeds: tuple[int, ...] = option((0, 1, 2), "fine-tunings of each arm")
    rooms: tuple[int, int] = option(
        (400, 100), "furniture rooms to train and to validate on, where there are any", minimum=1
    )

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if len(set(self.seeds)) < 2:
            yield "seeds", f"are {self.seeds}; a deviation needs at least two different ones"
        if self.finetune.init.checkpoint is not None:
            yield "finetune", "init.checkpoint is what the demo compares; leave it out"


def run_demo(config: DemoConfig, out: str | Path) -> Path:
    """Run everything, or what is missing of it, and write `report.html` and `report.md`.

    The fractals that pre-training sees are generated as it goes; some of them are also stored, verified and shown.

    The fine-tuning target is furniture rooms of real models where the folder of shared data has them (PCFDSL_SHARED, or
    `../shared`), else what `config.finetune` says.

    Returns:
        Path of report.html.
    """
    out = make_folder(out)
    fractals = replace(config.pretrain.data.fractals, num_instances=config.stored_instances)
    with _timed(out, "generating a PC-FractalDB, making it again and comparing"):
        generated = generate_pcfractal(fractals, out / "pcfractal")
        verified = verify_pcfractal(fractals, out / "pcfractal")
    items = load_items(out / "pcfractal", num_items=24)
    save_png(out / "pcfractal.png", render_items(items))
    write_page(out / "pcfractal.html", items, title="PC-FractalDB")
    with _timed(out, "composing rooms to fine-tune on"):
        finetune = _on_furniture_rooms(config, out) or config.finetune
    with _timed(out, "pre-training"):
        train_detector(config.pretrain, out / "pretrain")
    metrics = {}
    for arm in ARMS:
        init = replace(finetune.init, checkpoint=None if arm == "scratch" else str(out / "pretrain"))
        with _timed(out, f"fine-tuning, {arm}"):
            results = train_detector(replace(finetune, init=init), out / arm, seeds=config.seeds)
        metrics[arm] = [run.metrics for run in results.runs.values()]
    return write_demo_report(
        out,
        generated=generated,
        verified=verified,
        pretrain=config.pretrain,
        finetune=finetune,
        seeds=config.seeds,
        metrics=metrics,
        seconds=_seconds(out),
    )


@contextmanager
def _timed(out: Path, stage: str) -> Iterator[None]:
    """Add the time that a stage takes to what earlier calls, if they were stopped, spent on it."""
    began = time.monotonic()
    try:
        yield
    finally:
        seconds = _seconds(out)
        seconds[stage] = seconds.get(stage, 0.0) + time.monotonic() - began
        write_file(out / "seconds.json", json.dumps(seconds).encode())


def _seconds(out: Path) -> dict[str, float]:
    path = out / "seconds.json"
    return json.loads(path.read_text()) if path.is_file() else {}


def _on_furniture_rooms(config: DemoConfig, out: Path) -> DetectorConfig | None:
    """The fine-tuning on rooms of real furniture models, composed now; None where the shared folder has none."""
    shared = Path(os.environ.get("PCFDSL_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    script, data = shared / "tools" / "make_furniture_rooms.py", shared / "data" / "downstream"
    if not (script.is_file() and (data / "furniture.npz").is_file()):
        print(f"no furniture rooms in {shared}: fine-tuning on furniture made of primitives", file=sys.stderr)
        return None
    rooms = out / "rooms"
    for part, number in zip(("train", "val"), config.rooms, strict=True):
        if not (rooms / "splits" / f"{part}.txt").is_file():
            packed = out / f"rooms_{part}.npz"
            inputs = [data / "furniture.npz", data / "ithor_layouts.npz", packed]
            command = [sys.executable, script, *inputs, "--rooms", number, "--part", part]
            subprocess.run([str(word) for word in command], check=True, stdout=sys.stderr)
            prepare_furniture(packed, rooms, split=part)
            packed.unlink()
    train, val = (SourceConfig(kind="stored", folder=str(rooms), split=part) for part in ("train", "val"))
    return replace(config.finetune, data=train, validation=val)
