"""One update of the weights: the parts of a batch, their gradients, the optimizer's step; and averages of weights."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from robustlab.core import Batch, Examples, Metrics, Recipe, RecipeState, RobustlabError, frozen
from robustlab.core.processes import Processes
from robustlab.training import seeds
from robustlab.training.settings import Settings

if TYPE_CHECKING:
    from accelerate import Accelerator


Weights: TypeAlias = dict[str, Tensor]
"""A state dict whose tensors are the holder's own."""


class DivergedError(RobustlabError):
    """The loss is NaN or infinite."""


class Place(NamedTuple):
    """One update of the weights in a run."""

    epoch: int
    """1, 2, ..."""
    step: int
    """Batch of the epoch: 1, 2, ..."""
    steps: int
    """Batches of an epoch."""
    replay: int = 0
    """Update with this batch: 0, 1, ..."""

    def __str__(self) -> str:
        return f"step {self.step} of {self.steps} in epoch {self.epoch}"


class Means:
    """Weighted means of repeated measurements; a name may be missing in some."""

    def __init__(self) -> None:
        self._sums: dict[str, float] = defaultdict(float)
        self._weights: dict[str, float] = defaultdict(float)

    def add(self, metrics: Metrics, weight: float = 1.0) -> None:
        """Adds the metrics of ``weight`` examples."""
        for name, value in metrics.items():
            self._sums[name] += value * weight
            self._weights[name] += weight

    def values(self) -> Metrics:
        """The mean of each name over its measurements."""
        return {name: value / self._weights[name] for name, value in self._sums.items()}


class Updater:
    """Model, recipe, optimizer and device of the updates of a run."""

    def __init__(
        self, model: nn.Module, recipe: Recipe, settings: Settings, accelerator: Accelerator, reseed: seeds.Reseed
    ) -> None:
        trained = [p for p in model.parameters() if p.requires_grad]
        if not trained:
            raise ValueError("the model has no parameter with requires_grad: there is nothing to train")
        if recipe.replays > 1 and settings.accumulate > 1:
            raise ValueError("a recipe that replays its batches cannot be accumulated: set accumulate=1")
        self.model, self.recipe, self.settings = model, recipe, settings
        self.accelerator, self.reseed = accelerator, reseed
        self.processes = Processes(accelerator.process_index, accelerator.num_processes)
        self.processes.start_alike([*model.parameters(), *model.buffers()])
        self.state: RecipeState = recipe.init(model)
        self.optimizer = accelerator.prepare_optimizer(settings.optimizer(trained))
        self.rates: list[float] = [group["lr"] for group in self.optimizer.param_groups]
        self.after: list[Callable[[int], None]] = []
        """Called after each update with the number of those before it."""

    def batches(self, examples: Examples, epoch: int) -> tuple[Tensor, ...]:
        """The ids of each batch of an epoch, those of all processes together.

        Raises: ValueError if there are too few examples to give each process its parts.
        """
        settings, parts = self.settings, self.settings.accumulate * self.processes.count
        size = settings.batch_size * self.processes.count
        order = seeds.batches(len(examples), size, seed=settings.seed, epoch=epoch)
        if len(order[-1]) < parts:
            raise ValueError(
                f"batches of {len(order[-1])} examples cannot be cut into {parts} parts "
                f"({self.processes.count} processes, {settings.accumulate} accumulated)"
            )
        return order

    def own_parts(self, ids: Tensor) -> list[tuple[int, Tensor]]:
        """The parts of a batch for this process, with their numbers."""
        return self.processes.own_parts(ids.tensor_split(self.settings.accumulate * self.processes.count))

    def step(self, parts: dict[int, Batch], place: Place, examples: int) -> Metrics:
        """One batch, given this process's parts: as many updates of the weights as the recipe has replays."""
        means = Means()
        for replay in range(self.recipe.replays):
            means.add(self.update(parts, place._replace(replay=replay), examples))
        return means.values()

    def update(self, parts: dict[int, Batch], place: Place, examples: int) -> Metrics:
        """One update of the weights by the gradients of all parts of a batch, those of other processes included."""
        settings, means = self.settings, Means()
        done = ((place.epoch - 1) * place.steps + place.step - 1) * self.recipe.replays + place.replay
        total = settings.epochs * place.steps * self.recipe.replays
        for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
            group["lr"] = rate * settings.schedule(done, total)
        self.optimizer.zero_grad()
        batch_seed = seeds.of_batch(settings.seed, place.epoch, place.step, place.replay)
        for number, part in parts.items():
            self.reseed(seeds.of_step(settings.seed, place.epoch, place.step, number, place.replay))
            fraction = len(part.x) / examples
            means.add(self.part(part._replace(seed=batch_seed, progress=done / total), fraction, place), fraction)
        metrics = self.processes.total(means.values(), sum(len(p.x) for p in parts.values()) / examples, self.device)
        if not math.isfinite(metrics["loss"]):
            raise self.diverged(f"the loss is {metrics['loss']}", place)
        self.processes.add_gradients(self.model)
        if settings.clip is not None:
            self.accelerator.clip_grad_norm_(self.model.parameters(), settings.clip)
        self.optimizer.step()
        for hook in self.after:
            hook(done)
        return metrics

    def part(self, batch: Batch, fraction: float, place: Place) -> Metrics:
        """Adds the gradients of one part of a batch, weighted by its fraction of the examples."""
        accelerator = self.accelerator
        backward = accelerator.backward if fraction == 1 else lambda loss: accelerator.backward(loss * fraction)
        try:
            with accelerator.autocast():
                return self.recipe.step(self.model, batch, self.state, backward)
        except ValueError as error:  # attacks refuse a model that returns NaN
            if _finite_logits(self.model, batch.x):
                raise
            raise self.diverged("the logits are not finite", place) from error

    def diverged(self, what: str, place: Place) -> DivergedError:
        """The error that stops the run."""
        rate = self.optimizer.param_groups[0]["lr"]
        return DivergedError(
            f"{what} at {place}, learning rate {rate:.3g}: lower the learning rate, "
            "or check inputs and labels for extreme values"
        )

    @property
    def device(self) -> torch.device:
        """The device of the run."""
        device: torch.device = self.accelerator.device
        return device


