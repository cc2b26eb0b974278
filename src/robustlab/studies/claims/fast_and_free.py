"""Fast and free training against PGD training: cheaper, and nearly as robust."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.claims.common import PGD_TRAINED, THREAT, N, weak_and_strong
from robustlab.training import fast, free


def _near(arm: str) -> Effect:
    """An effect of at most three points less."""
    of, over = Term(arm, "pgd_50_accuracy"), Term("pgd-trained", "pgd_50_accuracy")
    return Effect(f"accuracy under PGD-50, {arm} over PGD-trained,", of, over, smallest=-0.03)


def _cheaper(arm: str) -> Effect:
    """An effect of at most half the time."""
    of, over = Term("pgd-trained", "training_seconds"), Term(arm, "training_seconds")
    return Effect(f"time for training, PGD over {arm},", of, over, smallest=2.0, ratio=True)


CLAIM = Claim(
    name="fast-and-free",
    statement="Fast and Free adversarial training come near PGD training's robustness at a fraction of its cost.",
    paper="Wong, Rice, Kolter, Fast is Better than Free, ICLR 2020; Shafahi et al., Adversarial Training for Free!, "
    "NeurIPS 2019",
    published="CIFAR-10, eps 8/255, clean and under PGD: Fast 86.06 % and 46.06 %, Free (m = 8) 85.96 % and 46.33 %, "
    "PGD-7 87.30 % and 45.80 % (Wong et al.)",
    ours="Fashion-MNIST, eps 0.1, BatchNorm CNN in bf16; PGD-7 and Fast 4 epochs, Free 2 epochs with m = 4; PGD-50 on "
    "5,000 test images; seconds of training",
    arms=(
        Arm("pgd-trained", PGD_TRAINED),
        Arm("fast", Network(fast(THREAT, bn_mode="eval").recipe, epochs=4, precision="bf16")),
        Arm("free", Network(free(THREAT, replays=4), epochs=2, precision="bf16")),
    ),
    measures=(Under(weak_and_strong(), N),),
    effects=(_near("fast"), _near("free"), _cheaper("fast"), _cheaper("free")),
    minutes=8,
)

register_claim(CLAIM, place=70)
