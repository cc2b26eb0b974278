"""Noisy Student against its teacher, against itself without noise, under attack, and combined with AdvProp."""

from __future__ import annotations

from robustlab.attacks import FGSM, PGD, autoattack
from robustlab.core import Linf, ThreatModel
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claim_engine.transferred import OnDigits
from robustlab.studies.claims.advprop_helps import better
from robustlab.studies.claims.common import THREAT
from robustlab.studies.claims.efficientnets import (
    ADVPROP,
    ADVPROP_STUDENT,
    NOISY_LABELS,
    QUIET_STUDENT,
    SETTING,
    STUDENT,
    UNATTACKED,
    VANILLA,
)

_PAPER = "Xie, Luong, Hovy, Le, Self-training with Noisy Student Improves ImageNet Classification, CVPR 2020"
_OURS = (
    f"{SETTING}; 15,000 images without labels, three with each labelled one, one round, soft pseudo-labels, "
    "balanced, without a threshold; noise: RandAugment (2 operations, magnitude 5), dropout 0.2, stochastic depth 0.2"
)
_PUBLISHED = (
    "ImageNet and 300 million images without labels, L2: 88.4 % clean; over the best before it, ImageNet-A 61.0 to "
    "83.7 %, mCE 45.7 to 28.3"
)
_SUPERVISED, _STUDENT, _ADVPROP = Arm("supervised", VANILLA), Arm("student", STUDENT), Arm("advprop", ADVPROP)
_QUIET, _NOISY_LABELS = Arm("without-noise", QUIET_STUDENT), Arm("noisy-labels", NOISY_LABELS)
_BOTH = Arm("advprop-student", ADVPROP_STUDENT)
_TINY = ThreatModel(Linf(), 2 / 255)


def _accuracy(metric: str, words: str, of: Arm, over: Arm, smallest: float) -> Effect:
    return Effect(words, Term(of.name, metric), Term(over.name, metric), smallest=smallest)


STUDENT_CLAIM = Claim(
    name="noisy-student",
    statement="Noisy Student with unlabelled images beats supervised training on the labels alone, on clean, on "
    "corrupted and on mined hard images.",
    paper=_PAPER,
    published=_PUBLISHED,
    ours=_OURS,
    arms=(_SUPERVISED, _STUDENT),
    measures=UNATTACKED,
    effects=better(_STUDENT, _SUPERVISED, "student over its teacher"),
    minutes=8,
)
NOISE_CLAIM = Claim(
    name="student-noise",
    statement="The noise matters: a student without it is worse; and unlabelled images matter beside it: labels alone "
    "with the same noise are worse.",
    paper=_PAPER,
    published="accuracy falls consistently as noise is taken away from the student (the paper's ablation)",
    ours=_OURS,
    arms=(_QUIET, _NOISY_LABELS, _STUDENT),
    measures=UNATTACKED,
    effects=(
        *better(_STUDENT, _QUIET, "student over one without noise")[:2],
        *better(_STUDENT, _NOISY_LABELS, "student over labels alone with noise")[:2],
    ),
    minutes=12,
)
ATTACKED_CLAIM = Claim(
    name="noisy-student-attacked",
    statement="Noisy Student raises accuracy under small FGSM and PGD attacks without adversarial training, and does "
    "not survive AutoAttack.",
    paper=_PAPER,
    published="ImageNet, L2, PGD-10 with eps 16/255: 1.1 to 4.4 %",
    ours=f"{_OURS}; FGSM and PGD-10 with eps 2/255 on 1,000 test images, AutoAttack with eps 0.1 on 200",
    arms=(_SUPERVISED, _STUDENT),
    measures=(
        Under((("autoattack", autoattack(THREAT)),), 200),
        Under((("fgsm", FGSM(_TINY)), ("pgd_10", PGD(_TINY, 10))), 1000),
    ),
    effects=(
        _accuracy("fgsm_accuracy", "accuracy under FGSM, student over its teacher,", _STUDENT, _SUPERVISED, 0.01),
        _accuracy("pgd_10_accuracy", "accuracy under PGD-10, student over its teacher,", _STUDENT, _SUPERVISED, 0.01),
        Effect("error of the student under AutoAttack", Term("student", "autoattack_error"), smallest=0.95),
    ),
    minutes=14,
)
TOGETHER_CLAIM = Claim(
    name="advprop-noisy-student",
    statement="AdvProp and Noisy Student add up: a student trained with AdvProp beats AdvProp alone and Noisy Student "
    "alone.",
    paper="a question that both papers leave open",
    published="no number",
    ours=f"{_OURS}; together: hard pseudo-labels, PGD-1 with eps 4/255 on the mixed batch",
    arms=(_ADVPROP, _STUDENT, _BOTH),
    measures=UNATTACKED,
    effects=(
        *better(_BOTH, _ADVPROP, "both over AdvProp")[:2],
        *better(_BOTH, _STUDENT, "both over Noisy Student")[:2],
    ),
    minutes=20,
)


def _pretrained(name: str, levels: int, remark: str) -> Claim:
    threat = ThreatModel(Linf(), levels / 255)

    def harder(of: Arm, words: str) -> Effect:
        return _accuracy(
            "pgd_10_accuracy", f"accuracy under PGD-10, {words} over standard weights,", of, _SUPERVISED, 0.02
        )

    return Claim(
        name=name,
        statement="Weights that were trained by AdvProp or by Noisy Student make a fine-tuned network harder to fool"
        f"{remark}.",
        paper="a question of older course material, on EfficientNet's published weights",
        published="no number",
        ours=f"{_OURS}; each fine-tuned in the same way on 1,438 handwritten digits enlarged to 28x28 pixels, 10 "
        f"epochs of the last layer and 10 of the network; FGSM and PGD-10 with eps {levels}/255 on 359 others",
        arms=(_SUPERVISED, _ADVPROP, _STUDENT),
        measures=(OnDigits((("fgsm", FGSM(threat)), ("pgd_10", PGD(threat, 10)))),),
        effects=(harder(_ADVPROP, "AdvProp"), harder(_STUDENT, "Noisy Student")),
        minutes=4,
    )


PRETRAINED_CLAIM = _pretrained("pretrained-weights", 12, "")
PRETRAINED_SMALL_CLAIM = _pretrained(
    "pretrained-weights-small", 4, ", measured again at a third of the eps, since at the first all were fooled"
)

register_claim(STUDENT_CLAIM, place=260)
register_claim(NOISE_CLAIM, place=270)
register_claim(ATTACKED_CLAIM, place=280)
register_claim(TOGETHER_CLAIM, place=290)
register_claim(PRETRAINED_CLAIM, place=300)
register_claim(PRETRAINED_SMALL_CLAIM, place=310)
