"""Perturbation of weights as well as inputs."""

from __future__ import annotations

from dataclasses import replace

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claims.common import OVERFITTED, THREAT, N, weak_and_strong
from robustlab.training import awp, madry

CLAIM = Claim(
    name="awp-helps",
    statement="Adversarial weight perturbation raises the robustness that training ends with.",
    paper="Wu, Xia, Wang, Adversarial Weight Perturbation Helps Robust Generalization, NeurIPS 2020",
    published="CIFAR-10, eps 8/255, ResNet-18 under AutoAttack: TRADES 49.45 %, with AWP 51.62 % (as MAIR measured)",
    ours="5,000 images of Fashion-MNIST, 40 epochs of PGD-7 training, eps 0.1, BatchNorm CNN in bf16, gamma 0.01; last "
    "weights; PGD-50 on 5,000 test images",
    arms=(
        Arm("pgd-trained", OVERFITTED),
        Arm("awp", replace(OVERFITTED, recipe=awp(madry(THREAT, bn_mode="eval"), gamma=0.01))),
    ),
    measures=(Under(weak_and_strong(), N),),
    effects=(
        Effect(
            "accuracy under PGD-50, with AWP over without,",
            Term("awp", "pgd_50_accuracy"),
            Term("pgd-trained", "pgd_50_accuracy"),
            smallest=0.01,
        ),
    ),
    minutes=10,
)

register_claim(CLAIM, place=100)
