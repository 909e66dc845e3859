"""Sinks of a run's log: TensorBoard's files read back; the others against stand-ins for their packages."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from pcfdsl.config import ConfigError
from pcfdsl.train.log import RunLog
from pcfdsl.train.sinks import open_sinks

PICTURE = np.arange(36, dtype=np.uint8).reshape(3, 4, 3)


class Recorder:
    """Answers to every name with a function that writes down what it was given."""

    def __init__(self):
        self.calls = []

    def __getattr__(self, name):
        if name.startswith("_"):
            raise AttributeError(name)
        return lambda *args, **kwargs: self.calls.append((name, args, kwargs)) or (name, args, kwargs)

    def named(self, name):
        return [(args, kwargs) for called, args, kwargs in self.calls if called == name]


def write(folder, sinks, start=0):
    log = RunLog(folder, num_steps=10, start=start, sinks=sinks)
    assert log.takes_pictures == bool(sinks)
    log.write(start + 2, {"loss": 0.5, "nothing": None})
    values = np.array([0.0, 1.0, 1.0, np.nan])
    log.show(start + 2, pictures={"rooms": PICTURE}, histograms={"weights/a": values, "weights/none": values[3:]})
    log.close()


def test_tensorboard_shows_curves_pictures_and_histograms(tmp_path):
    write(tmp_path, ["tensorboard"])
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [(event.step, event.value) for event in board.Scalars("train/loss")] == [(2, 0.5)]
    assert board.Tags()["scalars"] == ["train/loss"]
    assert board.Tags()["histograms"] == ["weights/a"]
    assert board.Histograms("weights/a")[0].histogram_value.num == 3
    assert (board.Images("rooms")[0].width, board.Images("rooms")[0].height) == (4, 3)


def test_a_log_has_null_where_json_has_no_number(tmp_path):
    log = RunLog(tmp_path, num_steps=2)
    log.write(1, {"loss": 1.0, "gradient_norm": float("inf"), "score": float("nan")})
    log.close()
    text = (tmp_path / "log.jsonl").read_text()
    assert text == '{"step": 1, "kind": "train", "loss": 1.0, "gradient_norm": null, "score": null}\n'


def test_tensorboard_forgets_an_attempt_that_left_no_checkpoint(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    write(tmp_path, ["tensorboard"])
    write(tmp_path, ["tensorboard"])
    board = EventAccumulator(str(tmp_path / "tensorboard"))
    board.Reload()
    assert [event.step for event in board.Scalars("train/loss")] == [2]


def test_wandb_gets_the_same_record_and_its_run_goes_on(tmp_path, monkeypatch):
    run, begun = Recorder(), []
    run.id = "abc"
    wandb = SimpleNamespace(
        init=lambda **how: begun.append(how) or run,
        Image=lambda picture: ("image", picture.shape),
        Histogram=lambda np_histogram: ("histogram", int(np_histogram[0].sum())),
    )
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    write(tmp_path, ["wandb"])
    assert run.named("log") == [
        (({"train/loss": 0.5},), {"step": 2}),
        (({"rooms": ("image", (3, 4, 3))},), {"step": 2}),
        (({"weights/a": ("histogram", 3)},), {"step": 2}),
    ]
    assert len(run.named("finish")) == 1
    write(tmp_path, ["wandb"], start=2)
    write(tmp_path, ["wandb"])
    assert [how["id"] for how in begun] == [None, "abc", None], "a run from the start is another one"
    assert {how["resume"] for how in begun} == {"allow"}


def test_rerun_gets_the_same_record_and_a_file_for_each_start(tmp_path, monkeypatch):
    stream = Recorder()
    rerun = SimpleNamespace(
        RecordingStream=lambda application, recording_id: stream,
        Scalars=lambda value: ("scalars", value),
        Image=lambda picture: ("image", picture.shape),
        BarChart=lambda counts, abscissa: ("bars", int(counts.sum()), len(abscissa)),
    )
    monkeypatch.setitem(sys.modules, "rerun", rerun)
    write(tmp_path, ["rerun"])
    assert stream.named("log") == [
        (("train/loss", ("scalars", 0.5)), {}),
        (("rooms", ("image", (3, 4, 3))), {}),
        (("weights/a", ("bars", 3, 64)), {}),
    ]
    assert stream.named("set_time") == [(("step",), {"sequence": 2})] * 3
    write(tmp_path, ["rerun"], start=4)
    assert [args for args, _ in stream.named("save")] == [(str(tmp_path / f"rerun_{k}.rrd"),) for k in (0, 4)]


@pytest.mark.parametrize("name", ["wandb", "rerun"])
def test_a_missing_package_is_named_with_what_to_install(tmp_path, monkeypatch, name):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ConfigError, match=rf"train.sinks: {name} needs {name}: pip install 'pcfdsl\[{name}\]'"):
        open_sinks([name], tmp_path)


def test_the_silent_log_opens_no_sink(tmp_path):
    log = RunLog(tmp_path, num_steps=10, sinks=["wandb"], silent=True)
    log.write(1, {"loss": 0.5})
    log.show(1, histograms={"a": np.zeros(3)})
    log.close()
    assert not log.takes_pictures
    assert list(tmp_path.iterdir()) == []
