"""The smooth gradient in the attack, in the update, in both and in neither; ReLU in every forward pass."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.claims.common import THREAT, N, weak_and_strong
from robustlab.training import smooth_adversarial, smooth_in
from robustlab.training.recipes.smooth import Where


def _arm(where: Where) -> Arm:
    recipe = smooth_in(smooth_adversarial(THREAT, smoothing=0.0), where)
    return Arm(where, Network(recipe, epochs=4, activation="silu", only_gradient=True, precision="bf16"))


def _over_neither(where: Where, words: str, metric: str, smallest: float) -> Effect:
    return Effect(f"{words} {where}, over neither,", Term(where, metric), Term("neither", metric), smallest=smallest)


_ROBUST = "accuracy under PGD-50, smooth gradient in"

CLAIM = Claim(
    name="smooth-ablation",
    statement="A smooth gradient in place of ReLU's makes adversarial training more robust, in the attack and in the "
    "update, though the network itself stays one of ReLUs.",
    paper="Xie, Tan, Gong, Yuille, Le, Smooth Adversarial Training, 2020, table 1",
    published="ImageNet, eps 4/255, ResNet-50, clean and under PGD-200: neither 68.8 % and 33.0 %, attack 68.3 % and "
    "34.5 %, update 69.4 % and 35.8 %, both 68.9 % and 36.9 %",
    ours="Fashion-MNIST, eps 0.1, BatchNorm CNN in bf16, 4 epochs of PGD-1 training; ReLU forward, the derivative of "
    "SiLU backward; PGD-50 on 5,000 test images",
    arms=tuple(_arm(where) for where in ("neither", "attack", "update", "both")),
    measures=(Under(weak_and_strong(), N),),
    effects=(
        _over_neither("attack", _ROBUST, "pgd_50_accuracy", 0.005),
        _over_neither("update", _ROBUST, "pgd_50_accuracy", 0.005),
        _over_neither("both", _ROBUST, "pgd_50_accuracy", 0.01),
        _over_neither("both", "clean accuracy, smooth gradient in", "clean_accuracy", -0.01),
    ),
    minutes=12,
    seeds=3,
)

register_claim(CLAIM, place=120)
