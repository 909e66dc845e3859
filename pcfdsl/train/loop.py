"""The one training loop. What is trained comes in as a `Task`; detectors, classifiers and image networks use the same.

Everything random in step k is drawn from (seed, k): the batch, its augmentation, dropout. A run that was killed goes on
as if nothing had happened, and no generator states need saving.
"""

import dataclasses
import math
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader

from pcfdsl.checkpoints.run import load_checkpoint, load_resume, remove_run, save_checkpoint, save_resume
from pcfdsl.config import to_dict
from pcfdsl.models.batch_norm import set_bn_momentum, synchronize_batch_norm
from pcfdsl.models.layers import freeze
from pcfdsl.rng import stream
from pcfdsl.samples.batch import ignore_interrupts
from pcfdsl.store.atomic import make_folder, remove_stale
from pcfdsl.train.average import MovingAverage
from pcfdsl.train.distributed import Processes, batch_keys, choose_device, processes
from pcfdsl.train.interrupt import deferred_interrupts
from pcfdsl.train.lock import alone_in
from pcfdsl.train.log import RunLog
from pcfdsl.train.optim import bn_momentum, build_optimizer, learning_rate_factor
from pcfdsl.train.task import PRECISIONS, Task, TrainConfig, TrainResult

__all__ = ["NonFiniteLossError", "train"]


class NonFiniteLossError(ValueError):
    """The loss became NaN or infinite; the message names the file that holds the batch."""


def train(task: Task, config: TrainConfig, out: str | Path, *, overwrite: bool = False) -> TrainResult:
    """Train, or go on with training, or find that it is done.

    A run killed at any moment and started again with the same arguments ends with the same weights, on the CPU bit for
    bit as long as the number of threads is the same. The first Ctrl-C (or SIGTERM) finishes the step, leaves a
    checkpoint and raises KeyboardInterrupt. Under torchrun the processes share each batch. With w processes every
    batch norm sees its own share of the batch, as with `accumulate: w` in one process, which gives the same losses;
    with `sync_batch_norm` it sees the whole one, as one process does. Parts of `accumulate` are always seen alone.

    Args:
        task: What is trained; its model is changed in place.
        config: How.
        out: Folder of the run; made if needed. See `pcfdsl.checkpoints.run` for what it holds.
        overwrite: Start anew whatever the folder holds.

    Raises:
        NonFiniteLossError: If the loss is not finite.
        ValueError: If the folder holds another run, or the settings do not fit the task or the number of processes.
        OSError: If the folder cannot be used, or another process is training in it.
        KeyboardInterrupt: When stopped, after a checkpoint was written.
    """
    device = choose_device(config.device)
    if config.num_threads is not None:
        torch.set_num_threads(config.num_threads)
    with processes(device) as group:
        run = _Run(task, config, Path(out), device, group)
        with alone_in(make_folder(out), main=group.is_main):
            return run.go(overwrite)


