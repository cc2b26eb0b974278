"""The networks that judge small images: three that choose, and two of other kinds that do not."""

from __future__ import annotations

from robustlab.studies.claim_engine.network import Network
from robustlab.training import adamw, sgd, standard


def network(architecture: str, *, epochs: int | None = None) -> Network:
    """How a network is trained on each fold: as usual, on the images as they are.

    Args:
        architecture: as ``models.load`` takes it.
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
