"""Maps of a network can be replaced at fixed prediction; softplus in place of ReLU makes that harder."""

from __future__ import annotations

from robustlab.core import Linf, ThreatModel
from robustlab.explain import MapAttack
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.map_measures import Replaced
from robustlab.studies.claim_engine.measures import Clean
from robustlab.studies.claims.common import PLAIN_FEW

_NAME = "standard"
BETAS = (("relu", None), ("softplus", 5.0))
"""The softplus is the smoothest of 1, 2, 3, 5 and 10 that costs at most two points of accuracy on training images."""

_STATEMENT = (
    "The gradient map of a standard network can be replaced by that of another image with a {small} change of the "
    "input that keeps the prediction; softplus in place of ReLU makes that harder{again}."
)
_OURS = (
    "Fashion-MNIST, BatchNorm CNN, 4 epochs of 20,000 images; Linf eps {eps:g}, 100 steps, gradient maps, the class "
    "is kept and its confidence within 0.1; targets are the maps of other test images of another class; cosine of "
    "maps; softplus of beta 5, without training; {n} test images"
)
EFFECTS = (
    Effect(
        "cosine of the attacked map with that of the other image over that of its own,",
        Term(_NAME, "relu_target"),
        Term(_NAME, "relu_own"),
        smallest=0.1,
    ),
    Effect(
        "cosine of the attacked map with that of the other image, ReLU over softplus,",
        Term(_NAME, "relu_target"),
        Term(_NAME, "softplus_target"),
        smallest=0.05,
    ),
)


def _claim(name: str, eps: float, n: int, small: str, again: str = "") -> Claim:
    """The claim in a budget."""
    return Claim(
        name=name,
        statement=_STATEMENT.format(small=small, again=again),
        paper="Dombrowski, Alber, Anders, Ackermann, Mueller, Kessel, Explanations Can Be Manipulated and Geometry Is "
        "to Blame, NeurIPS 2019, sections 2 and 3",
        published="ImageNet, VGG-16: the manipulated map resembles the target, at the same output; the smaller beta of "
        "the softplus, the less (figures, no number)",
        ours=_OURS.format(eps=eps, n=n),
        arms=(Arm(_NAME, PLAIN_FEW),),
        measures=(Clean(1000), Replaced(MapAttack(ThreatModel(Linf(), eps), steps=100), n, BETAS)),
        effects=EFFECTS,
        minutes=2,
        seeds=6,
    )


CLAIM = _claim("maps-replaced", 0.05, 100, "small")
LARGE = _claim(
    "maps-replaced-large",
    0.2,
    50,
    "large",
    "; measured again in four times the budget, since in the first most maps stayed what they were",
)

register_claim(CLAIM, place=410)
register_claim(LARGE, place=411)