class _Run:
    def __init__(self, task: Task, config: TrainConfig, out: Path, device: torch.device, group: Processes):
        num_samples = len(task.dataset)
        if num_samples == 0:
            raise ValueError("the training set is empty")
        if config.batch_size % (group.count * config.accumulate):
            raise ValueError(
                f"batch_size {config.batch_size} cannot be shared evenly by {group.count} processes in "
                f"{config.accumulate} part(s) each; choose a multiple of {group.count * config.accumulate}"
            )
        self.task, self.config, self.out, self.device, self.group = task, config, out, device, group
        self.num_samples = num_samples
        self.num_steps = config.num_steps or max(1, round(config.epochs * num_samples / config.batch_size))
        self.model = task.model.to(device)
        self.optimizer, self.average = None, None
        self.scaler = torch.amp.GradScaler(device.type, enabled=config.precision == "float16")
        self.step, self.metrics, self.best, self.best_step = 0, {}, None, None
        self.settings = {**task.settings, "train": to_dict(config)}

    def go(self, overwrite: bool) -> TrainResult:
        if overwrite and self.group.is_main:
            remove_run(self.out)
        if self.group.is_main:
            remove_stale(self.out)  # a checkpoint that a kill left half written
        self.group.wait()
        resume = load_resume(self.out, settings=self.settings)
        if resume is not None and resume["step"] >= self.num_steps:
            self.model.load_state_dict(load_checkpoint(self.out / "last.safetensors").state)
            return self._result(resume["progress"], skipped=True)
        network = self._prepare(resume)
        log = RunLog(
            self.out,
            num_steps=self.num_steps,
            start=self.step,
            tensorboard=self.config.tensorboard,
            silent=not self.group.is_main,
        )
        try:
            with deferred_interrupts() as interrupted:
                self._steps(network, log, interrupted)
        finally:
            log.close()
        if self.average is not None:
            self.model.load_state_dict(self.average.model.state_dict())
        return self._result(self._progress())

    def _prepare(self, resume: dict[str, Any] | None) -> Callable:
        """Freeze, load, wrap; gives what the loss calls."""
        config = self.config
        if config.sync_batch_norm:
            synchronize_batch_norm(self.model)
        self._training_mode()
        build = self.task.optimizer or (lambda model: build_optimizer(model.parameters(), config.optimizer))
        self.optimizer = build(self.model)
        if config.average is not None:
            self.average = MovingAverage(self.model, config.average)
        if resume is not None:
            self.model.load_state_dict(resume["model"])
            self.optimizer.load_state_dict(resume["optimizer"])
            self.scaler.load_state_dict(resume["scaler"])
            if self.average is not None:
                self.average.load_state_dict(resume["average"])
            self.step = resume["step"]
            self.metrics, self.best, self.best_step = (
                resume["progress"][name] for name in ("metrics", "best", "best_step")
            )
        network: Any = torch.compile(self.model) if config.compile else self.model
        if self.group.count > 1:
            ids = [self.device.index] if self.device.type == "cuda" else None
            network = self.wrapped = DistributedDataParallel(network, device_ids=ids)
        dtype = PRECISIONS[config.precision]
        if dtype is None:
            return network

        def in_precision(*args, **kwargs):
            with torch.autocast(self.device.type, dtype=dtype):
                return network(*args, **kwargs)

        return in_precision

    def _steps(self, network: Callable, log: RunLog, interrupted: threading.Event) -> None:
        config, started = self.config, time.perf_counter()
        sums: dict[str, Tensor] = {}
        waited, since = 0.0, self.step
        batches = iter(self._loader())
        evaluate_at = _evaluation_steps(self.num_steps, config.evaluations if self.task.evaluate else 0)
        while self.step < self.num_steps:
            rate, momentum = self._set_schedules()
            torch.manual_seed(int(stream(config.seed, "step", self.step, self.group.rank).integers(2**62)))
            for part in range(config.accumulate):
                before = time.perf_counter()
                batch = next(batches)
                waited += time.perf_counter() - before
                batch = batch.to(self.device, non_blocking=True)
                loss, scalars = self._loss(network, batch, part)
                bad, stop = self.group.any(not math.isfinite(loss.item()), interrupted.is_set(), device=self.device)
                if bad:
                    raise self._non_finite(batch, loss, scalars)
                last = part == config.accumulate - 1
                with nullcontext() if last or self.group.count == 1 else self.wrapped.no_sync():
                    self.scaler.scale(loss / config.accumulate).backward()
                for name, value in {"loss": loss, **scalars}.items():
                    sums[name] = sums.get(name, 0) + torch.as_tensor(value).detach().float() / config.accumulate
            norm = self._update()
            self.step += 1
            log.advance()

            done, evaluate = self.step == self.num_steps, self.step in evaluate_at
            checkpoint = done or stop or evaluate or self.step % config.checkpoint_every == 0
            if checkpoint or self.step % config.log_every == 0:
                seconds, count = time.perf_counter() - started, self.step - since
                means = self.group.mean(torch.stack([value.to(self.device) for value in sums.values()]) / count)
                values = dict(zip(sums, means.tolist(), strict=True))
                values |= {"epoch": self._epoch(self.step), "learning_rate": rate, "gradient_norm": norm}
                values |= {} if momentum is None else {"bn_momentum": momentum}
                values |= {"wait_share": waited / seconds, "seconds_per_step": seconds / count}
                log.write(self.step, values)
                log.describe(f"loss {values['loss']:.3g}, waiting {values['wait_share']:.0%}")
            if evaluate and not stop:
                self._evaluate(log)
            if checkpoint:
                self._save()
                self.group.wait()
            if stop and not done:
                raise KeyboardInterrupt
            if checkpoint or self.step % config.log_every == 0:
                sums, waited, since, started = {}, 0.0, self.step, time.perf_counter()

    def _loader(self) -> DataLoader:
        config = self.config
        keys = batch_keys(
            self.num_samples,
            seed=config.seed,
            batch_size=config.batch_size,
            steps=range(self.step, self.num_steps),
            accumulate=config.accumulate,
            rank=self.group.rank,
            num_processes=self.group.count,
        )
        return DataLoader(
            self.task.dataset,
            batch_sampler=keys,  # type: ignore[arg-type]
            collate_fn=self.task.collate,
            num_workers=config.num_workers,
            pin_memory=self.device.type == "cuda",
            worker_init_fn=ignore_interrupts,
            generator=torch.Generator().manual_seed(config.seed),  # leaves the global one alone
        )

    def _loss(self, network: Callable, batch: Any, part: int) -> tuple[Tensor, Mapping[str, Tensor]]:
        rng = stream(self.config.seed, "loss", self.step, part, self.group.rank)
        return self.task.loss(network, batch, rng)

    def _set_schedules(self) -> tuple[float, float | None]:
        config, epoch = self.config, int(self._epoch(self.step))
        factor = learning_rate_factor(
            config.schedule,
            step=self.step,
            num_steps=self.num_steps,
            epoch=epoch,
            steps_per_epoch=self.num_samples / config.batch_size,
        )
        rate = config.optimizer.learning_rate * factor
        assert self.optimizer is not None
        for group in self.optimizer.param_groups:
            group["lr"] = rate * group.get("lr_scale", 1.0)
        momentum = bn_momentum(config.schedule, epoch=epoch)
        if momentum is not None:
            set_bn_momentum(self.model, momentum)
        return rate, momentum

    def _update(self) -> float:
        """Clip and step; gives the norm of the gradient before clipping."""
        assert self.optimizer is not None
        self.scaler.unscale_(self.optimizer)
        trained = [parameter for parameter in self.model.parameters() if parameter.requires_grad]
        limit = self.config.optimizer.clip
        norm = nn.utils.clip_grad_norm_(trained, math.inf if limit is None else limit)
        self.scaler.step(self.optimizer)
        self.scaler.update()
        self.optimizer.zero_grad(set_to_none=True)
        if self.average is not None:
            self.average.update(self.model)
        return norm.item()

    def _evaluate(self, log: RunLog) -> None:
        """In the main process; the others wait at the next checkpoint."""
        if not self.group.is_main:
            return
        assert self.task.evaluate is not None
        model = self._weights_to_use().eval()
        with torch.no_grad():
            self.metrics = dict(self.task.evaluate(model))
        self._training_mode()
        log.write(self.step, self.metrics, kind="evaluation")
        value = self.metrics.get(self.task.monitor or "")
        if value is not None and (self.best is None or value > self.best):
            self.best, self.best_step = value, self.step
            self._checkpoint("best")

    def _training_mode(self) -> None:
        self.model.train()
        freeze(self.model, (*self.config.freeze, *self.task.freeze))

    def _weights_to_use(self) -> nn.Module:
        return self.model if self.average is None else self.average.model

    def _checkpoint(self, name: str) -> None:
        about = {"settings": self.settings, "step": self.step, "num_steps": self.num_steps, "metrics": self.metrics}
        save_checkpoint(self.out, name, model=self._weights_to_use(), **about)

    def _save(self) -> None:
        if not self.group.is_main:
            return
        assert self.optimizer is not None
        self._checkpoint("last")
        content = {
            "settings": self.settings,
            "step": self.step,
            "progress": self._progress(),
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "scaler": self.scaler.state_dict(),
            "average": None if self.average is None else self.average.state_dict(),
        }
        save_resume(self.out, content)

    def _progress(self) -> dict[str, Any]:
        return {"step": self.step, "metrics": self.metrics, "best": self.best, "best_step": self.best_step}

    def _result(self, progress: dict[str, Any], *, skipped: bool = False) -> TrainResult:
        return TrainResult(folder=self.out, skipped=skipped, **progress)

    def _epoch(self, step: int) -> float:
        return step * self.config.batch_size / self.num_samples

    def _non_finite(self, batch: Any, loss: Tensor, scalars: Mapping[str, Tensor]) -> NonFiniteLossError:
        path = self.out / f"bad_batch_step{self.step}_rank{self.group.rank}.pt"
        content = {"step": self.step, "loss": loss.detach().cpu(), "batch": _tensors(batch)}
        torch.save({**content, "scalars": {name: float(value) for name, value in scalars.items()}}, path)
        parts = ", ".join(f"{name} {float(value):.4g}" for name, value in scalars.items())
        return NonFiniteLossError(
            f"the loss is {loss.item()} at step {self.step} ({parts}); its batch is in {path}. Lower the learning "
            "rate, clip gradients (train.optimizer.clip) or look for bad samples in the batch; "
            "the last checkpoint is from before"
        )


def _evaluation_steps(num_steps: int, count: int) -> set[int]:
    return {round(num_steps * (k + 1) / count) for k in range(count)} - {0}


def _tensors(batch: Any) -> Any:
    """The batch as plain containers of tensors, which load with weights_only."""
    if dataclasses.is_dataclass(batch):
        return {item.name: _tensors(getattr(batch, item.name)) for item in dataclasses.fields(batch)}
    return batch.cpu() if isinstance(batch, Tensor) else batch
