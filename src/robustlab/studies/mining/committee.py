"""Networks for small images: three that vote, and two of other kinds without a vote."""

from __future__ import annotations

from robustlab.studies.claim_engine.network import Network
from robustlab.training import adamw, sgd, standard


def network(architecture: str, *, epochs: int | None = None) -> Network:
    """Training of a network on each fold: standard, on the unmodified images.

    Args:
        architecture: a name for ``models.load``.
        epochs: passes over the data; None: 8 for the shallow CNN, 10 for the mixer of patches, 6 for others.
    """
    by_adam = {"shallow-cnn": (8, 4e-3), "patch-mixer": (10, 3e-3)}
    if architecture in by_adam:
        usual, rate = by_adam[architecture]
        return Network(
            standard(), architecture=architecture, epochs=epochs or usual, optimizer=adamw(rate), precision="bf16"
        )
    return Network(standard(), architecture=architecture, epochs=epochs or 6, optimizer=sgd(0.1), precision="bf16")


COMMITTEE = ("shallow-cnn", "batchnorm-cnn", "residual-cnn")
HELD_OUT = ("inverted-cnn", "patch-mixer")
