"""Local linearity goes with robustness."""

from __future__ import annotations

from robustlab.explain.numbers import Curvature, LinearityError
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.map_measures import OfMaps
from robustlab.studies.claim_engine.measures import Clean
from robustlab.studies.claims.common import EPS, PLAIN_FEW, ROBUST_FEW

CLAIM = Claim(
    name="linearity-and-robustness",
    statement="The loss of a network that was trained with PGD is more linear around the images, and less curved, than "
    "that of a standard one.",
    paper="Qin, Martens, Gowal, Krishnan, Dvijotham, Fawzi, De, Stanforth, Kohli, Adversarial Robustness through Local "
    "Linearization, NeurIPS 2019; Moosavi-Dezfooli, Fawzi, Uesato, Frossard, CVPR 2019",
    published="CIFAR-10: adversarial training makes the loss more linear and lowers its largest curvatures many times "
    "(figures, no number)",
    ours="Fashion-MNIST, Linf eps 0.1, BatchNorm CNN, 4 epochs of 20,000 images, with PGD-7 or without; over 300 test "
    "images, the largest error of the linear approximation of the loss within the ball, by 10 steps, and the largest "
    "eigenvalue of its Hessian, by 10 steps with differences of length 0.1",
    arms=(Arm("standard", PLAIN_FEW), Arm("pgd-trained", ROBUST_FEW)),
    measures=(Clean(1000), OfMaps((("linearity_error", LinearityError(EPS)), ("curvature", Curvature())), 300)),
    effects=(
        Effect(
            "error of the linear approximation, standard over PGD-trained,",
            Term("standard", "linearity_error"),
            Term("pgd-trained", "linearity_error"),
            smallest=2.0,
            ratio=True,
        ),
        Effect(
            "largest curvature, standard over PGD-trained,",
            Term("standard", "curvature"),
            Term("pgd-trained", "curvature"),
            smallest=2.0,
            ratio=True,
        ),
    ),
    minutes=3,
    seeds=6,
)

register_claim(CLAIM, place=450)
