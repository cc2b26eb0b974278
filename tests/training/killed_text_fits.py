"""An adversarial training on texts, in a process of its own that ends itself by a signal after an epoch.

Arguments: directory, epoch after which the process is killed; 0: never.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import numpy as np

from robustlab.data import Sentences
from robustlab.models import WordCNN, word_cnn
from robustlab.runs.progress import Progress
from robustlab.text import Greedy, TextRecipe, Untargeted
from robustlab.text.transformations import SwapNeighbours
from robustlab.training import AdversarialTexts, Settings, adamw, fit, tokens

GOOD, BAD = ("good", "great", "fine", "warm"), ("bad", "dull", "poor", "cold")
TEXTS = tuple(f"a {one} and {two} film" for words in (GOOD, BAD) for one in words for two in words)
DATA = Sentences(TEXTS, np.repeat([1, 0], 16), np.arange(32), ("negative", "positive"), "toy films")
TYPOS = TextRecipe("toy typos", Untargeted(), (SwapNeighbours(),), (), Greedy())
EPOCHS = 5


def recipe(**more: float) -> AdversarialTexts:
    """The recipe of the tests."""
    return AdversarialTexts(TYPOS, DATA, **{"epochs": EPOCHS, "fraction": 0.5, **more})  # type: ignore[arg-type]


def trained(out: Path | None, killed: int = 0) -> WordCNN:
    """A small word CNN after the training."""
    model = word_cnn(TEXTS, seed=1)
    settings = Settings(epochs=EPOCHS, batch_size=8, optimizer=adamw(0.01), device="cpu", resume=True)

    def kill(progress: Progress) -> None:
        if progress.summary is not None and progress.summary["epoch"] == killed:
            os.kill(os.getpid(), signal.SIGKILL)

    fit(model, recipe(), tokens(model, DATA), settings, out=out, progress=kill)
    return model


if __name__ == "__main__":
    trained(Path(sys.argv[1]), int(sys.argv[2]))
