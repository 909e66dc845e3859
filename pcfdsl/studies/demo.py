"""The demo: pre-training on fractal scenes, then fine-tuning on furniture, compared with training from scratch."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from pcfdsl.checkpoints.run_folder import find_weights
from pcfdsl.config import ConfigError, option, validate
from pcfdsl.datasets.sources import FractalSource, FurnitureSource, MeshSource
from pcfdsl.generate.pcfractal import generate_pcfractal, verify_pcfractal
from pcfdsl.store.atomic import make_folder, write_file
from pcfdsl.studies.report import write_demo_report
from pcfdsl.train.tasks.detection import DetectorConfig, train_detector
from pcfdsl.view.page import write_page
from pcfdsl.view.sheet import save_png
from pcfdsl.view.sources import load_items, render_items

__all__ = ["ARMS", "DemoConfig", "run_demo"]

ARMS = ("scratch", "pre-trained")
STORED_INSTANCES = 4  # per category, of the PC-FractalDB that is stored and shown


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """Both trainings of the demo."""

    pretrain: DetectorConfig = option(DetectorConfig(), "pre-training, on fractals")
    finetune: DetectorConfig = option(
        DetectorConfig(), "fine-tuning, the same for both arms except for the initial weights"
    )
    seeds: tuple[int, ...] = option((0, 1, 2), "seeds of the fine-tuning, for each arm")

    def __post_init__(self) -> None:
        validate(self)

    def inconsistencies(self) -> Iterator[tuple[str, str]]:
        """Yields (field, problem)."""
        if not 2 <= len(self.seeds) == len(set(self.seeds)):
            yield "seeds", f"are {self.seeds}; a standard deviation needs at least two, all of them different"
        if not isinstance(self.pretrain.data, FractalSource):
            yield "pretrain", f"data.kind is {self.pretrain.data.kind}; the demo shows fractals"
        if self.finetune.init.checkpoint is not None:
            yield "finetune", "sets init.checkpoint, which is what the demo compares; leave it out"


def run_demo(
    config: DemoConfig, out: str | Path, *, meshes: str | Path | None = None, weights: str | None = None
) -> Path:
    """Run every stage that is not finished yet, and write `report.html` and `report.md`.

    Pre-training generates its fractals on the fly; a few of them are also stored, verified and shown.

    Args:
        config: Both trainings.
        out: Folder of the demo.
        meshes: Fine-tune and validate in rooms of these models (a folder, see `MeshFolder`) instead of the furniture
            that the recipe names. One model in five of each class is only validated on.
        weights: Start from these, as `init.checkpoint` takes them, instead of pre-training.

    Returns:
        Path of report.html.

    Raises:
        OSError, ValueError: If the weights or the meshes cannot be used, or `out` holds a demo with other settings.
    """
    if weights is not None:
        find_weights(weights)
    finetune = config.finetune if meshes is None else _on_meshes(config.finetune, str(meshes))
    out = make_folder(out)
    assert isinstance(config.pretrain.data, FractalSource)  # see `DemoConfig.inconsistencies`
    fractals = replace(config.pretrain.data.fractals, num_instances=STORED_INSTANCES)
    with _timed(out, "generating a PC-FractalDB, then regenerating and comparing it"):
        generated = generate_pcfractal(fractals, out / "pcfractal")
        verified = verify_pcfractal(fractals, out / "pcfractal")
    items = load_items(out / "pcfractal", num_items=24)
    save_png(out / "pcfractal.png", render_items(items))
    write_page(out / "pcfractal.html", items, title="PC-FractalDB")
    if weights is None:
        with _timed(out, "pre-training"):
            train_detector(config.pretrain, out / "pretrain")
    metrics = {}
    for arm in ARMS:
        init = replace(finetune.init, checkpoint=None if arm == "scratch" else weights or str(out / "pretrain"))
        with _timed(out, f"fine-tuning, {arm}"):
            results = train_detector(replace(finetune, init=init), out / arm, seeds=config.seeds)
        metrics[arm] = [run.metrics for run in results.runs.values()]
    return write_demo_report(
        out,
        generated=generated,
        verified=verified,
        pretrain=config.pretrain,
        weights=weights,
        finetune=finetune,
        seeds=config.seeds,
        metrics=metrics,
        seconds=_seconds(out),
    )


@contextmanager
def _timed(out: Path, stage: str) -> Iterator[None]:
    """Time a stage, and add that to what earlier, interrupted runs of the demo spent on it."""
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


def _on_meshes(finetune: DetectorConfig, folder: str) -> DetectorConfig:
    """The same fine-tuning in the same kind of rooms, furnished with the models of a folder."""
    rooms = [source.scenes for source in (finetune.data, finetune.validation) if isinstance(source, FurnitureSource)]
    if len(rooms) != 2:
        raise ConfigError([("finetune", "data and validation must be furniture for --meshes to furnish their rooms")])
    data, validation = rooms
    return replace(
        finetune,
        data=MeshSource(folder=folder, split="train", scenes=data),
        validation=MeshSource(folder=folder, split="val", scenes=validation),
    )
