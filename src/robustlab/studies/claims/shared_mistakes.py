"""Natural adversarial examples: confident mistakes of one network are mistakes of another."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.corruption_measures import OnMistakesOf
from robustlab.studies.claim_engine.network import Half, Network
from robustlab.training import sgd, standard

_OTHER = Network(standard(), Half(), epochs=6, optimizer=sgd(0.1), precision="bf16")


def _arm(name: str, *, other: bool) -> Arm:
    data = Half(other=other)
    return Arm(
        name, Network(standard(), data, architecture="residual-cnn", epochs=6, optimizer=sgd(0.1), precision="bf16")
    )


_SAME, _APART = _arm("same-images", other=False), _arm("other-images", other=True)
_MEASURES = (OnMistakesOf(_OTHER, 10_000),)
_OURS = (
    "Fashion-MNIST, 30,000 training images each, 6 epochs in bf16; a residual CNN on the test images that a BatchNorm "
    "CNN gets wrong with a probability of 0.5 or more; all 10,000 test images"
)

TRANSFER = Claim(
    name="shared-mistakes",
    statement="Networks of other architecture that share a training set share natural adversarial examples.",
    paper="Hendrycks, Zhao, Basart, Steinhardt, Song, Natural Adversarial Examples, CVPR 2021, section 4",
    published="ImageNet-A, chosen with ResNet-50: DenseNet-121 has about 2 % accuracy there",
    ours=_OURS,
    arms=(_SAME,),
    measures=_MEASURES,
    effects=(
        Effect(
            "error on the other network's mistakes over error on all images, a ratio,",
            Term("same-images", "shared_error"),
            Term("same-images", "clean_error"),
            smallest=3.0,
            ratio=True,
        ),
    ),
    minutes=3,
)
CAUSE = Claim(
    name="shared-images",
    statement="Networks share more natural adversarial examples if they share their training set than if not.",
    paper="a question that Natural Adversarial Examples (CVPR 2021) leaves open: all its networks share ImageNet",
    published="no number",
    ours=f"{_OURS}; one residual CNN learned from the same 30,000 images, the other from the other 30,000",
    arms=(_SAME, _APART),
    measures=_MEASURES,
    effects=(
        Effect(
            "error on the other network's mistakes, same over other training images,",
            Term("same-images", "shared_error"),
            Term("other-images", "shared_error"),
            smallest=0.01,
        ),
    ),
    minutes=5,
)

register_claim(TRANSFER, place=190)
register_claim(CAUSE, place=200)
