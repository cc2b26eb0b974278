"""FGSM fools even a linear classifier, which is confident of its mistakes."""

from __future__ import annotations

from robustlab.attacks import FGSM
from robustlab.core import Linf, ThreatModel
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claim_engine.network import Network
from robustlab.training import adamw, standard

_HERE = "robustlab.studies.claims.networks"

CLAIM = Claim(
    name="fgsm-fools-linear-and-maxout",
    statement="One step along the sign of the gradient fools a linear and a maxout network, which are sure of it.",
    paper="Goodfellow, Shlens, Szegedy, Explaining and Harnessing Adversarial Examples, ICLR 2015, section 4",
    published="MNIST, eps 0.25: softmax 99.9 % error at 79.3 % confidence, maxout 89.4 % at 97.6 %",
    ours="Fashion-MNIST, eps 0.25; softmax regression and a maxout network without dropout, 5 epochs of AdamW; 10,000 "
    "test images; the error counts what was wrong before, the confidence is over those that were fooled",
    arms=tuple(
        Arm(
            name, Network(standard(), architecture=f"{_HERE}:{name}", epochs=5, optimizer=adamw(1e-3), precision="fp32")
        )
        for name in ("linear", "maxout")
    ),
    measures=(Under((("fgsm", FGSM(ThreatModel(Linf(), 0.25))),), 10_000),),
    effects=(
        Effect("error of the linear network under FGSM", Term("linear", "fgsm_error"), smallest=0.9),
        Effect("its confidence in the wrong class", Term("linear", "fgsm_confidence"), smallest=0.7),
        Effect("error of the maxout network under FGSM", Term("maxout", "fgsm_error"), smallest=0.8),
        Effect("its confidence in the wrong class", Term("maxout", "fgsm_confidence"), smallest=0.8),
    ),
    minutes=2,
)

register_claim(CLAIM, place=10)
