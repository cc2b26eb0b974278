"""Graph regularization with ImageNet features, added to few labels."""

from __future__ import annotations

from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.graphs import WithGraph
from robustlab.studies.claim_engine.measures import Clean
from robustlab.studies.claims.vat_few_labels import few_labels, supervised, virtual


def _beside(labels: int) -> Arm:
    return Arm(f"graph-{labels}", few_labels(labels, WithGraph()))


def _better(labels: int, over: str, smallest: float) -> Effect:
    terms = Term(f"{over}-{labels}", "clean_error"), Term(f"graph-{labels}", "clean_error")
    name = "VAT" if over == "vat" else over
    return Effect(f"error with {labels} labels, {name} over graph,", *terms, smallest=smallest)


CLAIM = Claim(
    name="graph-few-labels",
    statement="With 100 and with 1,000 labels, a graph of all training images by features of another network beats "
    "supervised training, and it beats virtual adversarial training.",
    paper="Bui, Ravi, Ramavajjala, Neural Graph Learning, WSDM 2018, and the library Neural Structured Learning",
    published="no number on images with few labels that could be compared",
    ours="Fashion-MNIST, shallow CNN, about 2,000 updates; 32 labelled images with 128 unlabelled of all 60,000 in a "
    "step, each with 3 neighbours at most; the graph joins images whose features in EfficientNet-Lite0 (ImageNet "
    "weights, 56x56 pixels) have a cosine of 0.5 or more, so that it knows what the other arms do not; threshold and "
    "multiplier (1) were chosen with one other seed; 10,000 test images",
    arms=tuple(arm(labels) for labels in (100, 1000) for arm in (supervised, virtual, _beside)),
    measures=(Clean(10_000),),
    effects=(
        _better(100, "supervised", 0.02),
        _better(1000, "supervised", 0.01),
        _better(100, "vat", 0.02),
        _better(1000, "vat", 0.0),
    ),
    minutes=12,
)

register_claim(CLAIM, place=150)
