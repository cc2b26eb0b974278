"""Robust overfitting: longer training lowers robust accuracy again."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claims.common import OVERFITTED, N, weak_and_strong

CLAIM = Claim(
    name="robust-overfitting",
    statement="PGD training overfits in robust accuracy while clean accuracy stays; early stopping helps.",
    paper="Rice, Wong, Kolter, Overfitting in Adversarially Robust Deep Learning, ICML 2020",
    published="CIFAR-10, eps 8/255: 85.34 % clean, 53.42 % under AutoAttack with early stopping (RobustBench); one "
    "reproduction of the run to the end has 45.91 % under PGD-20 at its best and 36.18 % at its end",
    ours="5,000 images of Fashion-MNIST, 40 epochs of PGD-7 training, eps 0.1, BatchNorm CNN in bf16; the best epoch "
    "by PGD-10 on 1,000 held-out training images; PGD-50 on 5,000 test images",
    arms=(Arm("last", OVERFITTED), Arm("early-stopped", OVERFITTED, early=True)),
    measures=(Under(weak_and_strong(), N),),
    effects=(
        Effect(
            "accuracy under PGD-50, early-stopped over last,",
            Term("early-stopped", "pgd_50_accuracy"),
            Term("last", "pgd_50_accuracy"),
            smallest=0.01,
        ),
        Effect(
            "clean accuracy, last over early-stopped,",
            Term("last", "clean_accuracy"),
            Term("early-stopped", "clean_accuracy"),
            smallest=-0.01,
        ),
    ),
    minutes=6,
)

register_claim(CLAIM, place=90)
