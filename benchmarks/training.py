"""Time of adversarial training: against a plain hand-written loop and ART's trainer, and recipe by recipe.

    python -m benchmarks.training [--repeats 3] [--part loops recipes] [--only pgd fast]

The plain loop is what people write: the model in training mode throughout, ordinary memory layout, one
``autograd.grad`` to the input per attack step, SGD with momentum. Ours is ``robustlab.training.fit``, all included.
What is measured of the recipes is kept in ``runs/benchmarks/rates.json``, from which ``time_to_robustness`` knows how
much each can do in a given time.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.networks import KEPT
from benchmarks.recipes import BATCH, DESCRIPTIONS, PRECISIONS, RECIPES, THREAT, Precision
from benchmarks.timing import Work, interleaved, machine, table
from robustlab import data
from robustlab.attacks import FGSM, PGD
from robustlab.core import Attack, Recipe
from robustlab.data import InMemory
from robustlab.models import BatchNormCNN
from robustlab.training import Settings, adversarial, fit, sgd

RATES = KEPT / "rates.json"
SECONDS = 1.0
"""Rough time of one timed run of a recipe."""


def sgd_of(model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer of all trainings."""
    return torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)


def plain(x: Tensor, y: Tensor, *, steps: int, step_size: float) -> Work:
    """One epoch over the data by a loop written by hand."""

    def epoch() -> None:
        model = BatchNormCNN().train()
        optimizer = sgd_of(model)
        for images, labels in zip(x.split(BATCH), y.split(BATCH), strict=True):
            x_adv = (images + torch.empty_like(images).uniform_(-0.1, 0.1)).clamp(0, 1)
            for _ in range(steps):
                leaf = x_adv.detach().requires_grad_()
                (grad,) = torch.autograd.grad(F.cross_entropy(model(leaf), labels), leaf)
                moved = leaf.detach() + step_size * grad.sign()
                x_adv = torch.minimum(torch.maximum(moved, images - 0.1), images + 0.1).clamp(0, 1)
            loss = F.cross_entropy(model(x_adv), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return epoch


def art(x: Tensor, y: Tensor, *, steps: int, step_size: float) -> Work:
    """One epoch by ART's trainer after Madry's protocol."""
    from art.defences.trainer import AdversarialTrainerMadryPGD
    from art.estimators.classification import PyTorchClassifier

    images, labels = x.numpy(), np.eye(10, dtype=np.float32)[y.numpy()]

    def epoch() -> None:
        model = BatchNormCNN()
        shape, clip = tuple(x.shape[1:]), (0.0, 1.0)
        classifier = PyTorchClassifier(model, nn.CrossEntropyLoss(), shape, 10, sgd_of(model), clip_values=clip)
        trainer = AdversarialTrainerMadryPGD(classifier, 1, BATCH, 0.1, step_size, steps)
        trainer.fit(images, labels)

    return epoch


def ours(examples: InMemory, recipe: Recipe, precision: Precision = "fp32") -> Work:
    """One epoch by the library."""
    settings = Settings(epochs=1, batch_size=BATCH, optimizer=sgd(0.1), precision=precision)
    return lambda: fit(BatchNormCNN(), recipe, examples, settings)


def some(batches: int) -> InMemory:
    """A number of batches of Fashion-MNIST."""
    train = data.load("fashion-mnist", split="train")
    batch = train.batch(torch.arange(batches * BATCH))
    return InMemory("some", train.classes, batch.x, batch.y)


def loops(repeats: int) -> str:
    """Our loop, ART's and a plain one on the same work."""
    kinds: dict[str, tuple[int, int, float, Attack]] = {
        "FGSM": (40, 1, 0.125, FGSM(THREAT, step_size=0.125, random_start=True)),
        "PGD-7": (15, 7, 0.03, PGD(THREAT, steps=7, step_size=0.03)),
    }
    rows = []
    for name, (batches, steps, step_size, attack) in kinds.items():
        examples = some(batches)
        works = {"plain loop": plain(examples.x, examples.y, steps=steps, step_size=step_size)}
        if importlib.util.find_spec("art"):
            works["art"] = art(examples.x, examples.y, steps=steps, step_size=step_size)
        works["robustlab"] = ours(examples, adversarial(attack))
        works["robustlab, bf16"] = ours(examples, adversarial(attack), "bf16")
        seconds = interleaved(works, repeats)
        rows += [
            {
                "work": f"{name} training, BatchNorm CNN, batch {BATCH}",
                "by": who,
                "images/s": f"{batches * BATCH / seconds[who]:.0f}",
                "speed / plain loop": f"{seconds['plain loop'] / seconds[who]:.2f}",
            }
            for who in works
        ]
    return table(rows)


def rates(names: Sequence[str], repeats: int) -> dict[str, dict[str, float]]:
    """Images of the data per second for each recipe and precision, all interleaved."""
    works: dict[tuple[str, Precision], Work] = {}
    batches: dict[tuple[str, Precision], int] = {}
    for name in names:
        for precision in PRECISIONS:
            first = interleaved({name: ours(some(3), RECIPES[name], precision)}, 1)[name]
            batches[name, precision] = max(3, round(3 * SECONDS / first))
            works[name, precision] = ours(some(batches[name, precision]), RECIPES[name], precision)
    seconds = interleaved({str(key): work for key, work in works.items()}, repeats, warm_up=False)
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for (name, precision), number in batches.items():
        found[name][precision] = number * BATCH / seconds[str((name, precision))]
    return found


def rate_table(found: dict[str, dict[str, float]]) -> str:
    """Images/s, and the gain by bf16."""
    return table(
        [
            {
                "recipe": name,
                "": DESCRIPTIONS[name],
                "images/s, fp32": f"{rate['fp32']:.0f}",
                "images/s, bf16": f"{rate['bf16']:.0f}",
                "bf16 / fp32": f"{rate['bf16'] / rate['fp32']:.2f}",
            }
            for name, rate in found.items()
        ]
    )


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", nargs="*", choices=("loops", "recipes"), default=("loops", "recipes"))
    parser.add_argument("--only", nargs="*", choices=RECIPES, default=list(RECIPES), metavar="RECIPE")
    options = parser.parse_args()
    print(machine() + "\n")
    if "recipes" in options.part:
        found = rates(options.only, options.repeats)
        before = json.loads(RATES.read_text())["rates"] if RATES.exists() else {}
        RATES.parent.mkdir(parents=True, exist_ok=True)
        RATES.write_text(json.dumps({"machine": machine(), "rates": before | found}, indent=1))
        print(rate_table(found) + "\n", flush=True)
    if "loops" in options.part:
        print(loops(options.repeats))


if __name__ == "__main__":
    main()
