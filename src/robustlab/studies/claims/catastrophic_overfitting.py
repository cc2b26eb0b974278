"""Catastrophic overfitting: single-step training that is robust to one step only."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.claims.common import FGSM_TRAINED_LARGE, LARGE_THREAT, N, weak_and_strong
from robustlab.training import madry

CLAIM = Claim(
    name="catastrophic-overfitting",
    statement="FGSM training without a random start overfits catastrophically at a large eps; FGSM hides it, PGD shows "
    "it.",
    paper="Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018, and Wong, Rice, "
    "Kolter, Fast is Better than Free, ICLR 2020, section 5.4",
    published="CIFAR-10, eps 8/255 (Madry): the FGSM-trained network has 95.1 % under FGSM and 0.0 % under PGD, the "
    "PGD-trained one 56.1 % and 50.0 %",
    ours="Fashion-MNIST, eps 0.2, BatchNorm CNN in bf16, 4 epochs, eps rising over the first 30 %; 5,000 test images",
    arms=(
        Arm("fgsm-trained", FGSM_TRAINED_LARGE),
        Arm("pgd-trained", Network(madry(LARGE_THREAT, bn_mode="eval", eps_warmup=0.3), epochs=4, precision="bf16")),
    ),
    measures=(Under(weak_and_strong(LARGE_THREAT), N),),
    effects=(
        Effect(
            "accuracy of the FGSM-trained network, under FGSM over PGD-50,",
            Term("fgsm-trained", "fgsm_accuracy"),
            Term("fgsm-trained", "pgd_50_accuracy"),
            smallest=0.3,
        ),
        Effect(
            "accuracy under PGD-50, PGD-trained over FGSM-trained,",
            Term("pgd-trained", "pgd_50_accuracy"),
            Term("fgsm-trained", "pgd_50_accuracy"),
            smallest=0.2,
        ),
    ),
    minutes=8,
)

register_claim(CLAIM, place=40)
