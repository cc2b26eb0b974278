"""Training: one loop, many recipes."""

from robustlab.training.checkpoint import latest
from robustlab.training.crafting import Crafting, GaussianNoise
from robustlab.training.feature_cache import Features, cached_features
from robustlab.training.finetune import FineTuned, Plan, finetune
from robustlab.training.groups import Group, layer_groups, new_head
from robustlab.training.held_out import HeldOut
from robustlab.training.loop import fit
from robustlab.training.optimizers import adamw, sgd, tuned
from robustlab.training.perturbed_once import perturbed_once
from robustlab.training.pseudo_labels import PseudoLabelled, PseudoLabels, pseudo_labels
from robustlab.training.recipes.adversarial_text import AdversarialTexts
from robustlab.training.recipes.advprop import AdvProp, advprop
from robustlab.training.recipes.augment import Augmented, AugMix, RandAugment, augmented
from robustlab.training.recipes.augmix import Consistent, augmix
from robustlab.training.recipes.awp import AWP, awp
from robustlab.training.recipes.corrupted import Corrupted, corrupted
from robustlab.training.recipes.cross_entropy import Adversarial, Standard, adversarial, gaussian_noise, madry, standard
from robustlab.training.recipes.fast_advprop import FastAdvProp, fast_advprop
from robustlab.training.recipes.free import Free, free
from robustlab.training.recipes.noisy_student import NoisyStudent, Unnoised, noisy_student, unnoised
from robustlab.training.recipes.options import Budget, Option
from robustlab.training.recipes.registry import register_recipe
from robustlab.training.recipes.single_step import GradAlign, OverfittingAlarm, fast, grad_align, overfitting_alarm
from robustlab.training.recipes.smooth import SmoothIn, smooth_adversarial, smooth_in
from robustlab.training.recipes.trades import MART, TRADES, NearPGD, mart, trades
from robustlab.training.recipes.virtual import VAT, Unlabelled, vat
from robustlab.training.schedule import Constant, Cosine, Cyclic, MultiStep, OneCycle
from robustlab.training.self_training import SelfTrained, SelfTraining, self_train
from robustlab.training.settings import History, Settings
from robustlab.training.texts import accuracy_on, tokens
from robustlab.training.trackers import combined, mlflow, tensorboard, trackers
from robustlab.training.update import DivergedError

__all__ = [
    "AWP", "MART", "TRADES", "VAT", "AdvProp", "Adversarial",
    "AdversarialTexts", "AugMix", "Augmented", "Budget", "Consistent", "Constant",
    "Corrupted", "Cosine", "Crafting", "Cyclic", "DivergedError", "FastAdvProp", "Features", "FineTuned", "Free",
    "GaussianNoise", "GradAlign", "Group", "HeldOut", "History", "MultiStep", "NearPGD", "NoisyStudent", "OneCycle",
    "Option",
    "OverfittingAlarm", "Plan", "PseudoLabelled", "PseudoLabels", "RandAugment", "SelfTrained",
    "SelfTraining", "Settings", "SmoothIn", "Standard", "Unlabelled", "Unnoised", "accuracy_on", "adamw",
    "adversarial", "advprop",
    "augmented", "augmix", "awp", "cached_features", "combined",
    "corrupted", "fast", "fast_advprop", "finetune", "fit", "free",
    "gaussian_noise", "grad_align", "latest", "layer_groups", "madry", "mart", "mlflow", "new_head",
    "noisy_student", "overfitting_alarm", "perturbed_once", "pseudo_labels", "register_recipe",
    "self_train", "sgd",
    "smooth_adversarial", "smooth_in", "standard", "tensorboard", "tokens", "trackers", "trades", "tuned",
    "unnoised", "vat",
]  # fmt: skip
