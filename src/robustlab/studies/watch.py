"""Validation under attack: robust accuracy on held-out examples."""

from __future__ import annotations

from dataclasses import dataclass, field

from torch import nn

from robustlab.core import Attack, Examples, Metrics
from robustlab.evaluation import Settings, evaluate

_ATTACK = "watched"


@dataclass(frozen=True)
class Watch:
    """Clean and robust accuracy on held-out examples, as ``validate`` of ``robustlab.training.fit``.

    With ``Settings(best="robust_accuracy")`` training keeps the most robust epoch, which is seldom the last one:
    robustness overfits earlier than accuracy. The examples must not be in the training data (``robustlab.data.apart``
    divides it). Do not report the number: it is biased upwards, as the best epoch was chosen by it.

    Args:
        examples: held-out ones.
        attack: used after each epoch, such as PGD-10.
        seed: of the attack; the same in each epoch, so that epochs can be compared.

    Example:
        >>> from robustlab.attacks import PGD
        >>> from robustlab.core import Linf, ThreatModel
        >>> from robustlab.data import apart, load
        >>> held, rest = apart(load("digits", split="train"), 200)
        >>> watch = Watch(held, PGD(ThreatModel(Linf(), 0.1), 10))
        >>> sorted(watch(nn.Sequential(nn.Flatten(), nn.Linear(64, 10))))
        ['clean_accuracy', 'robust_accuracy']

    Source: Rice, Wong, Kolter, Overfitting in Adversarially Robust Deep Learning, ICML 2020, section 3.3.
    """

    examples: Examples
    attack: Attack
    seed: int = 0
    batch_size: int = field(default=256, repr=False)

    def __call__(self, model: nn.Module) -> Metrics:
        """Attacks the examples that the model gets right."""
        settings = Settings(batch_size=self.batch_size, seed=self.seed, keep="gallery", doctor=False)
        found = evaluate(model, self.examples, attacks={_ATTACK: self.attack}, settings=settings)
        return {"clean_accuracy": found.clean.accuracy.value, "robust_accuracy": found.result(_ATTACK).robust.value}
