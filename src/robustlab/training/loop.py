"""The one training loop: order of the data, schedule, optimizer steps, checkpoints. The recipe says what a step is."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import torch
from torch import Tensor, nn

from robustlab.core import Batch, Examples, Metrics, Recipe, RecipeState, RobustlabError, RunError, frozen
from robustlab.core.twin import checked_logits
from robustlab.training import checkpoint, seeds
from robustlab.training.bookkeeping import Means, Place
from robustlab.training.identity import check_same, differences, run_of, surroundings
from robustlab.training.launcher import launched, placed
from robustlab.training.settings import History, Progress, Settings

if TYPE_CHECKING:
    from accelerate import Accelerator

Validate: TypeAlias = Callable[[nn.Module], Metrics]
Show: TypeAlias = Callable[[Progress], None]
_LOG = logging.getLogger(__name__)


class DivergedError(RobustlabError):
    """The loss is no number any more."""


def fit(
    model: nn.Module,
    recipe: Recipe,
    examples: Examples,
    settings: Settings,
    *,
    out: str | Path | None = None,
    validate: Validate | None = None,
    progress: Show | None = None,
) -> History:
    """Trains a model in place.

    The same model, recipe, data and settings give the same weights, bit for bit on one machine with the same number of
    threads, whether the run was stopped and resumed or not. The global random state is left as it was.

    Args:
        model: a module from inputs (N, ...) to logits (N, K); it comes back trained, on its own device, in eval mode.
        recipe: what is done with each batch.
        examples: the training data.
        settings: how long, with which optimizer and schedule, from which seed.
        out: directory for a checkpoint after each epoch; None: nothing is written.
        validate: called with the model in eval mode after each epoch; what it returns goes into the history.
        progress: called after each step, e.g. the one that ``progress_bar`` yields.

    Returns: the metrics of each epoch, and where the last checkpoint is.

    Raises:
        ValueError: data or model that do not fit each other.
        DivergedError: the loss is NaN or infinite; the last checkpoint is kept.
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
    if not len(examples):
        raise ValueError(f"{examples.name} has no examples to train on")
    folder = Path(out) if out is not None else None
    with ExitStack() as stack:
        accelerator = stack.enter_context(launched(settings))
        reseed = stack.enter_context(seeds.private_generators(accelerator.device))
        reseed(seeds.of_start(settings.seed))
        probe = _batch(examples, torch.arange(min(2, len(examples))), accelerator.device)
        stack.enter_context(placed(model, accelerator.device, probe.x))
        _check_model(model, probe.x, len(examples.classes))
        if folder is not None:
            stack.enter_context(checkpoint.claimed(folder))
        stack.callback(model.eval)
        run = _Run(model, recipe, examples, settings, accelerator, reseed)
        return run.complete(folder, validate, progress)


