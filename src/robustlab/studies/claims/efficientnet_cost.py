"""EfficientNet against residual networks of equal cost."""

from __future__ import annotations

from dataclasses import replace

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claims.efficientnets import SETTING, UNATTACKED, VANILLA

_PLACE = "robustlab.studies.claims.networks"
_EFFICIENTNET = Arm("efficientnet", VANILLA)


def _claim(cost: str, statement: str, published: str, width: str) -> Claim:
    name = f"resnet-of-equal-{cost}"
    network = replace(VANILLA, architecture=f"{_PLACE}:resnet_of_equal_{cost}")
    return Claim(
        name=f"efficientnet-equal-{cost}",
        statement=statement,
        paper="Tan, Le, EfficientNet: Rethinking Model Scaling for Convolutional Neural Networks, ICML 2019",
        published=published,
        ours=f"{SETTING}; a ResNet-18 {width}; the same optimizer (SGD, 0.1, one cycle) for both",
        arms=(_EFFICIENTNET, Arm(name, network)),
        measures=UNATTACKED,
        effects=(
            Effect(
                "clean accuracy, EfficientNet over ResNet,",
                Term("efficientnet", "clean_accuracy"),
                Term(name, "clean_accuracy"),
                smallest=0.0,
            ),
        ),
        minutes=6,
    )


WORK = _claim(
    "work",
    "EfficientNet is more accurate than a ResNet with as many multiply-adds.",
    "ImageNet: B0 has 77.1 % with 0.39 billion multiply-adds, ResNet-50 76.0 % with 4.1 billion",
    "with 11 to 88 channels, which has 3.6 million multiply-adds, EfficientNet 3.3 million",
)
TIME = _claim(
    "time",
    "EfficientNet is more accurate than a ResNet that trains as fast.",
    "no number: the paper counts multiply-adds",
    "with 34 to 272 channels, made to train at the same rate on one thread of a CPU (in these runs, while other work "
    "went on, it took 1.3 times as long), with 34 million multiply-adds, EfficientNet 3.3 million",
)

register_claim(WORK, place=210)
register_claim(TIME, place=220)
