"""Adversarial training aligns the gradients of a network with the images."""

from __future__ import annotations

from robustlab.attacks import PGD
from robustlab.explain.numbers import Alignment
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.map_measures import OfMaps
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claims.common import PLAIN_FEW, ROBUST_FEW, THREAT

NUMBERS = (
    ("logit_alignment", Alignment()),
    ("margin_alignment", Alignment("margin")),
    ("logit_alignment_cosine", Alignment(cosine=True)),
    ("margin_alignment_cosine", Alignment("margin", cosine=True)),
)
CLAIM = Claim(
    name="gradients-align",
    statement="The gradients of a network that was trained with PGD are aligned with the images, those of a standard "
    "one much less.",
    paper="Etmann, Lunz, Maass, Schoenlieb, On the Connection Between Adversarial Robustness and Saliency Map "
    "Interpretability, ICML 2019, section 4",
    published="ImageNet and MNIST: the median alignment grows with the robustness of the network (figures, no number)",
    ours="Fashion-MNIST, Linf eps 0.1, BatchNorm CNN, 4 epochs of 20,000 images, with PGD-7 or without; the mean of "
    "|<x, g>| / ||g|| over 1,000 test images, for the logit of the predicted class and for its margin",
    arms=(Arm("standard", PLAIN_FEW), Arm("pgd-trained", ROBUST_FEW)),
    measures=(OfMaps(NUMBERS, 1000), Under((("pgd_10", PGD(THREAT, 10)),), 500)),
    effects=(
        Effect(
            "alignment of the gradient of the logit, PGD-trained over standard,",
            Term("pgd-trained", "logit_alignment"),
            Term("standard", "logit_alignment"),
            smallest=1.5,
            ratio=True,
        ),
        Effect(
            "alignment of the gradient of the margin, PGD-trained over standard,",
            Term("pgd-trained", "margin_alignment"),
            Term("standard", "margin_alignment"),
            smallest=1.5,
            ratio=True,
        ),
    ),
    minutes=3,
    seeds=6,
)

register_claim(CLAIM, place=400)
