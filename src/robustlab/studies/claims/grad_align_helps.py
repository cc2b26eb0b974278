"""GradAlign: gradients that agree across the ball keep single-step training from overfitting."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.claims.common import FGSM_TRAINED_LARGE, LARGE_THREAT, N, weak_and_strong
from robustlab.training import grad_align

CLAIM = Claim(
    name="grad-align",
    statement="GradAlign keeps FGSM training without a random start from overfitting catastrophically at a large eps.",
    paper="Andriushchenko, Flammarion, Understanding and Improving Fast Adversarial Training, NeurIPS 2020",
    published="CIFAR-10, eps 8/255, PreAct ResNet-18: 79.84 % clean, 43.93 % under AutoAttack (RobustBench)",
    ours="Fashion-MNIST, eps 0.2, BatchNorm CNN in bf16, 4 epochs, eps rising over the first 30 %, weight 1; PGD-50 on "
    "5,000 test images",
    arms=(
        Arm("fgsm-trained", FGSM_TRAINED_LARGE),
        Arm(
            "grad-align",
            Network(grad_align(LARGE_THREAT, weight=1.0, bn_mode="eval", eps_warmup=0.3), epochs=4, precision="bf16"),
        ),
    ),
    measures=(Under(weak_and_strong(LARGE_THREAT), N),),
    effects=(
        Effect(
            "accuracy under PGD-50, with GradAlign over without,",
            Term("grad-align", "pgd_50_accuracy"),
            Term("fgsm-trained", "pgd_50_accuracy"),
            smallest=0.2,
        ),
    ),
    minutes=8,
)

register_claim(CLAIM, place=50)
