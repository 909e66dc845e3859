"""The one training loop. What is trained comes in as a `Task`; detectors, classifiers and image networks use the same.

Everything random in step k is drawn from (seed, k): the batch, its augmentation, dropout. A run that was killed goes on
as if it had not been, and no generator states need saving.
"""

import dataclasses
import math
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from pcfdsl.checkpoints.run_folder import load_checkpoint, load_resume, remove_run
from pcfdsl.config import to_dict
from pcfdsl.evaluate.processes import Processes
from pcfdsl.models.batch_norm import set_bn_momentum
from pcfdsl.ops.backends.choice import NotFiniteError
from pcfdsl.rng import stream
from pcfdsl.samples.batch import load_batches
from pcfdsl.store.atomic import make_folder, remove_stale
from pcfdsl.train.distributed import batch_keys, choose_device, processes
from pcfdsl.train.interrupt import deferred_interrupts
from pcfdsl.train.lock import alone_in
from pcfdsl.train.log import RunLog
from pcfdsl.train.optim import bn_momentum, learning_rate_factor
from pcfdsl.train.run import (
    LENGTH,
    Progress,
    Run,
    check_length,
    keep,
    naming_the_batch,
    num_steps_of,
    prepare,
    restore,
    save,
)
from pcfdsl.train.sinks import require_sinks
from pcfdsl.train.task import Task, TrainConfig, TrainResult

__all__ = ["NonFiniteLossError", "train"]


class NonFiniteLossError(ValueError):
    """The loss became NaN or infinite; the message names the file that holds the batch."""


def train(task: Task, config: TrainConfig, out: str | Path, *, overwrite: bool = False) -> TrainResult:
    """Train, resume training, or find that it is finished.

    A run killed at any moment and started again with the same arguments ends with the same weights, on the CPU bit for
    bit as long as the number of threads is the same. A run that is started again with more steps or epochs goes on as
    if it had been that long from the start, unless the schedule depends on the length; its best evaluation may be one
    that the longer run would not have made. The first Ctrl-C (or SIGTERM) finishes the step, leaves a checkpoint and
    raises KeyboardInterrupt; an evaluation that was due is made when the run goes on.

    Under torchrun the processes share each batch. With w processes every batch norm sees its own share of the batch, as
    with `accumulate: w` in one process, which gives the same losses; with `sync_batch_norm` it sees the whole one, as
    one process does. Parts of `accumulate` are always seen alone.

    Args:
        task: What is trained; its model is changed in place.
        config: How.
        out: Folder of the run; made if needed. See `pcfdsl.checkpoints.run_folder` for what it holds.
        overwrite: Start from scratch, whatever the folder holds.

    Raises:
        NonFiniteLossError: If the loss is not finite.
        ValueError: If the folder holds another run, or the settings do not fit the task or the number of processes.
        OSError: If the folder cannot be used, or another process is training in it.
        KeyboardInterrupt: When stopped, after a checkpoint was written.
    """
    device = choose_device(config.device)
    torch.set_float32_matmul_precision("high" if config.tf32 else "highest")
    torch.backends.cudnn.allow_tf32 = config.tf32  # of convolutions, where torch's default is true
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    out = Path(out)
    settings = {**task.settings, "train": to_dict(config)}
    with processes(device) as group:
        num_steps = num_steps_of(task, config, group)
        with alone_in(make_folder(out), main=group.is_main):
            if group.is_main:
                remove_stale(out)  # a checkpoint that a kill left half written
            group.wait()
            resume = None
            if not overwrite:
                resume = load_resume(out, settings=settings, config_class=type(task.config), but_for=LENGTH)
            if resume is not None:
                check_length(resume, config, num_steps, num_samples=len(task.dataset), folder=out, say=group.is_main)
            task.model.to(device)
            due = resume is not None and resume.get("evaluation_due", False)
            if resume is not None and resume["step"] >= num_steps and not due:
                if group.is_main:
                    print(f"note: {out} is finished, {num_steps} steps long; nothing was trained", file=sys.stderr)
                task.kept(task.model).load_state_dict(load_checkpoint(out / "last.safetensors").state)
                return TrainResult(folder=out, skipped=True, **resume["progress"])
            run = prepare(task, config, out, device=device, group=group, num_steps=num_steps, settings=settings)
            require_sinks(config.sinks)
            if overwrite:  # only now: settings that cannot be trained with must not cost an earlier run
                if group.is_main:
                    remove_run(out)
                group.wait()
            progress = Progress() if resume is None else restore(run, resume)
            log = RunLog(
                out,
                num_steps=num_steps,
                start=progress.step,
                due=due,
                sinks=config.sinks,
                silent=not group.is_main,
            )
            try:
                with deferred_interrupts() as interrupted:
                    if due:
                        _evaluate(run, progress, log)
                        save(run, progress)
                    _steps(run, progress, log, interrupted)
                if interrupted.is_set():  # in what came after the last step
                    raise KeyboardInterrupt
            finally:
                log.close()
            task.model.load_state_dict(run.weights.state_dict())
            return TrainResult(folder=out, skipped=False, **asdict(progress))


