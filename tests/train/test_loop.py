"""Killed runs go on exactly, processes share a batch exactly, and what goes wrong is said."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from pcfdsl.checkpoints.run_folder import find_weights, load_checkpoint
from pcfdsl.config import ConfigError
from pcfdsl.evaluate.processes import Processes
from pcfdsl.models import precision
from pcfdsl.ops.backends.choice import NotFiniteError
from pcfdsl.train.log import RunLog, read_curves, read_log
from pcfdsl.train.loop import NonFiniteLossError, _gradients, _Meter, _tensors, train
from pcfdsl.train.optim import OptimizerConfig, ScheduleConfig
from pcfdsl.train.run import prepare
from pcfdsl.train.task import TrainConfig

REPOSITORY = Path(__file__).resolve().parents[2]
SETTINGS = {
    "num_steps": 40,
    "batch_size": 4,
    "log_every": 1,
    "checkpoint_every": 3,
    "evaluations": 4,
    "sinks": (),
    "average": 0.9,
    "device": "cpu",
    "schedule": {"kind": "cosine", "bn_momentum": 0.5, "bn_epochs": 2},
}


def start(script, *arguments, processes=1, restarts=0, wait=True, **settings):
    command = [sys.executable]
    if processes > 1:
        command += ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
        command += [f"--max-restarts={restarts}"]
    out, *more = map(str, arguments)
    command += [str(script), out, json.dumps(SETTINGS | settings), *more]
    environment = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"}
    if restarts:
        # Else torchrun leaves the addresses of killed processes where their successors may look, and wait for ever. At
        # the price of a port that it finds free and that another may take before its processes do: they start again.
        environment["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"] = "1"
    child = subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True)
    if wait:
        _, errors = child.communicate(timeout=120)
        assert child.returncode == 0, errors
    return child


def curve(folder, *names):
    names = names or ("loss", "absolute", "gradient_norm", "learning_rate")
    return [tuple(record[name] for name in names) for record in read_log(folder, kind="train")]


def test_a_killed_run_goes_on_bit_for_bit(tmp_path, toy_script):
    options = ("--norm", "--dropout", "0.2")
    start(toy_script, tmp_path / "whole", *options)
    killed_at = []
    for kill_after, workers in ((8, 0), (25, 3)):
        child = start(toy_script, tmp_path / "killed", *options, "--slow", "0.005", wait=False, num_workers=workers)
        wait_for_step(tmp_path / "killed", kill_after, child)
        child.send_signal(signal.SIGKILL)
        child.communicate()
        killed_at.append(read_log(tmp_path / "killed")[-1]["step"])
    assert killed_at[-1] < SETTINGS["num_steps"]
    start(toy_script, tmp_path / "killed", *options, num_workers=1)

    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")
    assert read_log(tmp_path / "killed", kind="evaluation") == read_log(tmp_path / "whole", kind="evaluation")
    for name in ("last", "best"):
        whole, killed = (load_file(tmp_path / run / f"{name}.safetensors") for run in ("whole", "killed"))
        assert all(torch.equal(whole[key], killed[key]) for key in whole)


def wait_for_step(folder, step, child):
    end = time.monotonic() + 60
    while time.monotonic() < end and child.poll() is None:
        if (folder / "log.jsonl").exists() and any(record["step"] >= step for record in read_log(folder)):
            return
        time.sleep(0.01)
    raise AssertionError(f"step {step} not reached: {child.poll()}")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_leaves_a_checkpoint(tmp_path, toy_script, number):
    child = start(toy_script, tmp_path, "--slow", "0.01", wait=False, num_workers=1, checkpoint_every=1000)
    wait_for_step(tmp_path, 2, child)
    child.send_signal(number)
    _, errors = child.communicate(timeout=60)
    assert child.returncode != 0
    assert "KeyboardInterrupt" in errors
    assert load_checkpoint(tmp_path / "last.safetensors").step == read_log(tmp_path)[-1]["step"]


def interrupting(task, name, call):
    """The task, whose loss or evaluation gets a Ctrl-C in its `call`-th call."""
    calls, inner = count(1), getattr(task, name)

    def outer(*arguments):
        if next(calls) == call:
            os.kill(os.getpid(), signal.SIGINT)
        return inner(*arguments)

    return replace(task, **{name: outer})


@pytest.mark.parametrize("step", [3, 6])
def test_an_evaluation_that_an_interrupt_put_off_is_made_when_the_run_goes_on(tmp_path, toy, step):
    config = TrainConfig(num_steps=6, batch_size=4, evaluations=2, sinks=(), device="cpu")
    whole = train(toy.toy_task(), config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(interrupting(toy.toy_task(), "loss", step), config, tmp_path / "stopped")
    assert load_checkpoint(tmp_path / "stopped" / "last.safetensors").step == step
    result = train(toy.toy_task(), config, tmp_path / "stopped")
    assert (result.metrics, result.best, result.best_step) == (whole.metrics, whole.best, whole.best_step)
    logs = [read_log(tmp_path / name, kind="evaluation") for name in ("whole", "stopped")]
    assert logs[0] == logs[1]
    assert train(toy.toy_task(), config, tmp_path / "stopped").skipped


def test_a_kill_before_the_checkpoint_of_such_an_evaluation_leaves_one_record_of_it(tmp_path, toy, monkeypatch):
    config = TrainConfig(num_steps=6, batch_size=4, evaluations=2, sinks=(), device="cpu")
    with pytest.raises(KeyboardInterrupt):
        train(interrupting(toy.toy_task(), "loss", 3), config, tmp_path)

    def killed(*arguments, **settings):
        raise SystemExit(9)

    with monkeypatch.context() as patch:
        patch.setattr("pcfdsl.train.loop.save", killed)
        with pytest.raises(SystemExit):
            train(toy.toy_task(), config, tmp_path)
    assert [record["step"] for record in read_log(tmp_path, kind="evaluation")] == [3]
    train(toy.toy_task(), config, tmp_path)
    assert [record["step"] for record in read_log(tmp_path, kind="evaluation")] == [3, 6]


def test_curves_of_runs_are_over_the_steps_that_all_of_them_logged(tmp_path, toy):
    config = TrainConfig(num_steps=6, batch_size=4, log_every=2, evaluations=0, sinks=(), device="cpu")
    train(toy.toy_task(), config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(interrupting(toy.toy_task(), "loss", 3), config, tmp_path / "stopped")
    train(toy.toy_task(), config, tmp_path / "stopped")
    assert [step for (step,) in curve(tmp_path / "stopped", "step")] == [2, 3, 4, 6]
    steps, losses = read_curves([tmp_path / "whole", tmp_path / "stopped"], "loss", kind="train")
    assert steps.tolist() == [2, 4, 6]
    assert losses[0].tolist() == [loss for (loss,) in curve(tmp_path / "whole", "loss")]
    assert losses[1, [0, 2]].tolist() == losses[0, [0, 2]].tolist()


def test_an_interrupt_in_the_last_evaluation_keeps_it_and_stops_what_comes_after(tmp_path, toy):
    config = TrainConfig(num_steps=4, batch_size=4, evaluations=2, sinks=(), device="cpu")
    whole = train(toy.toy_task(), config, tmp_path / "whole")
    with pytest.raises(KeyboardInterrupt):
        train(interrupting(toy.toy_task(), "evaluate", 2), config, tmp_path / "stopped")
    result = train(toy.toy_task(), config, tmp_path / "stopped")
    assert (result.skipped, result.metrics, result.best) == (True, whole.metrics, whole.best)


def test_starting_over_leaves_nothing_of_the_earlier_run(tmp_path, toy):
    config = TrainConfig(num_steps=4, batch_size=4, sinks=("tensorboard",), device="cpu")
    train(toy.toy_task(), config, tmp_path)
    for name in ("bad_batch_step3_rank0.pt", "classes.md", "rerun_0.rrd"):
        (tmp_path / name).touch()
    (tmp_path / "mine.txt").touch()
    before = {path.name for path in (tmp_path / "tensorboard").iterdir()}
    train(toy.toy_task(), replace(config, sinks=()), tmp_path, overwrite=True)
    assert before
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {
        *("best.json", "best.safetensors", "last.json", "last.safetensors", "log.jsonl", "resume.pt", "mine.txt"),
        *({"run.lock"} & {path.name for path in tmp_path.iterdir()}),
    }


@pytest.mark.parametrize("wrong", [{"freeze": ("nothing",)}, {"sinks": ("wandb",)}])
def test_settings_that_cannot_be_trained_with_cost_no_earlier_run(wrong, tmp_path, toy, monkeypatch):
    config = TrainConfig(num_steps=2, batch_size=4, sinks=(), device="cpu")
    train(toy.toy_task(), config, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(ValueError, match=r"cannot freeze 'nothing'|wandb needs wandb"):
        train(toy.toy_task(), replace(config, **wrong), tmp_path, overwrite=True)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_two_processes_train_as_one_with_the_joint_batch(tmp_path, toy_script):
    start(toy_script, tmp_path / "one")
    start(toy_script, tmp_path / "two", processes=2)
    torch.testing.assert_close(
        torch.tensor(curve(tmp_path / "two")), torch.tensor(curve(tmp_path / "one")), rtol=1e-5, atol=1e-6
    )
    evaluations = [read_log(tmp_path / run, kind="evaluation")[-1]["score"] for run in ("one", "two")]
    assert evaluations[0] == pytest.approx(evaluations[1], rel=1e-4)


def test_with_batch_norm_two_processes_train_as_one_in_two_parts(tmp_path, toy_script):
    start(toy_script, tmp_path / "one", "--norm", accumulate=2)
    start(toy_script, tmp_path / "two", "--norm", processes=2)
    torch.testing.assert_close(
        torch.tensor(curve(tmp_path / "two")), torch.tensor(curve(tmp_path / "one")), rtol=1e-4, atol=1e-5
    )


def test_with_synchronised_batch_norm_two_processes_train_as_one(tmp_path, toy_script):
    start(toy_script, tmp_path / "one", "--norm")
    start(toy_script, tmp_path / "two", "--norm", processes=2, sync_batch_norm=True)
    torch.testing.assert_close(
        torch.tensor(curve(tmp_path / "two")), torch.tensor(curve(tmp_path / "one")), rtol=1e-4, atol=1e-5
    )
    one, two = (load_file(tmp_path / run / "last.safetensors") for run in ("one", "two"))
    assert one.keys() == two.keys()
    torch.testing.assert_close(two["1.running_var"], one["1.running_var"], rtol=1e-3, atol=1e-4)


@pytest.mark.faults
@pytest.mark.parametrize("rank", [0, 1])
def test_torchrun_restarts_a_killed_process_to_the_same_losses(tmp_path, toy_script, rank):
    start(toy_script, tmp_path / "whole", "--norm", processes=2)
    start(toy_script, tmp_path / "killed", "--norm", "--kill", rank, 22, processes=2, restarts=1)
    assert curve(tmp_path / "killed") == curve(tmp_path / "whole")
    assert [record["step"] for record in read_log(tmp_path / "killed", kind="train")] == list(range(1, 41))
    whole, killed = (load_file(tmp_path / run / "last.safetensors") for run in ("whole", "killed"))
    assert all(torch.equal(whole[key], killed[key]) for key in whole)


@pytest.mark.faults
def test_a_run_goes_on_with_another_number_of_processes(tmp_path, toy_script):
    start(toy_script, tmp_path / "whole", "--norm", sync_batch_norm=True)
    for processes in (1, 2):
        folder = tmp_path / f"first_{processes}"
        child = start(
            toy_script, folder, "--norm", "--slow", "0.02", processes=processes, wait=False, sync_batch_norm=True
        )
        wait_for_step(folder, 12, child)
        child.send_signal(signal.SIGTERM)
        child.communicate(timeout=60)
        assert read_log(folder)[-1]["step"] < SETTINGS["num_steps"]
        start(toy_script, folder, "--norm", processes=3 - processes, sync_batch_norm=True)
        torch.testing.assert_close(
            torch.tensor(curve(folder)), torch.tensor(curve(tmp_path / "whole")), rtol=1e-4, atol=1e-5
        )


def test_a_finished_run_is_not_trained_again(tmp_path, toy):
    config = TrainConfig(num_steps=6, batch_size=4, evaluations=2, sinks=(), device="cpu")
    first = train(toy.toy_task(), config, tmp_path)
    task = toy.toy_task()
    again = train(task, config, tmp_path)
    assert again.skipped
    assert not first.skipped
    assert (again.step, again.metrics, again.best) == (6, first.metrics, first.best)
    stored = load_checkpoint(tmp_path / "last.safetensors")
    assert all(torch.equal(stored.state[name], value) for name, value in task.model.state_dict().items())
    assert not train(task, config, tmp_path, overwrite=True).skipped


def test_the_best_checkpoint_is_that_of_the_best_evaluation(tmp_path, toy):
    config = TrainConfig(num_steps=12, batch_size=4, evaluations=6, sinks=("tensorboard",), device="cpu")
    result = train(toy.toy_task(), config, tmp_path)
    scores = {record["step"]: record["score"] for record in read_log(tmp_path, kind="evaluation")}
    assert list(scores) == [2, 4, 6, 8, 10, 12]
    assert result.best == max(scores.values())
    assert scores[result.best_step] == result.best
    best = load_checkpoint(tmp_path)
    assert (best.path.name, best.step, best.metrics["score"]) == ("best.safetensors", result.best_step, result.best)
    assert best.settings["what"] == "toy"
    assert json.loads((tmp_path / "best.json").read_text())["digest"]
    assert list((tmp_path / "tensorboard").iterdir())


def test_sinks_get_pictures_at_evaluations_and_weights_at_checkpoints_and_change_nothing(tmp_path, toy, monkeypatch):
    shown = []
    monkeypatch.setattr(RunLog, "show", lambda log, step, **what: shown.append((step, what)))
    how = {"num_steps": 6, "batch_size": 4, "evaluations": 2, "checkpoint_every": 2, "device": "cpu"}
    task = toy.toy_task()

    def pictures(model):
        assert not model.training
        return {"net": np.zeros((2, 2, 3), np.uint8)}

    train(replace(task, pictures=pictures), TrainConfig(**how), tmp_path / "shown")
    assert [(step, sorted(what["pictures"])) for step, what in shown] == [(2, []), (3, ["net"]), (4, []), (6, ["net"])]
    assert sorted(shown[0][1]["histograms"]) == sorted(f"weights/{name}" for name, _ in task.model.named_parameters())
    plain = toy.toy_task()
    train(plain, TrainConfig(**how, sinks=()), tmp_path / "plain")
    assert len(shown) == 4
    assert all(torch.equal(value, plain.model.state_dict()[name]) for name, value in task.model.state_dict().items())


def test_the_toy_task_is_learned(tmp_path, toy):
    optimizer = OptimizerConfig(name="adamw", learning_rate=0.02, clip=10.0)
    config = TrainConfig(num_steps=150, batch_size=8, optimizer=optimizer, sinks=(), device="cpu")
    train(toy.toy_task(), config, tmp_path)
    losses = [record["loss"] for record in read_log(tmp_path, kind="train")]
    assert losses[-1] < losses[0] / 5


def test_accumulated_parts_give_the_gradient_of_the_whole(tmp_path, toy):
    for parts in (1, 4):
        config = TrainConfig(num_steps=5, batch_size=8, accumulate=parts, log_every=1, sinks=(), device="cpu")
        train(toy.toy_task(), config, tmp_path / str(parts))
    whole, parted = (torch.tensor(curve(tmp_path / name)) for name in ("1", "4"))
    torch.testing.assert_close(parted, whole, rtol=1e-5, atol=1e-6)


def test_frozen_parts_do_not_move(tmp_path, toy):
    task = toy.toy_task(norm=True)
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    config = TrainConfig(num_steps=5, batch_size=8, freeze=("0", "1"), sinks=(), device="cpu")
    train(task, config, tmp_path)
    changed = {name for name, value in task.model.state_dict().items() if not torch.equal(value, before[name])}
    assert changed == {"4.weight", "4.bias"}


@pytest.mark.parametrize("has_it", [True, False])
def test_bfloat16_runs_in_bfloat16_where_the_device_has_it(tmp_path, toy, monkeypatch, capsys, has_it):
    monkeypatch.setattr(precision, "has_bfloat16", lambda device_type: has_it)
    precision._note_float32.cache_clear()
    task, types = toy.toy_task(), set()
    task.model[4].register_forward_hook(lambda module, inputs, output: types.add(output.dtype))
    config = TrainConfig(num_steps=2, precision="bfloat16", evaluations=0, sinks=(), device="cpu")
    train(task, config, tmp_path)
    assert types == {torch.bfloat16 if has_it else torch.float32}
    said = capsys.readouterr().err.count("this processor has no bfloat16 arithmetic; float32")
    assert said == (0 if has_it else 1)
    assert all(parameter.dtype == torch.float32 for parameter in task.model.parameters())


def test_a_loss_that_is_not_a_number_stops_and_saves_the_batch(tmp_path, toy):
    config = TrainConfig(num_steps=10, batch_size=4, sinks=(), device="cpu")
    with pytest.raises(NonFiniteLossError, match=r"loss is nan at step \d.*bad_batch_step\d_rank0.pt") as error:
        train(toy.toy_task(bad=5), config, tmp_path)
    saved = torch.load(next(tmp_path.glob("bad_batch*.pt")), weights_only=True)
    assert saved["batch"]["x"].isnan().any(1).sum() == 1
    assert "Lower the learning rate" in str(error.value)


def test_a_process_beside_one_whose_loss_is_not_a_number_blames_no_batch_of_its_own(tmp_path, toy):
    class BesideABadOne(Processes):
        def any(self, *flags, device):
            return [True, False]

    config = TrainConfig(num_steps=1, batch_size=4, sinks=(), device="cpu")
    task = toy.toy_task()
    how = {"device": torch.device("cpu"), "group": BesideABadOne(), "num_steps": 1, "settings": dict(task.settings)}
    run = prepare(task, config, tmp_path, **how)
    batch = toy.collate([task.dataset[0, i] for i in range(2)])
    with pytest.raises(
        NonFiniteLossError, match=r"^the loss of another process is not finite at step 0; see its message$"
    ):
        _gradients(run, 0, iter([batch]), _Meter(0), threading.Event())
    assert not list(tmp_path.glob("bad_batch*"))


def test_a_bad_batch_of_lists_and_dictionaries_is_stored_as_tensors_of_the_cpu(monkeypatch):
    moved = []
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor: moved.append(len(tensor)) or tensor)
    stored = _tensors({"images": [torch.zeros(1), torch.zeros(2)], "targets": ({"boxes": torch.zeros(3)}, 4)})
    assert moved == [1, 2, 3]
    assert stored["targets"][1] == 4


def test_tf32_is_off_for_convolutions_too_unless_asked_for(tmp_path, toy):
    for tf32 in (True, False):
        config = TrainConfig(num_steps=1, batch_size=4, evaluations=0, tf32=tf32, sinks=(), device="cpu")
        train(toy.toy_task(), config, tmp_path / str(tf32))
        assert torch.backends.cudnn.allow_tf32 == tf32
        assert torch.get_float32_matmul_precision() == ("high" if tf32 else "highest")


def test_a_network_that_makes_points_of_nan_is_said_to_have_diverged(tmp_path, toy):
    task = toy.toy_task()

    def refuse(network, inputs, outputs):
        raise NotFiniteError("votes hold NaN or infinity")

    task.model.register_forward_hook(refuse)
    config = TrainConfig(num_steps=9, batch_size=4, sinks=(), device="cpu")
    with pytest.raises(
        NonFiniteLossError, match=r"votes hold NaN or infinity at step 0; .*Lower the learning rate \(0\.001\)"
    ):
        train(task, config, tmp_path)
    assert torch.load(next(tmp_path.glob("bad_batch*.pt")), weights_only=True)["step"] == 0


def test_settings_that_do_not_fit_are_named(tmp_path, toy):
    with pytest.raises(ConfigError, match="does not divide"):
        TrainConfig(num_steps=1, batch_size=8, accumulate=3)
    with pytest.raises(ValueError, match="training set is empty"):
        train(toy.toy_task(size=0), TrainConfig(num_steps=1, device="cpu"), tmp_path)
    with pytest.raises(ValueError, match="device 'abacus' is not known"):
        train(toy.toy_task(), TrainConfig(num_steps=1, device="abacus"), tmp_path)


def test_gradients_of_all_parts_but_the_last_stay_in_the_process(tmp_path, toy):
    """Data parallel networks ask in the forward pass whether to synchronise in the backward pass."""
    config = TrainConfig(num_steps=1, batch_size=8, accumulate=4, sinks=(), device="cpu")
    task, apart, seen = toy.toy_task(), [], []
    run = prepare(
        task, config, tmp_path, device=torch.device("cpu"), group=Processes(), num_steps=1, settings=dict(task.settings)
    )

    @contextmanager
    def no_sync():
        apart.append(True)
        yield
        apart.pop()

    def network(x):
        seen.append(("forward", bool(apart)))
        return task.model(x)

    task.model[-1].bias.register_hook(lambda gradient: seen.append(("backward", bool(apart))))
    batch = toy.collate([task.dataset[0, i] for i in range(2)])
    _gradients(replace(run, network=network, no_sync=no_sync), 0, iter([batch] * 4), _Meter(0), threading.Event())
    assert seen == [("forward", True), ("backward", True)] * 3 + [("forward", False), ("backward", False)]


def test_without_clipping_an_infinite_gradient_harms_no_other_weight(tmp_path, toy):
    task = toy.toy_task()
    bias = task.model[-1].bias
    bias.register_hook(lambda gradient: torch.full_like(gradient, torch.inf))
    before = {name: value.clone() for name, value in task.model.state_dict().items()}
    optimizer = OptimizerConfig(name="sgd", learning_rate=0.1, momentum=0.0)
    config = TrainConfig(num_steps=1, batch_size=4, evaluations=0, optimizer=optimizer, sinks=(), device="cpu")
    train(task, config, tmp_path)
    assert curve(tmp_path, "gradient_norm") == [(None,)]  # infinite, for which JSON has no number
    for name, value in task.model.state_dict().items():
        if name == "4.bias":
            assert torch.isinf(value).all()
        else:
            assert torch.isfinite(value).all(), name
            assert not torch.equal(value, before[name]), name


def test_another_run_in_the_folder_is_not_continued(tmp_path, toy):
    config = TrainConfig(num_steps=2, sinks=(), device="cpu")
    train(toy.toy_task(), config, tmp_path)
    other = TrainConfig(num_steps=3, sinks=(), device="cpu", num_workers=1, schedule=ScheduleConfig(warmup_steps=1))
    with pytest.raises(ValueError, match=r"other settings:\n  train.num_steps: was 2, is 3") as error:
        train(toy.toy_task(), other, tmp_path)
    assert "train.schedule.warmup_steps: was 0, is 1" in str(error.value)
    assert "num_workers" not in str(error.value)


def test_a_setting_that_came_after_a_run_counts_as_its_default(tmp_path, toy):
    config = TrainConfig(num_steps=2, sinks=(), device="cpu")
    train(toy.toy_task(), config, tmp_path)
    content = torch.load(tmp_path / "resume.pt", weights_only=True)
    del content["settings"]["what"], content["settings"]["train"]["schedule"]["bn_factor"]
    torch.save(content, tmp_path / "resume.pt")
    assert train(toy.toy_task(), config, tmp_path).skipped
    other = replace(config, schedule=ScheduleConfig(bn_factor=0.25))
    with pytest.raises(ValueError, match=r"other settings:\n  train.schedule.bn_factor: was 0.5, is 0.25\n"):
        train(toy.toy_task(), other, tmp_path)


@pytest.mark.parametrize(
    "schedule",
    [
        ScheduleConfig(warmup_steps=3, bn_momentum=0.5, bn_epochs=1),
        ScheduleConfig(kind="step", milestones=(1, 2), factor=0.5),
        ScheduleConfig(kind="exponential", factor=0.9, warmup_epochs=1.0),
    ],
    ids=lambda schedule: schedule.kind,
)
def test_a_prolonged_run_is_one_that_was_so_long_from_the_start(schedule, tmp_path, toy, capsys):
    def run(folder, **length):
        config = TrainConfig(
            batch_size=8, sinks=(), device="cpu", schedule=schedule, average=0.9, log_every=1, **length
        )
        return train(toy.toy_task(norm=True, dropout=0.2), config, tmp_path / folder)

    run("whole", num_steps=12)
    run("parts", num_steps=5)
    assert "prolonged" not in capsys.readouterr().err
    run("parts", epochs=3.0)  # 9 steps
    assert f"note: {tmp_path / 'parts'} is prolonged from 5 to 9 steps" in capsys.readouterr().err
    assert run("parts", num_steps=9).skipped
    result = run("parts", epochs=4.0)
    assert (result.step, result.skipped) == (12, False)
    whole, parts = (load_checkpoint(tmp_path / name / "last.safetensors") for name in ("whole", "parts"))
    assert all(torch.equal(whole.state[name], parts.state[name]) for name in whole.state)
    assert parts.settings["train"]["epochs"] == 4.0
    assert curve(tmp_path / "parts") == curve(tmp_path / "whole")
    assert [record["step"] for record in read_log(tmp_path / "parts", kind="evaluation")] == [5, 9, 12]


def test_a_run_is_not_prolonged_where_its_schedule_was_made_for_its_length(tmp_path, toy):
    config = TrainConfig(num_steps=4, sinks=(), device="cpu", schedule=ScheduleConfig(kind="cosine", final=0.5))
    train(toy.toy_task(), config, tmp_path)
    before = (tmp_path / "resume.pt").read_bytes()
    with pytest.raises(ValueError, match=r"a run of 4 steps, which the settings make 6; with .*kind=cosine it cannot"):
        train(toy.toy_task(), replace(config, num_steps=6), tmp_path)
    with pytest.raises(ValueError, match=r"4 steps, which the settings make 3; a run can be prolonged but not short"):
        train(toy.toy_task(), replace(config, num_steps=3), tmp_path)
    assert (tmp_path / "resume.pt").read_bytes() == before


@pytest.mark.parametrize(("batch_size", "accumulate"), [(1, 1), (4, 4)])
def test_batch_norm_on_one_sample_names_the_settings(batch_size, accumulate, tmp_path, toy):
    config = TrainConfig(
        num_steps=2, batch_size=batch_size, accumulate=accumulate, sinks=(), device="cpu", evaluations=0
    )
    with pytest.raises(
        ValueError, match=f"train.batch_size {batch_size} / train.accumulate {accumulate} comes to; rai"
    ):
        train(toy.toy_task(norm=True), config, tmp_path)
    assert train(toy.toy_task(), config, tmp_path).step == 2  # without batch norm one will do


def test_a_missing_result_is_null_and_never_the_best(tmp_path, toy):
    task = replace(toy.toy_task(), evaluate=lambda network, group: {"score": None})
    result = train(task, TrainConfig(num_steps=2, device="cpu"), tmp_path)
    assert (result.metrics, result.best, result.best_step) == ({"score": None}, None, None)
    assert read_log(tmp_path, kind="evaluation") == [{"step": 2, "kind": "evaluation", "score": None}]
    assert json.loads((tmp_path / "last.json").read_text())["metrics"] == {"score": None}
    assert not (tmp_path / "best.safetensors").exists()


def test_damaged_and_missing_checkpoints_are_named(tmp_path, toy):
    config = TrainConfig(num_steps=2, sinks=(), device="cpu", evaluations=0)
    train(toy.toy_task(), config, tmp_path)
    with pytest.raises(FileNotFoundError, match=r"holds neither best.safetensors nor last.safetensors"):
        find_weights(tmp_path.parent / ".")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        load_checkpoint(tmp_path / "none.safetensors")
    for name in ("resume.pt", "last.safetensors"):
        whole = (tmp_path / name).read_bytes()
        (tmp_path / name).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match=r"resume.pt cannot be read"):
        train(toy.toy_task(), config, tmp_path)
    with pytest.raises(ValueError, match="is truncated or damaged"):
        load_checkpoint(tmp_path)
