"""Virtual adversarial training: unlabelled images in addition to few labels."""

from __future__ import annotations

from robustlab.core import L2, Recipe, ThreatModel
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Clean
from robustlab.studies.claim_engine.network import Balanced, Network, Planned
from robustlab.training import adamw, standard, vat

_BATCH = 32


def supervised(labels: int) -> Arm:
    """A network trained on the labels alone."""
    return Arm(f"supervised-{labels}", few_labels(labels, standard()))


def virtual(labels: int) -> Arm:
    """A network trained on labels and unlabelled images."""
    return Arm(f"vat-{labels}", few_labels(labels, vat(ThreatModel(L2(), 2.5)), unlabelled=4))


def few_labels(labels: int, recipe: Recipe | Planned, *, unlabelled: int = 0) -> Network:
    """Epochs of about 2,000 updates for any number of labels."""
    return Network(
        recipe,
        Balanced(labels // 10),
        architecture="shallow-cnn",
        epochs=2000 // -(-labels // _BATCH),
        batch_size=_BATCH,
        optimizer=adamw(1e-3),
        unlabelled=unlabelled,
        precision="fp32",
    )


def _better(labels: int, smallest: float) -> Effect:
    of, over = Term(f"supervised-{labels}", "clean_error"), Term(f"vat-{labels}", "clean_error")
    return Effect(f"error with {labels} labels, supervised over VAT,", of, over, smallest=smallest)


CLAIM = Claim(
    name="vat-few-labels",
    statement="With 100 and with 1,000 labels, virtual adversarial training on unlabelled images beats supervised "
    "training.",
    paper="Miyato, Maeda, Koyama, Ishii, Virtual Adversarial Training, TPAMI 2019",
    published="CIFAR-10, 4,000 labels with augmentation: 11.36 % error (10.55 % with entropy minimisation)",
    ours="Fashion-MNIST, shallow CNN, about 2,000 updates; 32 labelled images with 128 unlabelled of all 60,000 in a "
    "step; L2 eps 2.5 in pixels, the better of 1 and 2.5 with one other seed; no entropy term; "
    "10,000 test images",
    arms=tuple(arm(labels) for labels in (100, 1000) for arm in (supervised, virtual)),
    measures=(Clean(10_000),),
    effects=(_better(100, 0.02), _better(1000, 0.01)),
    minutes=8,
)

register_claim(CLAIM, place=130)
