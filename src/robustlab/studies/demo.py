"""The demo: one network trained in three ways, attacked in three ways, side by side in one report."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import combinations
from pathlib import Path
from typing import Literal, TypeAlias

import torch
from torch import nn

from robustlab import training
from robustlab.attacks import FGSM, PGD, Targeted
from robustlab.core import Attack, Examples, Linf, Recipe, ThreatModel
from robustlab.core.kinds import typed
from robustlab.data import load, sample
from robustlab.evaluation import Comparison, Evaluation, Settings, compare, evaluate
from robustlab.models import load as load_model
from robustlab.models import save
from robustlab.report import write
from robustlab.runs.progress import Progress, Report

Budget: TypeAlias = Literal["full", "quick"]
EPS = 0.1
THREAT = ThreatModel(Linf(), EPS)
"""Threat model of the robust networks, and of the headline of the report."""


@dataclass(frozen=True)
class Size:
    """Size of the demo.

    Args:
        images: for training; None: all.
        epochs: passes over them, for each network.
        batch_size: of training.
        eps: of the security curve.
    """

    images: int | None
    epochs: int
    batch_size: int
    eps: tuple[float, ...]


SIZES: dict[Budget, Size] = {
    "full": Size(None, 3, 128, (0.01, 0.02, 0.05, 0.1, 0.15, 0.2)),
    "quick": Size(10_000, 2, 128, (0.02, 0.1)),
}
LEARNING_RATE = 4e-3


@dataclass(frozen=True)
class Demo:
    """Result of the demo.

    Args:
        report: the HTML page.
        evaluations: of the networks, in the order of the page.
        comparisons: of each pair of them.
        eps: of the headline.
    """

    report: Path
    evaluations: tuple[Evaluation, ...]
    comparisons: tuple[Comparison, ...]
    eps: float


@typed
def demo(
    out: str | Path = "runs/demo",
    *,
    seed: int = 0,
    n: int = 1000,
    budget: Budget = "full",
    device: str = "auto",
    progress: Report | None = None,
) -> Demo:
    """Trains the shallow CNN on Fashion-MNIST as usual and adversarially, attacks all, and writes a report.

    The networks: standard training; adversarial training with FGSM from a random start (Wong et al. 2020); with PGD
    (Madry et al. 2018). The attacks: FGSM, PGD-40, and PGD-40 towards a random wrong class. Without Fashion-MNIST,
    scikit-learn's digits take its place, with a warning that lists the sources that were tried.

    Args:
        out: directory; an unfinished demo in it is resumed.
        seed: of weights, training, subset and attacks.
        n: number of test images, a simple random sample.
        budget: "full" trains on everything; "quick" is for first trials and for tests.
        device: "auto" takes the accelerator if there is one; or its name, or "cpu".
        progress: called with the progress of each part.

    Returns: the path of the report, and its evaluations.

    Raises: RunError if the directory holds another demo, or cannot be written.
    """
    if budget not in SIZES:
        raise ValueError(f"the demo has the budgets {', '.join(SIZES)}, not {budget!r}")
    report, size, home = progress or _silent, SIZES[budget], Path(out)
    train, test = (_fetched(split, report) for split in ("train", "test"))
    examples = train if size.images is None or size.images >= len(train) else sample(train, size.images, seed=seed)
    results = []
    for name, recipe in recipes().items():
        fitting = training.Settings(
            size.epochs, size.batch_size, training.adamw(LEARNING_RATE), seed=seed, device=device, resume=True
        )
        model = _trained(name, recipe, examples, fitting, home / "models" / name, report)
        settings = Settings(seed=seed, name=name, keep="gallery", progress=partial(_measuring, report, name))
        run = home / "runs" / name
        results.append(
            evaluate(model, test, attacks=attacks(), eps=size.eps, n=min(n, len(test)), out=run, settings=settings)
        )
    pairs = tuple(found for a, b in combinations(results, 2) for found in compare(a, b))
    return Demo(write(results, home, comparisons=pairs, eps=EPS), tuple(results), pairs, EPS)


def recipes() -> dict[str, Recipe]:
    """Recipes of the networks, by their name in the report."""
    return {
        "standard": training.standard(),
        "FGSM-trained": training.adversarial(FGSM(THREAT, step_size=1.25 * EPS, random_start=True)),
        "PGD-trained": training.adversarial(PGD(THREAT, steps=3, step_size=0.06)),
    }


def attacks() -> list[Attack]:
    """Attacks on all networks."""
    return [FGSM(THREAT), PGD(THREAT, steps=40), Targeted(PGD(THREAT, steps=40))]


def _fetched(split: str, report: Report) -> Examples:
    """Fashion-MNIST, from the cache or from one of its sources."""
    return load("fashion-mnist", split=split, fallback=True, progress=report)


def _trained(
    name: str, recipe: Recipe, examples: Examples, settings: training.Settings, out: Path, report: Report
) -> nn.Module:
    """A network trained from the seed, or resumed from an earlier session."""
    model = load_model("shallow-cnn", classes=len(examples.classes), seed=settings.seed)
    training.fit(model, recipe, examples, settings, out=out, progress=partial(_training, report, name))
    save(model, out / "model.safetensors")
    found = torch.accelerator.current_accelerator(check_available=True) if settings.device == "auto" else None
    return model.to(found or (settings.device if settings.device != "auto" else "cpu"))


def _training(report: Report, name: str, at: Progress) -> None:
    if at.summary is None:  # the last step of an epoch was reported before its summary
        report(at._replace(task=f"train {name}"))


def _measuring(report: Report, name: str, at: Progress) -> None:
    report(at._replace(task=f"attack {name}"))


def _silent(at: Progress) -> None:
    """Shows nothing."""
