"""The beta of TRADES: accuracy against robustness."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.claims.common import THREAT, N, weak_and_strong
from robustlab.training import trades

CLAIM = Claim(
    name="trades-trades",
    statement="A larger beta makes a network trained by TRADES more robust and less accurate.",
    paper="Zhang et al., Theoretically Principled Trade-off between Robustness and Accuracy, ICML 2019",
    published="CIFAR-10, eps 0.031, beta 6: 84.92 % clean, 56.61 % under PGD-20; the released code says that beta may "
    "be between 1 and 10 and that a larger one is more robust and less accurate",
    ours="Fashion-MNIST, eps 0.1, BatchNorm CNN in bf16, 3 epochs, 5 steps of 0.03; beta 1 and 6; 5,000 test images",
    arms=tuple(
        Arm(
            f"beta-{beta}",
            Network(trades(THREAT, beta=float(beta), steps=5, step_size=0.03), epochs=3, precision="bf16"),
        )
        for beta in (1, 6)
    ),
    measures=(Under(weak_and_strong(), N),),
    effects=(
        Effect(
            "accuracy under PGD-50, beta 6 over beta 1,",
            Term("beta-6", "pgd_50_accuracy"),
            Term("beta-1", "pgd_50_accuracy"),
            smallest=0.01,
        ),
        Effect(
            "clean accuracy, beta 1 over beta 6,",
            Term("beta-1", "clean_accuracy"),
            Term("beta-6", "clean_accuracy"),
            smallest=0.01,
        ),
    ),
    minutes=7,
)

register_claim(CLAIM, place=80)
