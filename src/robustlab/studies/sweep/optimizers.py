"""Optimizers for training, each with its first learning rates, and the trained networks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from robustlab.attacks import FGSM, MIFGSM, PGD, Square
from robustlab.core import L2, Attack, Linf, Recipe, ThreatModel
from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claim_engine.network import Network, Sampled
from robustlab.studies.sweep.rates import rate
from robustlab.training import adamw, fast, sgd, standard, tuned
from robustlab.training.optimizers import MakeOptimizer

PER_DECADE = 2
"""Learning rates in a factor of ten."""


@dataclass(frozen=True)
class OptimizerSpec:
    """An optimizer of torch.

    Args:
        name: in file names.
        title: in tables.
        make: from a learning rate to the optimizer.
        places: of the grid of rates at the start of the search.
    """

    name: str
    title: str
    make: Callable[[float], MakeOptimizer]
    places: range


def _adaptive(kind: type[torch.optim.Optimizer]) -> Callable[[float], MakeOptimizer]:
    """An optimizer of torch with its defaults except the rate."""
    return lambda lr: tuned(kind, lr=lr)


BASELINE = "momentum"
"""Baseline of the comparison."""
OPTIMIZERS = (
    OptimizerSpec("sgd", "SGD", lambda lr: sgd(lr, momentum=0.0, nesterov=False, weight_decay=0.0), range(-3, 1)),
    OptimizerSpec(
        BASELINE, "SGD, momentum 0.9", lambda lr: sgd(lr, momentum=0.9, nesterov=False, weight_decay=0.0), range(-4, 0)
    ),
    OptimizerSpec("nesterov", "SGD, Nesterov 0.9", lambda lr: sgd(lr, weight_decay=0.0), range(-4, 0)),
    OptimizerSpec("adam", "Adam", _adaptive(torch.optim.Adam), range(-7, -3)),
    OptimizerSpec("adamw", "AdamW", adamw, range(-7, -3)),
    OptimizerSpec("rmsprop", "RMSprop", _adaptive(torch.optim.RMSprop), range(-8, -4)),
    OptimizerSpec("adagrad", "Adagrad", _adaptive(torch.optim.Adagrad), range(-5, -1)),
    OptimizerSpec("nadam", "NAdam", _adaptive(torch.optim.NAdam), range(-7, -3)),
)
"""Those of the published comparison; no weight decay but AdamW's own."""


@dataclass(frozen=True)
class Regime:
    """Networks to train, and their measures.

    Args:
        name: in file names and on the command line.
        description: of the regime.
        recipe: of training.
        watch: the attack for the choice of rates, on held-out training images; None: by clean accuracy.
        measures: reported ones.
        columns: of the table: name of a number and its title.
        images: number of training images.
        epochs: of training.
        tuning_images: number of training images for the choice of rates, for one epoch.
    """

    name: str
    description: str
    recipe: Recipe
    watch: Attack | None
    measures: tuple[Under, ...]
    columns: tuple[tuple[str, str], ...]
    images: int = 20_000
    epochs: int = 2
    tuning_images: int = 10_000

    def network(self, optimizer: OptimizerSpec, place: int) -> Network:
        """A network for the reported results."""
        return self._with(optimizer, place, self.images, self.epochs)

    def trial(self, optimizer: OptimizerSpec, place: int) -> Network:
        """A short training for the choice of a rate."""
        return self._with(optimizer, place, self.tuning_images, 1)

    def _with(self, optimizer: OptimizerSpec, place: int, images: int, epochs: int) -> Network:
        made = optimizer.make(rate(place, PER_DECADE))
        return Network(self.recipe, Sampled(images), epochs=epochs, optimizer=made)


N = 400
"""Test images for each seed, other ones for each."""


def _at(eps: float) -> ThreatModel:
    return ThreatModel(Linf(), eps)


def _stepped(eps: float) -> tuple[tuple[str, Attack], ...]:
    """Attacks with one step, with momentum, and with many steps."""
    threat = _at(eps)
    return ("fgsm", FGSM(threat)), ("mi_fgsm", MIFGSM(threat, 10)), ("pgd_20", PGD(threat, 20))


def _columns(eps: float, square: float, l2: float) -> tuple[tuple[str, str], ...]:
    return (
        ("clean_accuracy", "clean"),
        ("fgsm_accuracy", f"FGSM {eps:g}"),
        ("mi_fgsm_accuracy", f"MI-FGSM {eps:g}"),
        ("pgd_20_accuracy", f"PGD-20 {eps:g}"),
        ("pgd_20_l2_accuracy", f"PGD-20 L2 {l2:g}"),
        ("square_100_accuracy", f"Square-100 {square:g}"),
    )


def _measures(eps: float, square: float, l2: float) -> tuple[Under, ...]:
    """Measures of the columns, by threat model."""
    return (
        Under(_stepped(eps), N),
        Under((("pgd_20_l2", PGD(ThreatModel(L2(), l2), 20)),), N),
        Under((("square_100", Square(_at(square), 100)),), N),
    )


REGIMES = (
    Regime(
        "standard",
        "standard training, at budgets that are small enough to leave something",
        standard(),
        None,
        _measures(0.03, 0.05, 0.5),
        _columns(0.03, 0.05, 0.5),
    ),
    Regime(
        "fast",
        "Fast adversarial training (one step from a random start) at eps 0.1",
        fast(_at(0.1)),
        PGD(_at(0.1), 10),
        _measures(0.1, 0.1, 1.0),
        _columns(0.1, 0.1, 1.0),
    ),
)
"""Settings of training, with the attacks for each."""
TRAINING_OPTIMIZERS: Registry[OptimizerSpec] = Registry("optimizer of training", group="robustlab.optimizers")
"""All optimizers that a sweep compares: the published ones, then those that were added."""
TRAINING_REGIMES: Registry[Regime] = Registry("recipe of this sweep", group="robustlab.regimes")
"""All settings of training by name."""


@typed
def register_optimizer(optimizer: OptimizerSpec) -> None:
    """Adds an optimizer to every new sweep of trainers.

    Raises: ValueError if its name is taken.
    """
    TRAINING_OPTIMIZERS.register(optimizer.name, optimizer)


@typed
def register_regime(regime: Regime) -> None:
    """Adds a setting of training, for ``robustlab sweep trainers --recipe``.

    Raises: ValueError if its name is taken.
    """
    TRAINING_REGIMES.register(regime.name, regime)


for _optimizer in OPTIMIZERS:
    register_optimizer(_optimizer)
for _regime in REGIMES:
    register_regime(_regime)
