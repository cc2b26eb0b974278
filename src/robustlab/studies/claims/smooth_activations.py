"""Smooth activations against ReLU."""

from __future__ import annotations

from dataclasses import replace

from robustlab.attacks import FGSM
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.claims.common import EPS, THREAT, N, weak_and_strong
from robustlab.training import adversarial

_RELU = Network(adversarial(FGSM(THREAT, step_size=EPS, random_start=True)), epochs=4, precision="bf16")

CLAIM = Claim(
    name="smooth-activations",
    statement="A smooth activation in place of ReLU raises robustness at equal clean accuracy.",
    paper="Xie, Tan, Gong, Yuille, Le, Smooth Adversarial Training, 2020",
    published="ImageNet, eps 4/255, ResNet-50, clean and under PGD-50: ReLU 68.7 % and 33.1 %, SiLU 69.7 % and 41.9 % "
    "(released code)",
    ours="Fashion-MNIST, eps 0.1, BatchNorm CNN in bf16, 4 epochs of PGD-1 training; ReLU and SiLU; PGD-50 on 5,000 "
    "test images",
    arms=(Arm("relu", _RELU), Arm("silu", replace(_RELU, activation="silu"))),
    measures=(Under(weak_and_strong(), N),),
    effects=(
        Effect(
            "accuracy under PGD-50, SiLU over ReLU,",
            Term("silu", "pgd_50_accuracy"),
            Term("relu", "pgd_50_accuracy"),
            smallest=0.01,
        ),
        Effect(
            "clean accuracy, SiLU over ReLU,",
            Term("silu", "clean_accuracy"),
            Term("relu", "clean_accuracy"),
            smallest=-0.01,
        ),
    ),
    minutes=5,
)

register_claim(CLAIM, place=110)
