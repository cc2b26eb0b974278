"""Non-robust features suffice to generalise."""

from __future__ import annotations

from robustlab.core import L2, ThreatModel
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.featured import Featured
from robustlab.studies.claim_engine.measures import Clean
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.claims.common import PLAIN_FEW, N
from robustlab.studies.robust_features import FeatureKind, FeatureSet
from robustlab.training import standard

SMALL = ThreatModel(L2(), 2.0)
"""The smallest of 0.5, 1, 1.5 and 2 with which nine in ten attacks reach the next class."""


def _arm(name: str, kind: FeatureKind) -> Arm:
    """A network that is trained on a set of features alone."""
    return Arm(name, Network(standard(), Featured(FeatureSet(kind, threat=SMALL), PLAIN_FEW), epochs=6))


CLAIM = Claim(
    name="non-robust-features",
    statement="A network that is trained on images perturbed towards another class, with that class as the label, which"
    " is wrong to people, is right on clean test images far above chance.",
    paper="Ilyas, Santurkar, Tsipras, Engstrom, Tran, Madry, Adversarial Examples Are Not Bugs, They Are Features, "
    "NeurIPS 2019, section 3.2",
    published="CIFAR-10, L2 eps 0.5: accuracy on the test set 63.3 % with random targets, 43.7 % with the next class",
    ours="Fashion-MNIST, BatchNorm CNN; 10,000 images in 100 steps of L2 eps 2 against a standard network of 20,000 "
    "images and 4 epochs; 6 epochs on them; 5,000 test images; chance is 0.1",
    arms=(_arm("random", "non-robust-random"), _arm("next", "non-robust-next")),
    measures=(Clean(N),),
    effects=(
        Effect("accuracy after training towards random classes", Term("random", "clean_accuracy"), smallest=0.3),
        Effect("accuracy after training towards the next class", Term("next", "clean_accuracy"), smallest=0.2),
    ),
    minutes=12,
    seeds=6,
)

register_claim(CLAIM, place=430)
