"""Time of an adversarial training step against a plain hand-written loop.

    python -m benchmarks.training [--repeats 3]

The plain loop is what people write: the model in training mode throughout, ordinary memory layout, one
``autograd.grad`` to the input per attack step, SGD with momentum. Ours is ``robustlab.training.fit``, all included.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.timing import interleaved, machine, table
from robustlab import data
from robustlab.attacks import FGSM, PGD
from robustlab.core import Attack, Linf, Recipe, ThreatModel
from robustlab.models import BatchNormCNN
from robustlab.training import Settings, adversarial, fit, sgd

BATCH = 128
THREAT = ThreatModel(Linf(), 0.1)


def plain(x: Tensor, y: Tensor, *, steps: int, step_size: float) -> Callable[[], None]:
    """One epoch over the data by a loop written by hand."""

    def epoch() -> None:
        model = BatchNormCNN().train()
        optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, nesterov=True, weight_decay=5e-4)
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


def ours(examples: data.InMemory, recipe: Recipe) -> Callable[[], object]:
    """One epoch by the library."""
    settings = Settings(epochs=1, batch_size=BATCH, optimizer=sgd(0.1))
    return lambda: fit(BatchNormCNN(), recipe, examples, settings)


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    print(machine() + "\n")
    train, rows = data.load("fashion-mnist", split="train"), []
    kinds: dict[str, tuple[int, int, float, Attack]] = {
        "FGSM": (40, 1, 0.125, FGSM(THREAT, step_size=0.125, random_start=True)),
        "PGD-7": (15, 7, 0.03, PGD(THREAT, steps=7, step_size=0.03)),
    }
    for name, (batches, steps, step_size, attack) in kinds.items():
        batch = train.batch(torch.arange(batches * BATCH))
        some = data.InMemory("some", train.classes, batch.x, batch.y)
        works = {
            "plain loop": plain(batch.x, batch.y, steps=steps, step_size=step_size),
            "robustlab": ours(some, adversarial(attack)),
        }
        seconds = interleaved(works, repeats)
        rows += [
            {
                "work": f"{name} training, BatchNorm CNN, batch {BATCH}",
                "by": who,
                "images/s": f"{batches * BATCH / seconds[who]:.0f}",
                "/ plain loop": f"{seconds[who] / seconds['plain loop']:.2f}",
            }
            for who in works
        ]
    print(table(rows))


if __name__ == "__main__":
    main()
