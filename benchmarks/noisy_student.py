"""Cost of Noisy Student besides its trainings: the teacher's pass, the choice, the files; and mixed batches.

    python -m benchmarks.noisy_student              # both tables, two threads: OMP_NUM_THREADS=2
    python -m benchmarks.noisy_student --part mixing --repeats 5
    python -m benchmarks.noisy_student --model timm:efficientnet_b0,stride=2,width=0.5 --epochs 3

The run has a teacher, a student and fine-tuning on Fashion-MNIST. A mixed batch is compared with one that is as large,
of labelled images alone, which standard training gets with the same RandAugment.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from typing import Literal

import torch
from torch import nn

from benchmarks.timing import Work, interleaved, machine, table
from robustlab import data
from robustlab.core import Examples, Recipe
from robustlab.data import InMemory, apart
from robustlab.models import load
from robustlab.training import (
    RandAugment,
    SelfTraining,
    Settings,
    augmented,
    fit,
    noisy_student,
    pseudo_labels,
    self_train,
    standard,
)

LABELLED, RATIO, BATCH = 2000, 4, 32
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"


def some(images: int) -> InMemory:
    """The first training images of Fashion-MNIST."""
    train = data.load("fashion-mnist", split="train")
    batch = train.batch(torch.arange(images))
    return InMemory("some", train.classes, batch.x, batch.y)


def stages(model: str, precision: Literal["fp32", "bf16", "fp16"], epochs: int, images: int) -> str:
    """A whole run: seconds of its trainings, and of everything else."""
    labelled, unlabelled = apart(some(images), LABELLED)
    way = Settings(epochs, batch_size=BATCH, precision=precision, device=DEVICE, average=0.999)
    plan = SelfTraining(way, way, replace(way, epochs=1), rounds=1, ratio=RATIO)
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        done = self_train(
            lambda number: load(model, classes=10, channels=1, size=28, seed=number),
            labelled,
            unlabelled,
            plan,
            out=folder,
        )
        total = time.perf_counter() - started
    trained = sum(taken for stage, taken in done.seconds.items() if "labels" not in stage)
    rows = [
        *({"stage": stage, "seconds": f"{taken:.2f}"} for stage, taken in done.seconds.items()),
        {"stage": "all trainings", "seconds": f"{trained:.2f}"},
        {"stage": "the run", "seconds": f"{total:.2f}"},
    ]
    title = f"{model}, {precision}, {LABELLED:,} labels, {len(unlabelled):,} without, ratio {RATIO}, {epochs} epochs"
    return f"{title}\n\n{table(rows)}\n\nadded to the sum of its trainings: {(total / trained - 1):.1%}"


def mixing(model: str, precision: Literal["fp32", "bf16", "fp16"], repeats: int) -> str:
    """An epoch of mixed batches, and one of as large batches of labelled images."""
    size = BATCH * (1 + RATIO)
    count = 12 * BATCH
    everything = some(count * (1 + RATIO))
    labelled, unlabelled = apart(everything, count)
    way = Settings(1, batch_size=BATCH, precision=precision, device=DEVICE)
    works: dict[str, Work] = {}
    with tempfile.TemporaryDirectory() as folder:
        teacher = load(model, classes=10, channels=1, size=28)
        pseudo = pseudo_labels(teacher, unlabelled, everything.classes, folder, way).chosen(threshold=0.0)
        for name, noise in (("RandAugment", RandAugment()), ("no noise", None)):
            plain: Recipe = standard() if noise is None else augmented(standard(), noise)
            mixed = noisy_student(pseudo, ratio=RATIO, noise=noise)
            works[f"plain, {name}"] = _epoch(model, plain, everything, replace(way, batch_size=size))
            works[f"mixed, {name}"] = _epoch(model, mixed, labelled, way)
        seconds = interleaved(works, repeats)
    rows = [
        {
            "batches": name,
            "images/s": f"{len(everything) / taken:.0f}",
            "time / plain": f"{taken / seconds['plain, ' + name.partition(', ')[2]]:.3f}",
        }
        for name, taken in seconds.items()
    ]
    return table(rows)


def _epoch(model: str, recipe: Recipe, examples: Examples, settings: Settings) -> Work:
    def work() -> nn.Module:
        net = load(model, classes=10, channels=1, size=28)
        fit(net, recipe, examples, settings)
        return net

    return work


def main() -> None:
    """Measures and prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=("stages", "mixing"), default=["stages", "mixing"])
    parser.add_argument("--model", default="batchnorm-cnn")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    print(machine() + "\n")
    if "stages" in options.part:
        print(stages(options.model, options.precision, options.epochs, options.images) + "\n")
    if "mixing" in options.part:
        print(mixing(options.model, options.precision, options.repeats))


if __name__ == "__main__":
    main()