class _Meter:
    """Means of what is logged, since the last record."""

    def __init__(self, step: int):
        self.since, self.started, self.waited = step, time.perf_counter(), 0.0
        self.sums: dict[str, Tensor] = {}

    def add(self, values: Mapping[str, Any], *, parts: int) -> None:
        """Add the values of one of the parts of a step."""
        for name, value in values.items():
            self.sums[name] = self.sums.get(name, 0) + torch.as_tensor(value).detach().float() / parts

    def means(self, step: int, group: Processes, device: torch.device) -> dict[str, float]:
        """Means over steps and processes, the share of the time spent waiting for batches, and seconds per step."""
        seconds, count = time.perf_counter() - self.started, step - self.since
        means = group.mean(torch.stack([value.to(device) for value in self.sums.values()]) / count)
        values = dict(zip(self.sums, means.tolist(), strict=True))
        return values | {"wait_share": self.waited / seconds, "seconds_per_step": seconds / count}


def _steps(run: Run, progress: Progress, log: RunLog, interrupted: threading.Event) -> None:
    config, group = run.config, run.group
    meter = _Meter(progress.step)
    batches, epoch = _batches(run, progress.step), None
    evaluate_at = _evaluation_steps(run.num_steps, config.evaluations) if run.task.evaluate else set()
    while progress.step < run.num_steps:
        if run.task.start_epoch is not None and int(run.epoch(progress.step)) != epoch:
            epoch = int(run.epoch(progress.step))
            batches = _start_epoch(run, progress.step, epoch, run.task.start_epoch)
        scheduled = _set_schedules(run, progress.step)
        stop = _gradients(run, progress.step, batches, meter, interrupted)
        norm = _update(run)
        progress.step += 1
        log.advance()

        due = progress.step in evaluate_at
        checkpoint = stop or due or progress.step == run.num_steps or progress.step % config.checkpoint_every == 0
        record = checkpoint or progress.step % config.log_every == 0
        if record:
            values = meter.means(progress.step, group, run.device)
            values |= {"epoch": run.epoch(progress.step), **scheduled, "gradient_norm": norm.item()}
            log.write(progress.step, values)
            log.describe(f"loss {values['loss']:.3g}, waiting {values['wait_share']:.0%}")
        if due and not stop:
            _evaluate(run, progress, log)
        if checkpoint:
            save(run, progress, evaluation_due=due and stop)
            _show(run, progress, log, pictures=due and not stop)
            group.wait()
        if stop:
            raise KeyboardInterrupt
        if record:
            meter = _Meter(progress.step)


def _batches(run: Run, step: int) -> Iterator[Any]:
    config = run.config
    keys = batch_keys(
        run.num_samples,
        seed=config.seed,
        batch_size=config.batch_size,
        steps=range(step, run.num_steps),
        accumulate=config.accumulate,
        rank=run.group.rank,
        num_processes=run.group.count,
    )
    return load_batches(
        run.task.dataset,
        keys,
        collate=run.task.collate,
        num_workers=config.num_workers,
        pin_memory=run.device.type == "cuda",
        seed=config.seed,
    )


def _start_epoch(run: Run, step: int, epoch: int, start: Callable[[nn.Module, int, Processes], None]) -> Iterator[Any]:
    """Let the task start an epoch; gives the batches from there on, by workers that know of it."""
    run.group.equalize(run.model)
    with torch.no_grad():
        start(run.model.eval(), epoch, run.group)
    run.training_mode()
    return _batches(run, step)


def _set_schedules(run: Run, step: int) -> dict[str, float]:
    """Set learning rates and batch-norm momentum for a step; gives what the log says of them."""
    config, epoch = run.config, int(run.epoch(step))
    factor = learning_rate_factor(
        config.schedule,
        step=step,
        num_steps=run.num_steps,
        epoch=epoch,
        steps_per_epoch=run.num_samples / config.batch_size,
    )
    rate = config.optimizer.learning_rate * factor
    for group in run.optimizer.param_groups:
        group["lr"] = rate * group.get("lr_scale", 1.0)
    momentum = bn_momentum(config.schedule, epoch=epoch)
    if momentum is None:
        return {"learning_rate": rate}
    set_bn_momentum(run.model, momentum)
    return {"learning_rate": rate, "bn_momentum": momentum}


