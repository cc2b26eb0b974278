"""PGD training resists attacks that it was not trained on."""

from __future__ import annotations

from robustlab.attacks import PGD, autoattack
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.measures import Under
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.claims.common import PGD_TRAINED, THREAT
from robustlab.training import standard

CLAIM = Claim(
    name="pgd-training-holds",
    statement="A network trained with PGD holds against longer PGD and against AutoAttack, a standard one does not.",
    paper="Madry et al., Towards Deep Learning Models Resistant to Adversarial Attacks, ICLR 2018, section 5",
    published="CIFAR-10, eps 8/255: 87.3 % clean, 45.8 % under PGD-20; 44.04 % under AutoAttack (RobustBench), where a "
    "standard network has 0.0 %",
    ours="Fashion-MNIST, eps 0.1, BatchNorm CNN in bf16, 4 epochs of PGD-7 training; 200 test images",
    arms=(Arm("standard", Network(standard(), epochs=4, precision="bf16")), Arm("pgd-trained", PGD_TRAINED)),
    measures=(Under((("pgd_50", PGD(THREAT, 50)), ("autoattack", autoattack(THREAT))), 200),),
    effects=(
        Effect(
            "accuracy under AutoAttack, PGD-trained over standard,",
            Term("pgd-trained", "autoattack_accuracy"),
            Term("standard", "autoattack_accuracy"),
            smallest=0.4,
        ),
        Effect(
            "accuracy of the PGD-trained network, under AutoAttack over PGD-50,",
            Term("pgd-trained", "autoattack_accuracy"),
            Term("pgd-trained", "pgd_50_accuracy"),
            smallest=-0.05,
        ),
    ),
    minutes=11,
)

register_claim(CLAIM, place=60)
