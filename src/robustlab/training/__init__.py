"""Training: one loop, many recipes."""

from robustlab.training.awp import AWP, awp
from robustlab.training.checkpoint import latest
from robustlab.training.crafting import Crafting, GaussianNoise
from robustlab.training.free import Free, free
from robustlab.training.loop import DivergedError, fit
from robustlab.training.optimizers import adamw, sgd, tuned
from robustlab.training.progress import progress_bar
from robustlab.training.recipes import Adversarial, Standard, adversarial, gaussian_noise, madry, standard
from robustlab.training.schedule import Constant, Cosine, OneCycle
from robustlab.training.settings import History, Progress, Settings
from robustlab.training.trades import MART, TRADES, NearPGD, mart, trades

__all__ = [
    "AWP", "MART", "TRADES", "Adversarial", "Constant", "Cosine", "Crafting", "DivergedError", "Free", "GaussianNoise",
    "History", "NearPGD", "OneCycle", "Progress", "Settings", "Standard", "adamw", "adversarial", "awp", "fit", "free",
    "gaussian_noise", "latest", "madry", "mart", "progress_bar", "sgd", "standard", "trades", "tuned",
]  # fmt: skip
