"""Guided backprop passes unchanged through layers that are drawn anew, the gradient does not."""

from __future__ import annotations

from robustlab.explain import Gradient, GuidedBackprop
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.map_measures import Redrawn
from robustlab.studies.claim_engine.measures import Clean
from robustlab.studies.claims.common import PLAIN_FEW

_NAME = "standard"

CLAIM = Claim(
    name="guided-backprop-unchanged",
    statement="Maps of guided backprop hardly change when the upper layers of a network are drawn anew, those of the "
    "gradient do.",
    paper="Adebayo, Gilmer, Muelly, Goodfellow, Hardt, Kim, Sanity Checks for Saliency Maps, NeurIPS 2018, section 4",
    published="ImageNet, Inception v3, and MNIST: guided backprop is invariant to the weights of higher layers, the "
    "gradient is not (figures of rank correlation and SSIM, no number)",
    ours="Fashion-MNIST, BatchNorm CNN, 4 epochs of 20,000 images; its two dense layers drawn anew, four convolutions "
    "left; mean rank correlation of the absolute values with those of the trained network, 200 test images",
    arms=(Arm(_NAME, PLAIN_FEW),),
    measures=(Clean(1000), Redrawn((("guided", GuidedBackprop()), ("gradient", Gradient())), 200)),
    effects=(
        Effect("rank correlation of guided backprop", Term(_NAME, "guided_upper"), smallest=0.7),
        Effect(
            "rank correlation, guided backprop over gradient,",
            Term(_NAME, "guided_upper"),
            Term(_NAME, "gradient_upper"),
            smallest=0.3,
        ),
    ),
    minutes=1,
    seeds=6,
)

register_claim(CLAIM, place=420)
