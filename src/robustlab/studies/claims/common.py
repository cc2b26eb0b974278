"""Threat models, attacks and networks of several claims."""

from __future__ import annotations

from robustlab.attacks import FGSM, PGD
from robustlab.core import Attack, Linf, ThreatModel
from robustlab.studies.claim_engine.network import Network, Sampled
from robustlab.training import Cosine, adversarial, madry, standard

EPS, LARGE = 0.1, 0.2
"""Budgets on Fashion-MNIST: about as hard as 8/255 on CIFAR-10; and twice that."""
THREAT, LARGE_THREAT = ThreatModel(Linf(), EPS), ThreatModel(Linf(), LARGE)
N = 5000
"""Test images for attacks of up to 50 steps."""

PGD_TRAINED = Network(madry(THREAT, bn_mode="eval"), epochs=4, precision="bf16")
OVERFITTED = Network(
    madry(THREAT, bn_mode="eval"),
    Sampled(5000),
    epochs=40,
    schedule=Cosine(),
    watch=PGD(THREAT, 10),
    precision="bf16",
)
"""A network of few images and many epochs, which shows robust overfitting within minutes."""
FGSM_TRAINED_LARGE = Network(adversarial(FGSM(LARGE_THREAT), eps_warmup=0.3), epochs=4, precision="bf16")

FEW = 20_000
"""Training images of claims that look into a network rather than measure its accuracy: a third."""
PLAIN_FEW = Network(standard(), Sampled(FEW), epochs=4)
ROBUST_FEW = Network(madry(THREAT, bn_mode="eval"), Sampled(FEW), epochs=4)


def weak_and_strong(threat: ThreatModel = THREAT) -> tuple[tuple[str, Attack], ...]:
    """FGSM and PGD-50, by the names that metrics use."""
    return (("fgsm", FGSM(threat)), ("pgd_50", PGD(threat, 50)))
