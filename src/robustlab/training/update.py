"""One update of the weights: the parts of a batch, their gradients, the optimizer's step."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from robustlab.core import Batch, Examples, Metrics, Recipe, RecipeState, RobustlabError, frozen
from robustlab.core.processes import Processes
from robustlab.training import seeds
from robustlab.training.bookkeeping import Means, Place
from robustlab.training.settings import Settings

if TYPE_CHECKING:
    from accelerate import Accelerator


class DivergedError(RobustlabError):
    """The loss is no number any more."""


class Updater:
    """What an update needs: the model, what is learned and how, and where it is computed."""

    def __init__(
        self, model: nn.Module, recipe: Recipe, settings: Settings, accelerator: Accelerator, reseed: seeds.Reseed
    ) -> None:
        trained = [p for p in model.parameters() if p.requires_grad]
        if not trained:
            raise ValueError("the model has no parameter with requires_grad: there is nothing to train")
        if recipe.replays > 1 and settings.accumulate > 1:
            raise ValueError("a recipe that replays its batches moves on from where a batch was: accumulate must be 1")
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

    def share(self, ids: Tensor) -> list[tuple[int, Tensor]]:
        """The parts of a batch that are this process's, with their numbers."""
        return self.processes.share(ids.tensor_split(self.settings.accumulate * self.processes.count))

    def step(self, parts: dict[int, Batch], place: Place, examples: int) -> Metrics:
        """One batch, given this process's parts: an update of the weights, or as many as the recipe replays it."""
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
            share = len(part.x) / examples
            means.add(self.part(part._replace(seed=batch_seed, progress=done / total), share, place), share)
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

    def part(self, batch: Batch, share: float, place: Place) -> Metrics:
        """Adds the gradients of one part of a batch, weighted by its share of the examples."""
        accelerator = self.accelerator
        backward = accelerator.backward if share == 1 else lambda loss: accelerator.backward(loss * share)
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
            "or look for extreme inputs and labels"
        )

    @property
    def device(self) -> torch.device:
        """Where it is computed."""
        device: torch.device = self.accelerator.device
        return device


def checked(batch: Batch, ids: Tensor, examples: Examples, device: torch.device) -> Batch:
    """What a data set gave for some ids, on the device, images channels-last.

    Raises: ValueError for another number of them, or labels that no class has.
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
