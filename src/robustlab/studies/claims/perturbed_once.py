"""Training and testing on data that was perturbed once."""

from __future__ import annotations

from robustlab.attacks import FGSM
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import OnPerturbedOnce, Under
from robustlab.studies.claim_engine.network import Network, PerturbedOnce
from robustlab.studies.claims.common import THREAT, N, weak_and_strong
from robustlab.training import standard

_FIRST = Network(standard(), epochs=2, precision="bf16")

CLAIM = Claim(
    name="perturbed-once",
    statement="Accuracy on a set that was perturbed once, before training, overstates robustness.",
    paper="against the way of older course material; the trap of testing with the examples of training is in Madry et "
    "al., ICLR 2018",
    published="CIFAR-10, eps 8/255 (Madry): 95.1 % on the kind of examples that were trained on, 0.0 % under PGD",
    ours="Fashion-MNIST, eps 0.1, BatchNorm CNN in bf16, 3 epochs on training images that were perturbed once with "
    "FGSM against another network; tested on 5,000 test images perturbed in the same way, and under PGD-50",
    arms=(Arm("perturbed-once", Network(standard(), PerturbedOnce(FGSM(THREAT), _FIRST), epochs=3, precision="bf16")),),
    measures=(Under(weak_and_strong(), N), OnPerturbedOnce(FGSM(THREAT), _FIRST, N)),
    effects=(
        Effect(
            "accuracy, on the set perturbed once over PGD-50,",
            Term("perturbed-once", "perturbed_once_accuracy"),
            Term("perturbed-once", "pgd_50_accuracy"),
            smallest=0.3,
        ),
    ),
    minutes=2.5,
)

register_claim(CLAIM, place=30)
