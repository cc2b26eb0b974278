"""Adversarial training against corruptions: better at some, worse at others."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.corruption_measures import UnderCorruptions
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.claims.common import PGD_TRAINED
from robustlab.training import standard


def _changed(what: str, *, up: bool) -> Effect:
    """An effect of two points or more."""
    terms = Term("pgd-trained", f"{what}_accuracy"), Term("standard", f"{what}_accuracy")
    of, over = terms if up else terms[::-1]
    words = "PGD-trained over standard" if up else "standard over PGD-trained"
    return Effect(f"accuracy under {what}, {words},", of, over, smallest=0.02)


CLAIM = Claim(
    name="adversarial-profile",
    statement="A network trained with PGD is better than a standard one under noise and blur, and worse under fog and "
    "contrast.",
    paper="Ford, Gilmer, Carlini, Cubuk, Adversarial Examples Are a Natural Consequence of Test Error in Noise, ICML "
    "2019, and Kireev, Andriushchenko, Flammarion, UAI 2022",
    published="CIFAR-10-C and ImageNet-C: adversarial training helps against noise and blur and harms under fog and "
    "contrast",
    ours="Fashion-MNIST, Linf eps 0.1, BatchNorm CNN in bf16, 4 epochs; the 15 corruptions with the constants of "
    "ImageNet-C on 28x28 pixels; 1,000 test images",
    arms=(Arm("standard", Network(standard(), epochs=4, precision="bf16")), Arm("pgd-trained", PGD_TRAINED)),
    measures=(UnderCorruptions(1000),),
    effects=(
        _changed("noise", up=True),
        _changed("blur", up=True),
        _changed("fog", up=False),
        _changed("contrast", up=False),
    ),
    minutes=8,
)

register_claim(CLAIM, place=170)
