"""Training: one loop, many recipes."""

from robustlab.training.checkpoint import latest
from robustlab.training.loop import DivergedError, fit
from robustlab.training.optimizers import adamw, sgd, tuned
from robustlab.training.progress import progress_bar
from robustlab.training.recipes import Adversarial, Standard, adversarial, standard
from robustlab.training.schedule import Constant, Cosine, OneCycle
from robustlab.training.settings import History, Progress, Settings

__all__ = [
    "Adversarial", "Constant", "Cosine", "DivergedError", "History", "OneCycle", "Progress", "Settings", "Standard",
    "adamw", "adversarial", "fit", "latest", "progress_bar", "sgd", "standard", "tuned",
]  # fmt: skip
