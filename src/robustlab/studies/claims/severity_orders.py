"""Corruptions: the more severe, the harder."""

from __future__ import annotations

from robustlab.corruptions import CORRUPTIONS, EXTRA
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.corruption_measures import UnderCorruptions
from robustlab.studies.claim_engine.network import Network
from robustlab.training import standard

_ALL = (*CORRUPTIONS, *EXTRA)

CLAIM = Claim(
    name="severity-orders",
    statement="Accuracy falls with severity, for each of the 19 corruptions and from each severity to the next.",
    paper="Hendrycks, Dietterich, Benchmarking Neural Network Robustness to Common Corruptions and Perturbations, ICLR "
    "2019",
    published="ImageNet-C: severities were chosen so that it does",
    ours="Fashion-MNIST, constants of ImageNet-C on 28x28 pixels, BatchNorm CNN in bf16, 4 epochs; 1,000 test images; "
    "half a point of rise is let pass as chance",
    arms=(Arm("standard", Network(standard(), epochs=4, precision="bf16")),),
    measures=(UnderCorruptions(1000, _ALL),),
    effects=tuple(
        Effect(
            f"smallest fall of accuracy from one severity of {name} to the next,",
            Term("standard", f"{name}_fall"),
            smallest=-0.005,
        )
        for name in _ALL
    ),
    minutes=3,
)

register_claim(CLAIM, place=160)
