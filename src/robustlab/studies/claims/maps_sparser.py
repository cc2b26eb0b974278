"""Maps of adversarially trained networks are sparser and more stable."""

from __future__ import annotations

from robustlab.explain import IntegratedGradients
from robustlab.explain.numbers import AttackInstability, NoiseInstability, Sparsity
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.map_measures import OfMaps
from robustlab.studies.claim_engine.measures import Clean
from robustlab.studies.claims.common import PLAIN_FEW, ROBUST_FEW

CLAIM = Claim(
    name="maps-sparser-and-stabler",
    statement="The maps of a network that was trained with PGD are sparser than those of a standard one, and change "
    "less under noise and under attack.",
    paper="Chalasani, Chen, Chowdhury, Jha, Wu, Concise Explanations of Neural Networks using Adversarial Training, "
    "ICML 2020, section 5",
    published="CIFAR-10, MNIST and Fashion-MNIST, integrated gradients: adversarial training raises the Gini index, "
    "most of all on MNIST (figures, no number)",
    ours="Fashion-MNIST, Linf eps 0.1, BatchNorm CNN, 4 epochs of 20,000 images, with PGD-7 or without; Gini index of "
    "integrated gradients (20 steps from black) over 300 test images; cosine distance of gradients under normal noise "
    "of 0.1 over 300, and under an attack of Linf eps 0.05 and 20 steps at the same prediction over 100",
    arms=(Arm("standard", PLAIN_FEW), Arm("pgd-trained", ROBUST_FEW)),
    measures=(
        Clean(1000),
        OfMaps((("sparsity", Sparsity()),), 300, IntegratedGradients(20)),
        OfMaps((("gradient_sparsity", Sparsity()), ("noise_instability", NoiseInstability())), 300),
        OfMaps((("attack_instability", AttackInstability(0.05)),), 100),
    ),
    effects=(
        Effect(
            "Gini index of integrated gradients, PGD-trained over standard,",
            Term("pgd-trained", "sparsity"),
            Term("standard", "sparsity"),
            smallest=0.02,
        ),
        Effect(
            "change of the gradient under noise, standard over PGD-trained,",
            Term("standard", "noise_instability"),
            Term("pgd-trained", "noise_instability"),
            smallest=0.1,
        ),
        Effect(
            "change of the gradient under attack, standard over PGD-trained,",
            Term("standard", "attack_instability"),
            Term("pgd-trained", "attack_instability"),
            smallest=0.1,
        ),
    ),
    minutes=3,
    seeds=6,
)

register_claim(CLAIM, place=440)