class _Run:
    """Everything that changes while a model is trained."""

    def __init__(
        self,
        model: nn.Module,
        recipe: Recipe,
        examples: Examples,
        settings: Settings,
        accelerator: Accelerator,
        reseed: seeds.Reseed,
    ) -> None:
        trained = [p for p in model.parameters() if p.requires_grad]
        if not trained:
            raise ValueError("the model has no parameter with requires_grad: there is nothing to train")
        if recipe.replays > 1 and settings.accumulate > 1:
            raise ValueError("a recipe that replays its batches moves on from where a batch was: accumulate must be 1")
        self.model, self.recipe, self.examples, self.settings = model, recipe, examples, settings
        self.accelerator, self.reseed = accelerator, reseed
        self.state: RecipeState = recipe.init(model)
        self.optimizer = accelerator.prepare_optimizer(settings.optimizer(trained))
        self.rates: list[float] = [group["lr"] for group in self.optimizer.param_groups]
        self.epochs: list[Metrics] = []
        self.saved: Path | None = None

    def complete(self, folder: Path | None, validate: Validate | None, progress: Show | None) -> History:
        """Does the epochs that are left."""
        run = run_of(self.model, self.recipe, self.examples, self.settings) if folder is not None else {}
        if folder is not None:
            self.take_up(folder, run)
        for epoch in range(len(self.epochs) + 1, self.settings.epochs + 1):
            metrics = self.epoch(epoch, progress)
            if validate is not None:
                metrics |= self.validated(epoch, validate)
            self.epochs.append(metrics)
            if folder is not None:
                self.save(folder, run)
        return History(tuple(self.epochs), self.saved)

    def epoch(self, epoch: int, progress: Show | None) -> Metrics:
        """One pass over the data."""
        started = time.perf_counter()
        settings, means = self.settings, Means()
        order = seeds.batches(len(self.examples), settings.batch_size, seed=settings.seed, epoch=epoch)
        if len(order[-1]) < settings.accumulate:
            raise ValueError(f"batches of {len(order[-1])} examples cannot be cut into {settings.accumulate} parts")
        self.model.train()
        for step, ids in enumerate(order, start=1):
            metrics = self.step(ids, Place(epoch, step, len(order)))
            means.add(metrics, len(ids))
            if progress is not None:
                progress(Progress(epoch, settings.epochs, step, len(order), metrics))
        rate = self.optimizer.param_groups[0]["lr"]
        return {"epoch": epoch, **means.values(), "learning_rate": rate, "seconds": time.perf_counter() - started}

    def step(self, ids: Tensor, place: Place) -> Metrics:
        """One batch: an update of the weights, or as many as the recipe replays it."""
        means, device = Means(), self.accelerator.device
        parts = [_batch(self.examples, part, device) for part in ids.tensor_split(self.settings.accumulate)]
        for replay in range(self.recipe.replays):
            means.add(self.update(parts, place._replace(replay=replay)))
        return means.values()

    def update(self, parts: list[Batch], place: Place) -> Metrics:
        """One update of the weights by the gradients of all parts of a batch."""
        settings, means, examples = self.settings, Means(), sum(len(part.x) for part in parts)
        done = ((place.epoch - 1) * place.steps + place.step - 1) * self.recipe.replays + place.replay
        total = settings.epochs * place.steps * self.recipe.replays
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * settings.schedule(done, total)
        self.optimizer.zero_grad()
        batch_seed = seeds.of_batch(settings.seed, place.epoch, place.step, place.replay)
        for number, part in enumerate(parts):
            self.reseed(seeds.of_step(settings.seed, place.epoch, place.step, number, place.replay))
            share = len(part.x) / examples
            metrics = self.part(part._replace(seed=batch_seed, progress=done / total), share, place)
            means.add(metrics, share)
        if settings.clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), settings.clip)
        self.optimizer.step()
        return means.values()

    def part(self, batch: Batch, share: float, place: Place) -> Metrics:
        """Adds the gradients of one part of a batch, weighted by its share of the examples."""
        accelerator = self.accelerator
        backward = accelerator.backward if share == 1 else lambda loss: accelerator.backward(loss * share)
        try:
            with accelerator.autocast():
                metrics = self.recipe.step(self.model, batch, self.state, backward)
        except ValueError as error:  # attacks refuse a model that returns NaN
            if _finite_logits(self.model, batch.x):
                raise
            raise self.diverged("the logits are not finite", place) from error
        if not math.isfinite(metrics["loss"]):
            raise self.diverged(f"the loss is {metrics['loss']}", place)
        return metrics

    def diverged(self, what: str, place: Place) -> DivergedError:
        """The error that stops the run."""
        rate = self.optimizer.param_groups[0]["lr"]
        kept = f"the weights of the last complete epoch are in {self.saved}" if self.saved else "no epoch was complete"
        return DivergedError(
            f"{what} at {place}, learning rate {rate:.3g}: lower the learning rate, "
            f"or look for extreme inputs and labels; {kept}"
        )

    def validated(self, epoch: int, validate: Validate) -> Metrics:
        """What the user's validation says of the model as it is."""
        self.reseed(seeds.of_validation(self.settings.seed, epoch))
        with frozen(self.model, training=False):
            return {f"validation_{name}": value for name, value in validate(self.model).items()}

    def save(self, folder: Path, run: dict[str, str]) -> None:
        """Writes the checkpoint of the epoch that is complete."""
        scaler = self.accelerator.scaler
        groups, values = checkpoint.optimizer_numbers(self.optimizer)
        numbers = checkpoint.Numbers(
            run=run,
            epochs=tuple(self.epochs),
            groups=groups,
            values=values,
            scaler=scaler.state_dict() if scaler is not None else {},
            surroundings=surroundings(self.accelerator.device),
        )
        self.saved = checkpoint.write(folder, self.model, self.optimizer, self.state, numbers, keep=self.settings.keep)

    def take_up(self, folder: Path, run: dict[str, str]) -> None:
        """Goes back to the last complete epoch in the directory, if there is one."""
        self.saved = checkpoint.latest(folder)
        if self.saved is None:
            return
        if not self.settings.resume:
            raise RunError(f"{folder} already holds {self.saved.name}: resume that run, or choose another directory")
        numbers = checkpoint.read_numbers(self.saved)
        check_same(numbers.run, run, self.saved)
        for change in differences(numbers.surroundings, surroundings(self.accelerator.device)):
            _LOG.warning("the resumed run may differ in the last bits: %s", change)
        checkpoint.read(self.saved, self.model, self.optimizer, self.state, numbers)
        if self.accelerator.scaler is not None:
            self.accelerator.scaler.load_state_dict(numbers.scaler)
        self.epochs = list(numbers.epochs)


def _batch(examples: Examples, ids: Tensor, device: torch.device) -> Batch:
    """Some examples on the device, images channels-last.

    Raises: ValueError for another number of them, or labels that no class has.
    """
    batch = examples.batch(ids)
    if not len(batch.x) == len(batch.y) == len(ids):
        raise ValueError(f"{examples.name} gave {len(batch.x)} inputs and {len(batch.y)} labels for {len(ids)} ids")
    low, high = int(batch.y.min()), int(batch.y.max())
    if low < 0 or high >= len(examples.classes):
        raise ValueError(f"{examples.name} has labels {low}..{high}, but {len(examples.classes)} classes")
    x = batch.x.to(device, non_blocking=True)
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    return Batch(x, batch.y.to(device, non_blocking=True), batch.ids.to(device, non_blocking=True))


def _check_model(model: nn.Module, x: Tensor, classes: int) -> None:
    """Looks at the model's logits before anything is changed."""
    with frozen(model, training=False), torch.no_grad():
        checked_logits(model(x), x, classes)


def _finite_logits(model: nn.Module, x: Tensor) -> bool:
    with frozen(model, training=False), torch.no_grad():
        return bool(model(x).isfinite().all())
