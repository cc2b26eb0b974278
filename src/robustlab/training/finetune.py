"""Transfer learning: a new head on the kept features of a frozen network, then the network itself from the top down."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal, NamedTuple, TypeAlias

import torch
from torch import Tensor, nn

from robustlab.core import Examples, Recipe, frozen
from robustlab.core.kinds import typed
from robustlab.core.routes import routed_parts
from robustlab.core.twin import checked_logits
from robustlab.core.user_code import model_output
from robustlab.data.splits import Part
from robustlab.runs.progress import Report
from robustlab.training.feature_cache import Features, cached_features, key_of
from robustlab.training.groups import Group, head_of, layer_groups
from robustlab.training.held_out import HeldOut
from robustlab.training.loop import fit
from robustlab.training.recipes.cross_entropy import Standard, standard
from robustlab.training.settings import History, Settings
from robustlab.training.stream import fetched
from robustlab.training.unfreezing import Layered, Unfreezing, trainable
from robustlab.training.update import Weights, copied, put

Stage: TypeAlias = Literal["features", "held-out features", "head", "body"]
"""Name of a stage, in the progress of each step."""


@typed
@dataclass(frozen=True)
class Plan:
    """Plan of transfer learning: settings of both stages, and the order in which layers are opened.

    Args:
        head: of the first stage, where the network is frozen and its head is trained on features that are computed
            once; None: no such stage.
        body: of the second stage, where the network is opened from the top down; its learning rate is that of the head;
            None: no such stage.
        decay: learning rate of a group of layers relative to that of the group above it, in (0, 1].
        fraction: of the second stage, in [0, 1], after which all groups are open; 0: from the start.
        groups: number of topmost groups that are opened at all, the head being the first; None: all.
        keep_statistics: normalisation layers keep the pretrained running statistics, which the head was trained with;
            False: open ones use those of the batch and adapt to the data, which takes many images. Auxiliary
            BatchNorm layers always adapt: they begin as copies, whose statistics are those of other inputs.
        cache: folder of the features, which several runs may use; None: one in the directory of the run.

    Raises: ValueError for values that no run can have.
    """

    head: Settings | None
    body: Settings | None
    decay: float = 0.7
    fraction: float = 0.5
    groups: int | None = None
    keep_statistics: bool = True
    cache: Path | None = field(default=None, repr=False, compare=False)

    def __post_init__(self) -> None:
        if self.head is None and self.body is None:
            raise ValueError("a plan without head and body trains nothing: give the settings of one at least")
        if not (0 < self.decay <= 1 and 0 <= self.fraction <= 1):
            raise ValueError(f"decay must be in (0, 1] and fraction in [0, 1], got {self.decay} and {self.fraction}")
        if self.groups is not None and self.groups < 1:
            raise ValueError(f"groups counts layers from the head down, at least 1, got {self.groups}")


class FineTuned(NamedTuple):
    """Histories of both stages."""

    head: History | None
    """History of the first stage."""
    body: History | None
    """History of the second stage."""
    kept: Literal["head", "body"]
    """The stage whose weights the model has: the first, if it did better on held-out examples."""


@typed
def finetune(
    model: nn.Module,
    recipe: Recipe,
    examples: Examples,
    plan: Plan,
    *,
    out: str | Path,
    held: Examples | None = None,
    progress: Report | None = None,
) -> FineTuned:
    """Trains a pretrained model on other data, in place.

    First the model is frozen, with its normalisation layers, and its head is trained on features that are computed once
    and kept on disk. Then groups of layers are opened one after the other from the top, each at a lower rate than the
    one above. Both stages are runs of ``fit``: with ``resume`` in their settings they continue from their checkpoints
    to the same bits. Cached features are used unless weights, data or sizes have changed.

    Args:
        model: from images in [0, 1] to logits (N, K) for the K classes of the data, see ``new_head``; with its
            pretrained weights also when a run is resumed. The first stage takes the main route of split BatchNorm.
        recipe: of the second stage. The first is standard training, or this recipe if it is such.
        examples: training data, with examples of each class.
        plan: the two stages. ``Settings(best="accuracy")`` keeps the best epoch on held-out examples.
        out: directory of the run: ``features``, ``head`` and ``body`` in it.
        held: examples that were kept apart, see ``HeldOut``.
        progress: called after each step of each stage, whose name is its ``task``.

    Returns: the histories; the model is in eval mode, with all parameters as trainable as they were.
    Raises: as ``fit`` and ``cached_features``; ValueError for a class without examples, or a model of other classes or
        one that the recipe cannot train.

    Example:
        >>> from tempfile import TemporaryDirectory
        >>> from robustlab.data import InMemory
        >>> data = InMemory("two points", ("left", "right"), torch.tensor([[-1.0], [1.0]]), torch.tensor([0, 1]))
        >>> net = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> with TemporaryDirectory() as folder:
        ...     done = finetune(net, standard(), data, Plan(Settings(30), Settings(10)), out=folder)
        >>> done.body["accuracy"][-1]
        1.0
    """
    check_data(model, examples, held)
    if plan.body is not None:
        recipe.init(model)  # refuses a model that it cannot train before anything is computed
    place, validated = Path(out), held is not None
    run = _Run(model, recipe, plan, place, progress)
    first = run.head(examples, held) if plan.head is not None else None
    model.eval()
    if plan.body is None:
        return FineTuned(first, None, "head")
    before = copied(model) if first is not None and validated else None
    second = run.body(examples, held)
    return FineTuned(first, second, _better(model, before, first, second))


def check_data(model: nn.Module, examples: Examples, held: Examples | None = None) -> None:
    """Checks that a model can learn from data, before anything is computed.

    Raises: ValueError for a class without examples, or a model of other classes.
    """
    _check_labels(examples)
    if held is not None and held.classes != examples.classes:
        raise ValueError(f"{held.name} has other classes than {examples.name}: hold out a part of the same data")
    x = fetched(examples, torch.tensor([0]), 0).x
    home = next((p.device for p in model.parameters()), x.device)
    with frozen(model, training=False), torch.no_grad():
        logits = checked_logits(model_output(model, x.to(home)), x)
    if logits.shape[1] != len(examples.classes):
        raise ValueError(
            f"the model has {logits.shape[1]} classes, {examples.name} has {len(examples.classes)}: "
            "put a new last layer on it with robustlab.training.new_head"
        )


def _check_labels(examples: Examples) -> None:
    y = _labels(examples)
    if y is None:
        return
    counts = torch.bincount(y, minlength=len(examples.classes)).tolist()
    empty = [name for name, count in zip(examples.classes, counts, strict=False) if not count]
    if empty:
        more = f" and {len(empty) - 3} more" if len(empty) > 3 else ""
        raise ValueError(
            f"{examples.name} has no example of {', '.join(empty[:3])}{more}: give each class some, or remove it"
        )


def _labels(examples: Examples) -> Tensor | None:
    """All labels, if they are known without reading the data."""
    if isinstance(examples, Part):
        whole = _labels(examples.whole)
        return None if whole is None else whole[examples.rows]
    y = getattr(examples, "y", None)
    return y if isinstance(y, Tensor) else None


@dataclass(frozen=True)
class _Run:
    """The two stages of one run."""

    model: nn.Module
    recipe: Recipe
    plan: Plan
    place: Path
    progress: Report | None

    def report(self, stage: Stage) -> Report | None:
        """Passes on the progress of a stage, under its name."""
        progress = self.progress
        return None if progress is None else lambda at: progress(at._replace(task=stage))

    def features(self, examples: Examples, stage: Stage, settings: Settings) -> Features:
        """Inputs of the head for a data set."""
        folder = self.plan.cache or self.place / "features"
        return cached_features(self.model, examples, folder, settings, progress=self.report(stage))

    def head(self, examples: Examples, held: Examples | None) -> History:
        """Trains the head alone."""
        settings = self.plan.head or Settings(1)
        train = self.features(examples, "features", settings)
        _check_labels(train)
        watch = None if held is None else HeldOut(self.features(held, "held-out features", settings))
        history = fit(
            head_of(self.model),
            self.recipe if isinstance(self.recipe, Standard) else standard(),
            train,
            replace(settings, precision="fp32", workers=0),
            out=self.place / "head",
            validate=watch,
            progress=self.report("head"),
        )
        for part in routed_parts(head_of(self.model)):  # this stage has passed no auxiliary ones
            for norm in part.aux:
                norm.load_state_dict(part.main.state_dict())
        return history

    def body(self, examples: Examples, held: Examples | None) -> History:
        """Trains the groups of layers that are open."""
        plan, settings = self.plan, self.plan.body or Settings(1)
        every = layer_groups(self.model)
        count = min(plan.groups or len(every), len(every))
        opened, closed = every[len(every) - count :], every[: len(every) - count]
        with trainable(opened, closed):
            depths = _depths(self.model, opened)
            start = f"{count} of {len(every)} groups, {key_of(self.model, examples, '')[:16]}"
            recipe = Unfreezing(self.recipe, opened, closed, plan.fraction, plan.keep_statistics, start)
            return fit(
                self.model,
                recipe,
                examples,
                replace(settings, optimizer=Layered(settings.optimizer, plan.decay, depths)),
                out=self.place / "body",
                validate=None if held is None else HeldOut(held),
                progress=self.report("body"),
            )


def _depths(model: nn.Module, groups: tuple[Group, ...]) -> tuple[int, ...]:
    """Number of groups above that of each trained parameter, in the order of the model's parameters."""
    depth = {id(p): len(groups) - 1 - number for number, group in enumerate(groups) for p in group.parameters}
    return tuple(depth[id(parameter)] for parameter in model.parameters() if id(parameter) in depth)


def _better(
    model: nn.Module, before: Weights | None, first: History | None, second: History
) -> Literal["head", "body"]:
    """Restores the weights of the first stage if they did better on held-out examples."""
    if before is None or first is None or _best(first) <= _best(second):
        return "body"
    put(model, before)
    return "head"


def _best(history: History) -> float:
    """Accuracy on held-out examples, of the epoch whose weights the model has."""
    epoch = history.epochs[(history.best or 0) - 1]
    return epoch.get("validation_accuracy", -math.inf)