def _gradients(run: Run, step: int, batches: Iterator, meter: _Meter, interrupted: threading.Event) -> bool:
    """Add up the gradients of a step, part by part; gives whether any process has been told to stop."""
    config, group = run.config, run.group
    torch.manual_seed(int(stream(config.seed, "step", step, group.rank).integers(2**62)))
    stop = False
    for part in range(config.accumulate):
        before = time.perf_counter()
        batch = next(batches)
        meter.waited += time.perf_counter() - before
        batch = batch.to(run.device, non_blocking=True)
        rng = stream(config.seed, "loss", step, part, group.rank)
        with nullcontext() if part == config.accumulate - 1 else run.no_sync():
            try:
                with naming_the_batch(run):
                    loss, scalars = run.task.loss(run.network, batch, rng)
            except NotFiniteError as error:  # operators refuse what is not finite before there is a loss
                raise _non_finite(run, step, batch, f"{error}", {}) from None
            own = not math.isfinite(loss.item())
            bad, stop = group.any(own, interrupted.is_set(), device=run.device)
            if bad and not own:
                raise NonFiniteLossError(f"the loss of another process is not finite at step {step}; see its message")
            if bad:
                raise _non_finite(run, step, batch, f"the loss is {loss.item()}", scalars)
            run.scaler.scale(loss / config.accumulate).backward()
        meter.add({"loss": loss, **scalars}, parts=config.accumulate)
    return stop


def _update(run: Run) -> Tensor:
    """Clip and step; gives the norm of the gradient before clipping, [], which nobody waits for."""
    run.scaler.unscale_(run.optimizer)
    gradients = [parameter.grad for parameter in run.model.parameters() if parameter.grad is not None]
    limit = run.config.optimizer.clip
    if limit is not None:
        norm = nn.utils.clip_grad_norm_(run.model.parameters(), limit)
    elif gradients:  # clipping to infinity would turn every gradient into NaN where one is infinite
        norm = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(gradients)))  # a few launches for all of them
    else:
        norm = torch.zeros(())
    run.scaler.step(run.optimizer)
    run.scaler.update()
    run.optimizer.zero_grad(set_to_none=True)
    if run.average is not None:
        run.average.update(run.model)
    return norm


def _evaluate(run: Run, progress: Progress, log: RunLog) -> None:
    assert run.task.evaluate is not None
    model = run.weights.eval()
    run.group.equalize(model)
    with torch.no_grad():
        progress.metrics = dict(run.task.evaluate(model, run.group))
    run.training_mode()
    log.write(progress.step, progress.metrics, kind="evaluation")
    value = progress.metrics.get(run.task.monitor or "")
    if value is not None and (progress.best is None or value > progress.best):
        progress.best, progress.best_step = value, progress.step
        if run.group.is_main:
            keep(run, progress, "best")


def _show(run: Run, progress: Progress, log: RunLog, *, pictures: bool) -> None:
    """Histograms of the weights for the sinks, and pictures of what the network does."""
    if not log.takes_pictures:
        return
    made: Mapping[str, np.ndarray] = {}
    if pictures and run.task.pictures is not None:
        with torch.no_grad():
            made = run.task.pictures(run.weights.eval())
        run.training_mode()
    weights = {f"weights/{name}": value.detach().float().cpu().numpy() for name, value in run.model.named_parameters()}
    log.show(progress.step, pictures=made, histograms=weights)


def _non_finite(run: Run, step: int, batch: Any, found: str, scalars: Mapping[str, Tensor]) -> NonFiniteLossError:
    path = run.out / f"bad_batch_step{step}_rank{run.group.rank}.pt"
    values = {name: float(value) for name, value in scalars.items()}
    torch.save({"step": step, "batch": _tensors(batch), "scalars": values}, path)
    parts = ", ".join(f"{name} {value:.4g}" for name, value in values.items())
    return NonFiniteLossError(
        f"{found} at step {step}{f' ({parts})' if parts else ''}; its batch is in {path}. Lower the learning "
        f"rate ({run.config.optimizer.learning_rate:g}), clip gradients (train.optimizer.clip) or look for bad samples "
        "in the batch; the last checkpoint is from before"
    )


def _evaluation_steps(num_steps: int, count: int) -> set[int]:
    return {round(num_steps * (k + 1) / count) for k in range(count)} - {0}


def _tensors(batch: Any) -> Any:
    """The batch as plain containers of tensors, which load with weights_only."""
    if dataclasses.is_dataclass(batch):
        return {item.name: _tensors(getattr(batch, item.name)) for item in dataclasses.fields(batch)}
    if isinstance(batch, Mapping):
        return {name: _tensors(value) for name, value in batch.items()}
    if isinstance(batch, list | tuple):
        return [_tensors(value) for value in batch]
    return batch.cpu() if isinstance(batch, Tensor) else batch
