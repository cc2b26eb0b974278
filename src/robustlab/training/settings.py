"""Settings of a training run, and its history."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Literal, TypeAlias

from robustlab.core import Metrics
from robustlab.core.kinds import typed
from robustlab.training.optimizers import MakeOptimizer, sgd
from robustlab.training.schedule import OneCycle, Schedule

Precision: TypeAlias = Literal["auto", "fp32", "bf16", "fp16"]


@typed
@dataclass(frozen=True)
class Settings:
    """Settings of a training run: length, optimizer, seed, precision, checkpoints.

    Args:
        epochs: passes over the data, at least 1.
        batch_size: the largest number of examples in a step, of each process; an epoch is cut into batches of equal
            size up to one.
        optimizer: makes the optimizer for the model's parameters: ``sgd()``, ``adamw()``, ``tuned(...)``.
        schedule: factor of the learning rate at each step.
        seed: of the order of the data and of all draws during training (not of the model's first weights).
        accumulate: parts that a batch is cut into, one in memory at a time, whose gradients make one update. Without
            normalisation layers the result is that of the whole batch; with them each part has its own statistics.
        clip: the largest length of the gradient of all weights together; longer ones are scaled down. None: any.
        average: decay, in (0, 1), of an exponential moving average of the weights, such as 0.999; the
            average is validated and returned. The first updates count less long. None: no average.
        best: name of a number that the validation returns, the larger the better, such as "robust_accuracy". The
            weights of the epoch where it is highest are kept and returned.
        patience: the run ends early after so many epochs without a better one; needs ``best``. None: never.
        precision: "bf16" and "fp16" compute most of the forward pass in that type. In fp16 the loss is scaled so that
            small gradients are not lost; an update whose gradients overflow is left out and the scale halved. On a CPU
            fp16 is slow and only for trials. "auto" takes bf16 where it is faster and fp32 elsewhere: a
            processor with units for bf16 is timed once, in some hundredths of a second; one without never takes it, as
            a step would take eight times as long. The choice is in the history and in each checkpoint, and a
            resumed run keeps it on any processor.
        device: "auto" takes cuda, mps or cpu, in this order; or one of these by name.
        resume: continue from the last complete epoch in the output directory, if it holds one of the same run.
        keep: number of checkpoints on disk.
        workers: processes that read data which is not in memory ahead of time; the weights are the same with any number
            of them. None: none on a CPU, else one for each core, 8 at most.

    Raises: ValueError for values that no run can have.
    """

    epochs: int
    batch_size: int = 128
    optimizer: MakeOptimizer = field(default_factory=sgd)
    schedule: Schedule = field(default_factory=OneCycle)
    seed: int = 0
    accumulate: int = 1
    clip: float | None = None
    average: float | None = None
    best: str | None = None
    patience: int | None = None
    precision: Precision = "fp32"
    device: str = field(default="auto", repr=False, compare=False)
    resume: bool = field(default=False, repr=False, compare=False)
    keep: int = field(default=2, repr=False, compare=False)
    workers: int | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "accumulate", "keep"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.workers is not None and self.workers < 0:
            raise ValueError(f"workers must be 0 or more, got {self.workers}")
        if self.clip is not None and not 0 < self.clip < math.inf:
            raise ValueError(f"clip is a length of the gradient, a finite number > 0, got {self.clip}")
        if self.average is not None and not 0 < self.average < 1:
            raise ValueError(f"average is the decay of a moving average of the weights, in (0, 1), got {self.average}")
        if self.patience is not None and (self.patience < 1 or self.best is None):
            raise ValueError(
                f"patience counts epochs without a better one, at least 1, and needs best: {self.patience}"
            )
        if self.precision not in ("auto", "fp32", "bf16", "fp16"):
            raise ValueError(f"precision must be 'auto', 'fp32', 'bf16' or 'fp16', got {self.precision!r}")

    def described(self) -> dict[str, str]:
        """Everything that decides the result, by name, as text: a run may be resumed only with the same."""
        return {f.name: repr(getattr(self, f.name)) for f in fields(self) if f.repr}

    def best_epoch(self, epochs: Sequence[Metrics]) -> int | None:
        """The first epoch, 1, 2, ..., with the highest number of ``best``; None without ``best``.

        Raises: ValueError if the validation did not return that number.
        """
        if self.best is None or not epochs:
            return None
        name = f"validation_{self.best}"
        if any(name not in epoch for epoch in epochs):
            raise ValueError(f"the validation returned {sorted(epochs[-1])}, but best={self.best!r} needs {name}")
        return max(range(len(epochs)), key=lambda number: epochs[number][name]) + 1

    def stops(self, epochs: Sequence[Metrics]) -> bool:
        """True if the run ends after these epochs, as none was better for ``patience`` epochs."""
        best = self.best_epoch(epochs)
        return self.patience is not None and best is not None and len(epochs) - best >= self.patience


@dataclass(frozen=True)
class History:
    """Record of a run.

    Args:
        epochs: for each complete epoch: means over its examples of the numbers of the recipe (over those of some steps,
            for numbers of these steps alone), those of the validation (as ``validation_NAME``), "epoch",
            "learning_rate" of the last step and "seconds".
        checkpoint: directory of the last checkpoint, if the run had an output directory; ``model.safetensors`` in it
            are the weights; ``average.safetensors`` and ``best.safetensors`` their average and those of the best epoch.
        best: the epoch, 1, 2, ..., whose weights were returned, if the settings have ``best``.
        precision: of the training; for "auto", the chosen one.
    """

    epochs: tuple[Metrics, ...]
    checkpoint: Path | None = None
    best: int | None = None
    precision: Precision = "fp32"

    def __getitem__(self, name: str) -> list[float]:
        """One number over the epochs, e.g. ``history["loss"]``."""
        return [epoch[name] for epoch in self.epochs]
