"""FGSM training lowers the error under FGSM."""

from __future__ import annotations

from robustlab.attacks import FGSM
from robustlab.core import Recipe
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.claims.common import THREAT, N, weak_and_strong
from robustlab.training import adamw, adversarial, standard


def _maxout(recipe: Recipe) -> Network:
    architecture = "robustlab.studies.claims.networks:maxout"
    return Network(recipe, architecture=architecture, epochs=5, optimizer=adamw(1e-3), precision="fp32")


CLAIM = Claim(
    name="fgsm-training",
    statement="Training half on FGSM examples lowers the error under FGSM by a large factor.",
    paper="Goodfellow, Shlens, Szegedy, Explaining and Harnessing Adversarial Examples, ICLR 2015, section 6",
    published="MNIST, maxout, eps 0.25: error under FGSM from 89.4 % to 17.9 %, a factor of 5.0",
    ours="Fashion-MNIST, eps 0.1, the maxout network without dropout, 5 epochs of AdamW, half of the loss on FGSM "
    "examples; PGD-50 is measured as well, as FGSM alone says little",
    arms=(
        Arm("standard", _maxout(standard())),
        Arm("fgsm-trained", _maxout(adversarial(FGSM(THREAT), mix=0.5))),
    ),
    measures=(Under(weak_and_strong(), N),),
    effects=(
        Effect(
            "error under FGSM, standard over FGSM-trained,",
            Term("standard", "fgsm_error"),
            Term("fgsm-trained", "fgsm_error"),
            smallest=2.0,
            ratio=True,
        ),
    ),
    minutes=4,
)

register_claim(CLAIM, place=20)
