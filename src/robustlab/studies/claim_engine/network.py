"""Networks of claims and their training, as values."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from torch import nn

from robustlab.core import Attack, Examples, Recipe, fold_in, subset
from robustlab.core.smooth import smooth_parts
from robustlab.data import Sentences, sample
from robustlab.data.movie_sentences import Split
from robustlab.data.splits import Part, apart
from robustlab.models import load, smooth, split_bn
from robustlab.models.smooth import Activation
from robustlab.runs.progress import Report
from robustlab.studies.claim_engine.budget import Budget
from robustlab.studies.claim_engine.definition import UNSAID
from robustlab.training import VAT, OneCycle, Unlabelled, perturbed_once, sgd
from robustlab.training.optimizers import MakeOptimizer
from robustlab.training.schedule import Schedule
from robustlab.training.settings import Precision

HELD_OUT = 1000
"""Training images that are held out for early stopping."""
HARD = "hard"
"""The split of mined natural adversarial examples, of training and of test images."""


class Trained(NamedTuple):
    """A network after its training."""

    last: nn.Module
    """The network with its last weights."""
    best: nn.Module
    """The network with the weights of the best epoch by held-out images; without these, the same."""
    seconds: float
    """Duration of training alone, without the passes over held-out images."""
    precision: Precision = "fp32"
    """Precision of training."""


class Site(Protocol):
    """Data and trained networks for experiments with one seed and budget; ``lab.Lab`` is one."""

    @property
    def home(self) -> Path:
        """Directory of trained networks, and of data that are made with them."""

    @property
    def seed(self) -> int:
        """Seed of weights, training, samples and attacks."""

    @property
    def budget(self) -> Budget:
        """Limits of each experiment."""

    @property
    def report(self) -> Report:
        """Callback for the progress."""

    def data(self, split: str) -> Examples:
        """The data set: "train", "test", or ``HARD``."""

    def sentences(self, split: Split) -> Sentences:
        """The data set of texts: "train", "validation" or "test"."""

    def trained(self, network: Learner | Fitted) -> Trained:
        """A network after its training."""


class Learner(Protocol):
    """A network and its training by the training loop: a value, such as ``Network`` or ``texts.TextNetwork``."""

    @property
    def epochs(self) -> int:
        """Passes over the data."""

    @property
    def batch_size(self) -> int:
        """The largest."""

    @property
    def optimizer(self) -> MakeOptimizer:
        """Optimizer with its learning rate."""

    @property
    def schedule(self) -> Schedule:
        """Schedule of the learning rate."""

    @property
    def watch(self) -> Attack | None:
        """Attack on held-out examples after each epoch."""

    @property
    def precision(self) -> Precision:
        """Precision of training."""

    def fresh(self, lab: Site) -> nn.Module:
        """The network before its training."""

    def recipe_for(self, lab: Site) -> Recipe:
        """The recipe of training."""

    def examples(self, model: nn.Module, lab: Site) -> Examples:
        """The training examples as the network reads them."""


@runtime_checkable
class Fitted(Protocol):
    """A model that is fitted in one step, without the training loop: a value."""

    def fitted(self, lab: Site) -> Trained:
        """The fitted model."""


@runtime_checkable
class Planned(Protocol):
    """A recipe that is built for the data of a site: a value."""

    def planned(self, lab: Site, labelled: Examples) -> Recipe:
        """The recipe for the training examples."""


class TrainingSet(Protocol):
    """A choice of training examples: a value."""

    def examples(self, lab: Site) -> Examples:
        """The examples, for the seed and within the budget of the lab."""


@dataclass(frozen=True)
class Sampled:
    """A simple random sample of the training data, another for each seed; all of it without a number."""

    images: int | None = None

    def examples(self, lab: Site) -> Examples:
        """The sample."""
        whole = lab.data("train")
        size = min(n for n in (len(whole), self.images, lab.budget.images) if n is not None)
        return whole if size == len(whole) else sample(whole, size, seed=lab.seed)

    def held_out(self, lab: Site) -> Examples:
        """Held-out images: the additional ones of a larger sample of the same seed."""
        whole, inside = lab.data("train"), len(self.examples(lab))
        more = min(HELD_OUT, len(whole) - inside, lab.budget.images or HELD_OUT)
        if more < 1:
            raise ValueError(f"all {len(whole)} images are trained on: choose fewer, so that some can be held out")
        larger, smaller = (subset(len(whole), size, seed=lab.seed) for size in (inside + more, inside))
        return Part(f"{whole.name} (held out)", whole, larger[~torch.isin(larger, smaller)])


@dataclass(frozen=True)
class Balanced:
    """Equally many images of each class, other ones for each seed.

    Args:
        per_class: number of each.
    """

    per_class: int

    def examples(self, lab: Site) -> Examples:
        """The sample; of a smaller class, all images."""
        whole = lab.data("train")
        y = whole.batch(torch.arange(len(whole))).y
        order = [(y == k).nonzero()[:, 0] for k in range(len(whole.classes))]
        rows = [
            ids[subset(len(ids), min(self.per_class, len(ids)), fold_in(lab.seed, k))] for k, ids in enumerate(order)
        ]
        return Part(f"{whole.name} ({self.per_class} of each class)", whole, torch.cat(rows).sort().values)


@dataclass(frozen=True)
class Half:
    """One half of the training data, drawn anew for each seed.

    Args:
        other: the second half; no image is in both.
    """

    other: bool = False

    def examples(self, lab: Site) -> Examples:
        """The half."""
        whole = Sampled().examples(lab)
        return apart(whole, len(whole) // 2, seed=lab.seed)[self.other]


@dataclass(frozen=True)
class Network:
    """A network and its training.

    Args:
        recipe: of training, or a value that builds it; VAT gets its unlabelled examples here.
        data: training examples.
        architecture: a name for ``models.load``.
        activation: in place of ReLU.
        epochs: passes over the data.
        batch_size: the largest.
        optimizer: and its learning rate.
        schedule: of the learning rate.
        unlabelled: training images without label that go with each labelled one; 0: none.
        watch: attack on held-out images after each epoch, to keep the best weights.
        precision: of training; networks are always measured in float32. "auto" takes bf16 where that is faster, and
            each result holds the choice. Results from before "auto" was the default are of bf16, as in their
            definitions.
        only_gradient: keep ReLU in the forward pass, and its derivative too wherever ``smooth_in`` does not switch that
            of the activation on.
        routes: of split BatchNorm; 1 except for AdvProp.
    """

    recipe: Recipe | Planned
    data: TrainingSet = field(default_factory=Sampled)
    architecture: str = "batchnorm-cnn"
    activation: Activation | None = None
    epochs: int = 3
    batch_size: int = 128
    optimizer: MakeOptimizer = field(default_factory=sgd)
    schedule: Schedule = field(default_factory=OneCycle)
    unlabelled: int = 0
    watch: Attack | None = None
    precision: Precision = field(default="auto", metadata={UNSAID: "bf16"})
    only_gradient: bool = False
    routes: int = 1

    def fresh(self, lab: Site) -> nn.Module:
        """The network before its training."""
        whole = lab.data("train")
        channels, size = whole.batch(torch.arange(1)).x.shape[1:3]
        model = load(self.architecture, classes=len(whole.classes), channels=channels, size=size, seed=lab.seed)
        if self.routes > 1:
            model = split_bn(model, self.routes)
        if self.activation is None:
            return model
        model = smooth(model, self.activation, only_gradient=self.only_gradient)
        for part in smooth_parts(model):
            part.on = False
        return model

    def examples(self, model: nn.Module, lab: Site) -> Examples:  # noqa: ARG002 -- every network reads images alike
        """The training examples."""
        return self.data.examples(lab)

    def recipe_for(self, lab: Site) -> Recipe:
        """The recipe, with its unlabelled examples."""
        if isinstance(self.recipe, Planned):
            return self.recipe.planned(lab, self.data.examples(lab))
        if not self.unlabelled:
            return self.recipe
        if not isinstance(self.recipe, VAT):
            raise ValueError(f"only VAT learns from unlabelled examples, not {self.recipe!r}")
        return replace(self.recipe, unlabelled=Unlabelled(Sampled().examples(lab), self.unlabelled))


@dataclass(frozen=True)
class PerturbedOnce:
    """All training data, perturbed once against another network before the training begins.

    Args:
        attack: that perturbs.
        against: the network whose gradients are used.
        data: clean data.
    """

    attack: Attack
    against: Network
    data: TrainingSet = field(default_factory=Sampled)

    def examples(self, lab: Site) -> Examples:
        """The perturbed data."""
        model = lab.trained(self.against).last
        return perturbed_once(model, self.data.examples(lab), self.attack, seed=lab.seed)
