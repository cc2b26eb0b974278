"""The recipes that the training benchmarks compare, all against Linf at eps 0.1 and with the settings of their papers.

``pgd-2`` and ``pgd-3`` are from no paper: fewer and longer steps, to be fast. BatchNorm stays in eval mode while inputs
are made if the recipe allows it, which is faster.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

from robustlab.attacks import FGSM
from robustlab.core import Linf, Recipe, ThreatModel
from robustlab.training import adversarial, awp, fast, free, grad_align, madry, mart, standard, trades

THREAT = ThreatModel(Linf(), 0.1)
BATCH = 128
Precision: TypeAlias = Literal["fp32", "bf16"]
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
RECIPES: dict[str, Recipe] = {
    "standard": standard(),
    "fgsm": adversarial(FGSM(THREAT), mix=0.5),
    "fast": fast(THREAT, bn_mode="eval"),
    "free": free(THREAT, replays=4),
    "grad-align": grad_align(THREAT, bn_mode="eval"),
    "pgd": madry(THREAT, bn_mode="eval"),
    "pgd-2": madry(THREAT, steps=2, step_size=0.07, bn_mode="eval"),
    "pgd-3": madry(THREAT, steps=3, step_size=0.05, bn_mode="eval"),
    "trades": trades(THREAT),
    "mart": mart(THREAT),
    "awp": awp(madry(THREAT, bn_mode="eval")),
}
DESCRIPTIONS = {
    "standard": "on clean data",
    "fgsm": "half FGSM, half clean",
    "fast": "FGSM from a random start, with the alarm",
    "free": "4 replays",
    "grad-align": "FGSM, gradients made to agree, weight 0.2",
    "pgd": "7 steps of eps / 4",
    "pgd-2": "2 steps of 0.7 eps",
    "pgd-3": "3 steps of 0.5 eps",
    "trades": "beta 6, 10 steps of 7/31 eps",
    "mart": "beta 6, 10 steps of 7/31 eps",
    "awp": "the same PGD, gamma 0.01",
}
"""Description of each recipe, next to its name."""
