"""Subjects of attacks: a network trained by the sweep, or the user's own."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Protocol

from torch import nn

from robustlab.core import Examples, Linf, ThreatModel
from robustlab.runs.identity import v1_of_sweeps
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.network import Network, Sampled
from robustlab.studies.sweep.precision import trained_in
from robustlab.training import madry, standard
from robustlab.training.settings import Precision

IMAGES = 30_000
"""Training set of the sweep's own networks."""


class Subject(Protocol):
    """A model under a threat."""

    @property
    def name(self) -> str:
        """Name in files and tables."""

    @property
    def threat(self) -> ThreatModel:
        """Threat model of the attacks."""

    def essence(self) -> tuple[object, ...]:
        """Identity of model and examples, without loading them."""

    def opened(self, lab: Lab) -> tuple[nn.Module, Examples]:
        """The model, and examples outside its training set."""


@dataclass(frozen=True)
class Own:
    """A network trained for the sweep, on Fashion-MNIST.

    Args:
        name: in file names and tables.
        threat: of the attacks.
        network: definition of the training.
        description: of the network.
    """

    name: str
    threat: ThreatModel
    network: Network
    description: str

    def essence(self) -> tuple[object, ...]:
        """The definition of the network, trained with seed 0 and attacked on the test images."""
        return self.network, "test"

    def opened(self, lab: Lab) -> tuple[nn.Module, Examples]:
        """Trains the network, unless it is trained already."""
        return lab.trained(self.network).last, lab.data("test")

    def trained_in(self, precision: Precision) -> Own:
        """The same with the precision of a sweep, unless its network has its own."""
        return replace(self, network=trained_in(self.network, precision))


@dataclass(frozen=True, eq=False)
class Given:
    """The user's own model.

    Args:
        name: in file names and tables.
        threat: of the attacks.
        model: from inputs to logits.
        examples: outside its training set.
    """

    name: str
    threat: ThreatModel
    model: nn.Module
    examples: Examples

    def essence(self) -> tuple[object, ...]:
        """A hash of the weights, and the identity of the examples without reading them all."""
        known = getattr(self.examples, "sha256", "")
        return repr(self.model), v1_of_sweeps(self.model), self.examples.name, len(self.examples), known

    def opened(self, lab: Lab) -> tuple[nn.Module, Examples]:
        """The given model and examples."""
        return self.model.to(lab.place()), self.examples


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
        Network(madry(_ROBUST_THREAT, bn_mode="eval"), Sampled(IMAGES), epochs=2),
        "the same network, trained with PGD-7 at eps 0.1",
    ),
)
"""The networks that the committed results speak of."""
