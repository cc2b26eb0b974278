"""Times of recipes to make a network robust, and their accuracies in the same time.

    python -m benchmarks.training --part recipes     how many images a second each recipe takes; on a quiet machine
    python -m benchmarks.time_to_robustness rank     trains each for as long as the others, and measures it
    python -m benchmarks.time_to_robustness table    the ranking so far
    python -m benchmarks.time_to_robustness confirm  ``robustlab train --robust`` by the clock; on a quiet machine

Equal time is meant by counting: a recipe gets as many images as its measured rate lets it take in that time, so that
the training itself may run on a machine that does other things meanwhile. All train the BatchNorm CNN on Fashion-MNIST
with SGD at 0.1, one cycle, batches of 128. Robust accuracy is under PGD-40 in Linf at eps 0.1, on the whole test set.
What is done is kept in ``runs/benchmarks/equal-time`` and not done again.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import torch
from torch import nn

from benchmarks.networks import KEPT
from benchmarks.recipes import BATCH, DESCRIPTIONS, PRECISIONS, RECIPES, THREAT, Precision
from benchmarks.timing import machine, table
from benchmarks.training import RATES
from robustlab import data, models
from robustlab.attacks import PGD
from robustlab.core import Examples
from robustlab.evaluation import Evaluation, Settings, evaluate
from robustlab.training import Settings as Training
from robustlab.training import fit, sgd

HOME = KEPT / "equal-time"
CLEAN, ROBUST, LIMIT = 0.85, 0.75, 240.0
"""The target: clean and robust accuracy, and seconds."""


class Amount(NamedTuple):
    """Work of a recipe in a given time."""

    epochs: int
    images: int
    """Images in each epoch."""

    @property
    def seen(self) -> int:
        """Images in all."""
        return self.epochs * self.images


def amount(rate: float, seconds: float, examples: int) -> Amount:
    """The fewest epochs of equal length with the images of that time."""
    images = max(BATCH, round(rate * seconds))
    epochs = math.ceil(images / examples)
    return Amount(epochs, min(examples, images // epochs))


def measured(model: nn.Module, *, bf16: bool) -> Evaluation:
    """Clean and robust accuracy on the whole test set."""
    how = Settings(batch_size=256, keep="gallery", doctor=False, search_dtype=torch.bfloat16 if bf16 else None)
    test = data.load("fashion-mnist", split="test")
    return evaluate(model, test, attacks={"PGD-40": PGD(THREAT, steps=40)}, settings=how)


def trained(name: str, precision: Precision, part: Amount, place: Path) -> nn.Module:
    """A network trained on a number of images; an interrupted training is resumed."""
    whole = data.load("fashion-mnist", split="train")
    examples: Examples = whole if part.images == len(whole) else data.sample(whole, part.images)
    model = models.load("batchnorm-cnn", classes=10, seed=0)
    settings = Training(part.epochs, BATCH, sgd(0.1), precision=precision, resume=True, keep=1)
    fit(model, RECIPES[name], examples, settings, out=place)
    return model


def rank(names: list[str], precision: Precision, seconds: float) -> None:
    """Trains and measures the missing ones."""
    rates = json.loads(RATES.read_text())["rates"]
    for name in names:
        place = HOME / f"{name}-{precision}-{seconds:g}"
        if place.with_suffix(".json").exists():
            continue
        part = amount(rates[name][precision], seconds, 60_000)
        found = measured(trained(name, precision, part, place), bf16=True)
        record = {
            "recipe": name,
            "precision": precision,
            "images": part.seen,
            "epochs": part.epochs,
            "clean": found.clean.accuracy.value,
            "robust": [getattr(found.worst[-1].robust, key) for key in ("value", "low", "high")],
        }
        place.with_suffix(".json").write_text(json.dumps(record, indent=1))
        shutil.rmtree(place)
        print(record, flush=True)


def ranking() -> str:
    """All finished ones, the most robust first; time by the current rates."""
    rates = json.loads(RATES.read_text())["rates"]
    found = [json.loads(path.read_text()) for path in HOME.glob("*.json")]
    return table(
        [
            {
                "recipe": f"{one['recipe']}, {one['precision']}",
                "": DESCRIPTIONS[one["recipe"]],
                "images": f"{one['images']:,}",
                "epochs": f"{one['images'] / 60_000:.1f}",
                "images / rate": f"{one['images'] / rates[one['recipe']][one['precision']]:.0f} s",
                "clean": f"{one['clean']:.1%}",
                "PGD-40": "{:.1%} [{:.1%}, {:.1%}]".format(*one["robust"]),
            }
            for one in sorted(found, key=lambda one: -one["robust"][0])
        ]
    )


def confirm(out: Path) -> None:
    """Runs the command from the start, stops the clock when it ends, and measures its network."""
    shutil.rmtree(out, ignore_errors=True)
    command = "import sys; from robustlab.cli.main import main; sys.exit(main())"
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", command, "train", "--robust", "--out", str(out)], check=True)
    seconds = time.perf_counter() - started
    found = measured(models.load(checkpoint=out / "model.safetensors"), bf16=False)
    clean, robust = found.clean.accuracy, found.worst[-1].robust
    met = clean.value >= CLEAN and robust.value >= ROBUST and seconds <= LIMIT
    print(f"robustlab train --robust: {seconds:.0f} s from nothing, clean {clean.value:.2%}, ", end="")
    print(f"PGD-40 {robust.value:.2%} [{robust.low:.2%}, {robust.high:.2%}] on {robust.n} test images: ", end="")
    print("met" if met else "missed")


def main() -> None:
    """Does one of the three."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("rank", "table", "confirm"))
    parser.add_argument("--only", nargs="*", choices=RECIPES, default=[name for name in RECIPES if name != "standard"])
    parser.add_argument("--precision", choices=PRECISIONS, default="bf16")
    parser.add_argument("--seconds", type=float, default=60.0)
    options = parser.parse_args()
    HOME.mkdir(parents=True, exist_ok=True)
    if options.what == "confirm":
        print(machine() + "\n")
        confirm(KEPT / "robust")
        return
    if options.what == "rank":
        rank(options.only, options.precision, options.seconds)
    print(ranking())


if __name__ == "__main__":
    main()
