"""The networks that judge small images: three that choose, and one of another kind that does not."""

from __future__ import annotations

from robustlab.studies.claims.network import Network
from robustlab.training import adamw, sgd, standard


def network(architecture: str, *, epochs: int | None = None) -> Network:
    """How a network is trained on each fold: as usual, on the images as they are.

    Args:
        architecture: as ``models.load`` takes it.
        epochs: passes over the data; None: 8 for the shallow CNN, 6 for others.
    """
    if architecture == "shallow-cnn":
        return Network(standard(), architecture=architecture, epochs=epochs or 8, optimizer=adamw(4e-3))
    return Network(standard(), architecture=architecture, epochs=epochs or 6, optimizer=sgd(0.1))


COMMITTEE = ("shallow-cnn", "batchnorm-cnn", "residual-cnn")
HELD_OUT = ("inverted-cnn",)
