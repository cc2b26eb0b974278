"""AdvProp and Fast AdvProp against vanilla training, and against AdvProp without auxiliary BatchNorm."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claims.efficientnets import ADVPROP, FAST_ADVPROP, SETTING, SHARED_BN, UNATTACKED, VANILLA

_VANILLA, _ADVPROP = Arm("vanilla", VANILLA), Arm("advprop", ADVPROP)
_PAPER = "Xie, Tan, Gong, Wang, Yuille, Le, Adversarial Examples Improve Image Recognition, CVPR 2020"
_EPS = "eps 4/255 and one step of that length, where the paper has 1/255"


def better(of: Arm, over: Arm, words: str) -> tuple[Effect, Effect, Effect]:
    """Effects without an attack: on clean, corrupted and hard images."""

    def one(kind: str, metric: str, smallest: float) -> Effect:
        return Effect(f"accuracy {kind}, {words},", Term(of.name, metric), Term(over.name, metric), smallest=smallest)

    return (
        one("on clean images", "clean_accuracy", 0.0),
        one("under corruptions", "corrupted_accuracy", 0.01),
        one("on mined hard images", "hard_accuracy", 0.0),
    )


ADVPROP_CLAIM = Claim(
    name="advprop",
    statement="AdvProp beats vanilla training on clean, on corrupted and on mined hard images.",
    paper=_PAPER,
    published="ImageNet, B0 and B7: 76.7 to 77.6 % clean and +0.7 points to 85.2 %, mCE 70.7 to 66.2 and 59.4 to 52.9, "
    "ImageNet-A 6.7 to 7.1 % and 37.7 to 44.7 %",
    ours=f"{SETTING}; PGD-1 towards a random wrong class, {_EPS}",
    arms=(_VANILLA, _ADVPROP),
    measures=UNATTACKED,
    effects=better(_ADVPROP, _VANILLA, "AdvProp over vanilla"),
    minutes=16,
)
_FAST = Arm("fast-advprop", FAST_ADVPROP)
FAST_CLAIM = Claim(
    name="fast-advprop",
    statement="Fast AdvProp beats vanilla training on clean, on corrupted and on mined hard images, at about its cost.",
    paper="Mei, Han, Bai, Zhang, Li, Li, Yuille, Xie, Fast AdvProp, ICLR 2022",
    published="ImageNet, ResNet-50, vanilla and Fast AdvProp: 76.2 and 76.5 % clean, mCE 58.5 and 56.4; PGD-1 AdvProp "
    "77.5 % and 54.3 at three times the cost",
    ours=f"{SETTING}; a fifth of each batch, {_EPS}",
    arms=(_VANILLA, _FAST),
    measures=UNATTACKED,
    effects=better(_FAST, _VANILLA, "Fast AdvProp over vanilla"),
    minutes=8,
)
_SHARED = Arm("shared-norms", SHARED_BN)
NORMS_CLAIM = Claim(
    name="auxiliary-norms",
    statement="AdvProp needs its auxiliary BatchNorm: with clean and adversarial images through the same, it is worse.",
    paper=_PAPER,
    published="no number that could be compared: with one BatchNorm for both, adversarial examples made networks worse "
    "on clean images, which AdvProp is there for",
    ours=f"{SETTING}; PGD-1 towards a random wrong class, {_EPS}",
    arms=(_SHARED, _ADVPROP),
    measures=UNATTACKED,
    effects=better(_ADVPROP, _SHARED, "auxiliary over shared BatchNorm")[:2],
    minutes=20,
)

register_claim(ADVPROP_CLAIM, place=230)
register_claim(FAST_CLAIM, place=240)
register_claim(NORMS_CLAIM, place=250)
