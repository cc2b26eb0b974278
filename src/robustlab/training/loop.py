"""The training loop: order of the data, schedule, optimizer steps, checkpoints. The recipe defines a step."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeAlias

import torch
from torch import Tensor, nn

from robustlab.core import DataError, Examples, Metrics, Recipe, RunError, frozen
from robustlab.core.kinds import typed
from robustlab.core.twin import checked_logits
from robustlab.core.user_code import model_called, model_output
from robustlab.core.weights import check_plain, check_values, state_of
from robustlab.data import examples as as_examples
from robustlab.data.wrapped import Given
from robustlab.runs.identity import check_same, differences
from robustlab.runs.lock import alone
from robustlab.runs.progress import Progress, Report
from robustlab.training import checkpoint, seeds
from robustlab.training.checkpoint_numbers import Numbers, read_numbers
from robustlab.training.identity import run_of, surroundings
from robustlab.training.launcher import launched, placed
from robustlab.training.precision import recorded
from robustlab.training.settings import History, Settings
from robustlab.training.stream import Reader, fetched
from robustlab.training.training_twin import forget
from robustlab.training.update import (
    DivergedError,
    Means,
    Place,
    Updater,
    Weights,
    average_,
    checked,
    copied,
    put,
    with_weights,
)

Validate: TypeAlias = Callable[[nn.Module], Metrics]
AVERAGE, BEST = checkpoint.AVERAGE, checkpoint.BEST
_LOG = logging.getLogger(__name__)


@typed
def fit(
    model: nn.Module,
    recipe: Recipe,
    examples: Given,
    settings: Settings,
    *,
    out: str | Path | None = None,
    validate: Validate | None = None,
    progress: Report | None = None,
) -> History:
    """Trains a model in place.

    The same model, recipe, data and settings give the same weights, bit for bit on one machine with the same number of
    threads, whether the run was stopped and resumed or not. The global random state is left as it was.

    Started by ``torchrun`` or ``accelerate launch``, several processes train one model: each batch is
    ``settings.batch_size`` examples per process, gradients are added up; without normalisation layers the result is
    that of one process with a batch as large as all of theirs, up to rounding. The first process writes, validates and
    reports; all return the same model and history, and must see the same files to resume.

    Args:
        model: a module from inputs (N, ...) to logits (N, K); it comes back trained, on its own device, in eval mode:
            with the weights of the best epoch if the settings name a number for it, else the average of the weights if
            there is one, else those after the last step.
        recipe: defines the step on each batch.
        examples: the training data, or anything that ``robustlab.data.examples`` accepts.
        settings: epochs, optimizer, schedule, seed and more.
        out: directory for a checkpoint after each epoch; None: nothing is written.
        validate: called with the model in eval mode after each epoch, averaged if the settings have an average;
            the numbers that it returns go into the history.
        progress: called after each step, and after each epoch and its validation: ``runs.progress_bars`` and
            ``tensorboard`` yield such callbacks.

    Returns: the metrics of each epoch, the place of the last checkpoint, and the best epoch.

    Raises:
        ValueError: data and model that do not fit each other, or fewer examples than processes in a batch.
        DivergedError: the loss is NaN or infinite; the last checkpoint is kept.
        DataError: the data cannot be read, or a process that reads it has ended; the last checkpoint is kept.
        RunError: the directory is in use, not writable, or holds another run.
        CheckpointError: a checkpoint is damaged, or cannot be written.

    Example:
        >>> from robustlab.data import InMemory
        >>> from robustlab.training import sgd, standard
        >>> data = InMemory("two points", ("left", "right"), torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]))
        >>> history = fit(nn.Linear(1, 2), standard(), data, Settings(epochs=20, optimizer=sgd(1.0)))
        >>> history["accuracy"][-1]
        1.0
    """
    examples = as_examples(examples)
    if not len(examples):
        raise ValueError(f"{examples.name} has no examples to train on")
    if settings.best is not None and validate is None:
        raise ValueError(f"best={settings.best!r} needs a validation that measures it: give validate")
    folder = Path(out) if out is not None else None
    check_values(model)
    if folder is not None:
        check_plain(state_of(model), "the checkpoints would hold ")
    with torch.inference_mode(mode=False), torch.enable_grad(), ExitStack() as stack:
        before = recorded(folder) if settings.precision == "auto" and settings.resume else None
        accelerator, settings = stack.enter_context(launched(settings, before))
        reseed = stack.enter_context(seeds.private_generators(accelerator.device))
        reseed(seeds.of_start(settings.seed))
        some = torch.arange(min(2, len(examples)))
        probe = checked(fetched(examples, some, settings.seed), some, examples, accelerator.device)
        stack.enter_context(placed(model, accelerator.device, probe.x))
        _check_model(model, probe.x, len(examples.classes))
        if folder is not None and accelerator.is_main_process:
            stack.enter_context(alone(folder))
        stack.callback(model.eval)
        stack.callback(forget, model)
        run = _Run(Updater(model, recipe, settings, accelerator, reseed), examples)
        stack.callback(run.reader.close)
        with run.explained(), model_called():
            return run.complete(folder, validate, progress)


class _Run:
    """State of one run of ``fit``."""

    def __init__(self, updater: Updater, examples: Examples) -> None:
        self.updater, self.examples = updater, examples
        self.model, self.settings, self.processes = updater.model, updater.settings, updater.processes
        self.reader = Reader(examples, updater.settings.workers, updater.device)
        self.epochs: list[Metrics] = []
        self.last: Progress
        self.saved: Path | None = None
        self.others: dict[str, Weights] = {}
        if self.settings.average is not None:
            self.others[AVERAGE] = copied(self.model)
            updater.after.append(self.averaged)
        if self.settings.best is not None:
            self.others[BEST] = copied(self.model)

    def averaged(self, updates: int) -> None:
        """Updates the average with the present weights."""
        average_(self.others[AVERAGE], self.model, self.settings.average or 0.0, updates)

    def complete(self, folder: Path | None, validate: Validate | None, progress: Report | None) -> History:
        """Trains the remaining epochs."""
        run = {}
        if folder is not None:
            run = run_of(self.model, self.updater.recipe, self.examples, self.settings, self.processes.count)
            self.resume(folder, run)
        while len(self.epochs) < self.settings.epochs and not self.settings.stops(self.epochs):
            metrics = self.epoch(len(self.epochs) + 1, progress if self.processes.first else None)
            if validate is not None:
                metrics |= self.validated(int(metrics["epoch"]), validate)
            self.epochs.append(metrics)
            if self.settings.best_epoch(self.epochs) == len(self.epochs):
                with with_weights(self.model, self.others.get(AVERAGE)):
                    self.others[BEST] = copied(self.model)
            if folder is not None:
                self.save(folder, run)
            if progress is not None and self.processes.first:
                progress(self.last._replace(summary=metrics))
        final = self.others.get(BEST, self.others.get(AVERAGE))
        if final is not None:
            put(self.model, final)
        best = self.settings.best_epoch(self.epochs)
        return History(tuple(self.epochs), self.saved, best, self.settings.precision)

    def epoch(self, epoch: int, progress: Report | None) -> Metrics:
        """One pass over the data."""
        started, means = time.perf_counter(), Means()
        order = [(len(ids), self.updater.own_parts(ids)) for ids in self.updater.batches(self.examples, epoch)]
        self.model.train()
        read = self.reader.read(
            [ids for _, parts in order for _, ids in parts], seeds.of_reading(self.settings.seed, epoch)
        )
        for step, (size, parts) in enumerate(order, start=1):
            batches = {n: checked(next(read), ids, self.examples, self.updater.device) for n, ids in parts}
            metrics = self.updater.step(batches, Place(epoch, step, len(order)), size)
            means.add(metrics, size)
            self.last = _reached(self.settings, (epoch, step, len(order)), metrics, started)
            if progress is not None:
                progress(self.last)
        # Each process has seen its own examples. The average is linear in the statistics, so the mean of the averages
        # is the average of the means.
        for held in (dict(self.model.named_buffers()), self.others.get(AVERAGE, {})):
            self.processes.average(held[name] for name, _ in self.model.named_buffers() if name in held)
        rate = self.updater.optimizer.param_groups[0]["lr"]
        return {"epoch": epoch, **means.values(), "learning_rate": rate, "seconds": time.perf_counter() - started}

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Adds the kept checkpoint to the error if the loss or the data end the run."""
        try:
            with self.reader.watched():
                yield
        except (DivergedError, DataError) as error:
            kept = f"the weights of the last complete epoch are in {self.saved}" if self.saved else None
            raise type(error)(f"{error}; {kept or 'no epoch was complete'}") from error

    def validated(self, epoch: int, validate: Validate) -> Metrics:
        """Result of the user's validation of the model, or of its average if there is one."""
        found: Metrics = {}
        if self.processes.first:
            self.updater.reseed(seeds.of_validation(self.settings.seed, epoch))
            with with_weights(self.model, self.others.get(AVERAGE)), frozen(self.model, training=False):
                found = {f"validation_{name}": value for name, value in validate(self.model).items()}
        return self.processes.from_first(found)

    def save(self, folder: Path, run: dict[str, str]) -> None:
        """Writes the checkpoint of the last complete epoch."""
        updater = self.updater
        scaler, states = updater.accelerator.scaler, self.processes.gathered(updater.state)
        groups, values = checkpoint.optimizer_numbers(updater.optimizer)
        numbers = Numbers(
            run=run,
            epochs=tuple(self.epochs),
            groups=groups,
            values=values,
            scaler=scaler.state_dict() if scaler is not None else {},
            surroundings=surroundings(updater.device),
        )
        self.saved = folder / checkpoint.name_of(len(self.epochs))
        if self.processes.first:
            held = {checkpoint.MODEL: self.model.state_dict(), **self.others}
            checkpoint.write(self.saved, self.model, held, updater.optimizer, states, numbers)
            checkpoint.forget(folder, self.settings.keep)
        self.processes.wait()

    def resume(self, folder: Path, run: dict[str, str]) -> None:
        """Restores the last complete epoch in the directory, if there is one."""
        self.saved = self.processes.from_first(checkpoint.latest(folder))
        if self.saved is None:
            return
        if not self.settings.resume:
            raise RunError(f"{folder} already holds {self.saved.name}: resume that run, or choose another directory")
        numbers, updater = read_numbers(self.saved), self.updater
        check_same(self.saved, numbers.run, run)
        if change := differences(numbers.surroundings, surroundings(updater.device)):
            _LOG.warning("the resumed run may differ in the last bits: %s", change)
        checkpoint.read(self.saved, self.model, self.others)
        checkpoint.read_memory(self.saved, updater.optimizer, updater.state, self.processes.rank, numbers)
        if updater.accelerator.scaler is not None:
            updater.accelerator.scaler.load_state_dict(numbers.scaler)
        self.epochs = list(numbers.epochs)


def _check_model(model: nn.Module, x: Tensor, classes: int) -> None:
    """Checks the model's logits before anything is changed."""
    with frozen(model, training=False), torch.no_grad():
        checked_logits(model_output(model, x), x, classes)


def _reached(settings: Settings, place: tuple[int, int, int], metrics: Metrics, started: float) -> Progress:
    """Progress after a step: ``place`` is epoch, step and steps of an epoch; ``started`` is when this epoch began."""
    epoch, step, steps = place
    done, total = (epoch - 1) * steps + step, settings.epochs * steps
    left = (total - done) * (time.perf_counter() - started) / step
    part, numbers = f"epoch {epoch}/{settings.epochs}", f"loss {metrics['loss']:.3f}"
    if "accuracy" in metrics:
        numbers += f"  accuracy {metrics['accuracy']:.1%}"
    return Progress("train", done, total, "steps", part, f"{part}  {numbers}", seconds_left=left, metrics=metrics)
