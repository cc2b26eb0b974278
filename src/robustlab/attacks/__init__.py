"""Adversarial attacks: values that map inputs to adversarial inputs and leave no trace."""

from robustlab.attacks.apgd import APGD, APGDT
from robustlab.attacks.expectation import EOT
from robustlab.attacks.fab import FAB, FABT
from robustlab.attacks.maximise import at_input, maximise, uniform
from robustlab.attacks.parts import at_eps, threat_of
from robustlab.attacks.pgd import BIM, FGSM, MIFGSM, PGD, OptimizerPGD, RandomNoise
from robustlab.attacks.registry import ATTACKS, AttackSpec, attack_spec, make_attack
from robustlab.attacks.square import Square
from robustlab.attacks.steps import SGD, Adagrad, Adam, Optimizer, RMSprop, Step, momentum, steepest
from robustlab.attacks.suite import AutoAttack, autoattack
from robustlab.attacks.torch_optimizer import TorchOptimizer
from robustlab.attacks.tracing import Trace, TraceRow, trace
from robustlab.attacks.transfer import StraightThrough, Transfer
from robustlab.attacks.uint8 import Uint8
from robustlab.attacks.virtual import VirtualAdversarial, random_direction, virtual_direction
from robustlab.attacks.wrappers import Restarts, Targeted, WorstOf

__all__ = [
    "APGD",
    "APGDT",
    "ATTACKS",
    "BIM",
    "EOT",
    "FAB",
    "FABT",
    "FGSM",
    "MIFGSM",
    "PGD",
    "SGD",
    "Adagrad",
    "Adam",
    "AttackSpec",
    "AutoAttack",
    "Optimizer",
    "OptimizerPGD",
    "RMSprop",
    "RandomNoise",
    "Restarts",
    "Square",
    "Step",
    "StraightThrough",
    "Targeted",
    "TorchOptimizer",
    "Trace",
    "TraceRow",
    "Transfer",
    "Uint8",
    "VirtualAdversarial",
    "WorstOf",
    "at_eps",
    "at_input",
    "attack_spec",
    "autoattack",
    "make_attack",
    "maximise",
    "momentum",
    "random_direction",
    "steepest",
    "threat_of",
    "trace",
    "uniform",
    "virtual_direction",
]  # fmt: skip
