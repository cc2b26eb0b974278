"""What is attacked: a network that the sweep trains itself, or somebody's own."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import Protocol

from torch import nn

from robustlab.core import Examples, Linf, ThreatModel
from robustlab.core.content import content, titled
from robustlab.core.weights import state_of
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.network import Network, Sampled
from robustlab.studies.sweep.precision import trained_in
from robustlab.training import madry, standard
from robustlab.training.settings import Precision

IMAGES = 30_000
"""That the sweep's own networks are trained on."""


class Subject(Protocol):
    """A model under a threat."""

    @property
    def name(self) -> str:
        """In file names and tables."""

    @property
    def threat(self) -> ThreatModel:
        """What the attacks may do."""

    def essence(self) -> tuple[object, ...]:
        """What decides which model and examples these are, without opening them."""

    def opened(self, lab: Lab) -> tuple[nn.Module, Examples]:
        """The model, and examples that it was not trained on."""


@dataclass(frozen=True)
class Own:
    """A network that is trained for the sweep, on Fashion-MNIST.

    Args:
        name: in file names and tables.
        threat: what the attacks may do.
        network: what is trained.
        said: the same in words.
    """

    name: str
    threat: ThreatModel
    network: Network
    said: str

    def essence(self) -> tuple[object, ...]:
        """The definition of the network, which is trained with seed 0, and attacked on the test images."""
        return self.network, "test"

    def opened(self, lab: Lab) -> tuple[nn.Module, Examples]:
        """Trains it, unless that was done before."""
        return lab.trained(self.network).last, lab.data("test")

    def trained_in(self, precision: Precision) -> Own:
        """The same with the precision of a sweep, where its network says none of its own."""
        return replace(self, network=trained_in(self.network, precision))


@dataclass(frozen=True, eq=False)
class Given:
    """A model of somebody's own.

    Args:
        name: in file names and tables.
        threat: what the attacks may do.
        model: from inputs to logits.
        examples: that it was not trained on.
    """

    name: str
    threat: ThreatModel
    model: nn.Module
    examples: Examples

    def essence(self) -> tuple[object, ...]:
        """A hash of the weights, and what is known of the examples without reading them all."""
        known = getattr(self.examples, "sha256", "")
        return repr(self.model), weights_sha256(self.model), self.examples.name, len(self.examples), known

    def opened(self, lab: Lab) -> tuple[nn.Module, Examples]:
        """They are there."""
        return self.model.to(lab.place()), self.examples


def weights_sha256(model: nn.Module) -> str:
    """SHA-256 of all weights and buffers with their names."""
    found = hashlib.sha256()
    for name, value in state_of(model).items():
        found.update(titled(name, value).encode())
        for piece in content(value, name):
            found.update(piece)
    return found.hexdigest()


_ROBUST_THREAT = ThreatModel(Linf(), 0.1)
SUBJECTS = (
    Own(
        "standard",
        ThreatModel(Linf(), 0.05),
        Network(standard(), Sampled(IMAGES), epochs=2),
        "a BatchNorm CNN, 2 epochs of standard training on 30,000 images of Fashion-MNIST",
    ),
    Own(
        "robust",
        _ROBUST_THREAT,
        Network(madry(_ROBUST_THREAT, norm_mode="eval"), Sampled(IMAGES), epochs=2),
        "the same network, trained with PGD-7 at eps 0.1",
    ),
)
"""The networks that the committed results speak of."""