def checked(batch: Batch, ids: Tensor, examples: Examples, device: torch.device) -> Batch:
    """A batch of a data set for some ids, checked, on the device, images channels-last.

    Raises: ValueError for another number of examples, or labels without a class.
    """
    if not len(batch.x) == len(batch.y) == len(ids):
        raise ValueError(f"{examples.name} gave {len(batch.x)} inputs and {len(batch.y)} labels for {len(ids)} ids")
    low, high = int(batch.y.min()), int(batch.y.max())
    if low < 0 or high >= len(examples.classes):
        raise ValueError(f"{examples.name} has labels {low}..{high}, but {len(examples.classes)} classes")
    x = batch.x.to(device, non_blocking=True)
    if x.ndim == 4:
        x = x.contiguous(memory_format=torch.channels_last)
    return Batch(x, batch.y.to(device, non_blocking=True), batch.ids.to(device, non_blocking=True))


def _finite_logits(model: nn.Module, x: Tensor) -> bool:
    with frozen(model, training=False), torch.no_grad():
        return bool(model(x).isfinite().all())


def copied(model: nn.Module) -> Weights:
    """Copies of the present weights and buffers, without any other state of the model."""
    return {name: value.detach().clone() for name, value in tensors(model).items()}


def tensors(model: nn.Module) -> Weights:
    """The tensors of a model's state dict, which share its memory."""
    return {name: value for name, value in model.state_dict().items() if isinstance(value, Tensor)}


@torch.no_grad()
def average_(average: Weights, model: nn.Module, decay: float, updates: int) -> None:
    """Moves an average towards the present weights and floating-point buffers; others are copied.

        average <- d * average + (1 - d) * weights,   d = min(decay, (1 + t) / (10 + t)) after t earlier updates

    so that the first updates lose their weight soon.
    """
    kept = min(decay, (1 + updates) / (10 + updates))
    for name, value in tensors(model).items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - kept)
        else:
            average[name].copy_(value)


@torch.no_grad()
def put(model: nn.Module, weights: Weights) -> None:
    """Writes weights into a model, in place."""
    for name, value in tensors(model).items():
        value.copy_(weights[name])


@contextmanager
def with_weights(model: nn.Module, weights: Weights | None) -> Iterator[None]:
    """Gives a model other weights for the block; None: no change."""
    if weights is None:
        yield
        return
    own = copied(model)
    put(model, weights)
    try:
        yield
    finally:
        put(model, own)
