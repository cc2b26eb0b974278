"""Networks of the claims on EfficientNet, AdvProp and Noisy Student, each trained once."""

from __future__ import annotations

from dataclasses import replace

from robustlab.core import Linf, Recipe, ThreatModel
from robustlab.studies.claim_engine.corruption_measures import UnderCorruptions
from robustlab.studies.claim_engine.hard import OnHard, WithoutHard
from robustlab.studies.claim_engine.measures import Clean
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.claim_engine.taught import TaughtBy
from robustlab.training import advprop, fast_advprop, standard
from robustlab.training.recipes.augment import RandAugment, augmented

_PLAIN = "timm:efficientnet_b0,stride=1,width=0.25"
_NOISY = f"{_PLAIN},dropout=0.2,drop_path=0.2"
_LABELLED, _UNLABELLED = WithoutHard(5000), WithoutHard(15_000, after=5000)
_PASSES, _BATCH = 12, 64
_RATIO = 3
_NOISE = RandAugment(magnitude=5)
SMALL = ThreatModel(Linf(), 4 / 255)
"""Threat model of AdvProp."""

VANILLA = Network(standard(), _LABELLED, _PLAIN, epochs=_PASSES, batch_size=_BATCH, precision="fp32")
"""Supervised training on 5,000 labels: the baseline, and the teacher."""


def _advprop(*, shared: bool = False) -> Recipe:
    return advprop(SMALL, steps=1, step_size=4 / 255, shared=shared)


ADVPROP = replace(VANILLA, recipe=_advprop(), routes=2)
SHARED_BN = replace(VANILLA, recipe=_advprop(shared=True))
FAST_ADVPROP = replace(VANILLA, recipe=fast_advprop(SMALL), routes=2)
NOISY_LABELS = replace(VANILLA, recipe=augmented(standard(), _NOISE), architecture=_NOISY)
"""Supervised training with the noise of students."""

_STUDENT = replace(VANILLA, epochs=_PASSES // (1 + _RATIO), batch_size=_BATCH // (1 + _RATIO))
STUDENT = replace(_STUDENT, recipe=TaughtBy(VANILLA, _UNLABELLED, _RATIO, _NOISE), architecture=_NOISY)
QUIET_STUDENT = replace(_STUDENT, recipe=TaughtBy(VANILLA, _UNLABELLED, _RATIO))
"""Students with the updates and batch size of the teacher; the second without noise."""
ADVPROP_STUDENT = replace(
    STUDENT, recipe=TaughtBy(VANILLA, _UNLABELLED, _RATIO, _NOISE, soft=False, learning=_advprop()), routes=2
)

UNATTACKED = (UnderCorruptions(500), Clean(10_000), OnHard())
"""Measures without an attack: corrupted, clean, and mined hard images."""
SETTING = (
    "Fashion-MNIST, 5,000 labels, none of them of the mined hard images; EfficientNet-B0 of a quarter of the "
    "width, first stride 1, on 28x28 pixels, from scratch, about 940 updates with 64 images each"
)
