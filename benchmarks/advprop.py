"""Cost of a step of AdvProp in plain steps, and EfficientNet-B0 at 32x32 against a plain timm loop.

    python -m benchmarks.advprop [--repeats 3] [--part steps loop] [--batches 3]

With K attack steps AdvProp may cost (0.7 K + 2) * 1.05 plain steps: an attack step needs the gradient by the input
alone, at weights that are folded into BatchNorm, and two passes train. Fast AdvProp passes a fifth of each batch
twice, and small parts of a batch cost more by image. All are runs of ``robustlab.training.fit`` on Fashion-MNIST,
everything included.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import timm
import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.timing import Work, interleaved, machine, table
from robustlab import data
from robustlab.core import Linf, Recipe, ThreatModel
from robustlab.data import InMemory
from robustlab.models import load, split_bn
from robustlab.training import Settings, advprop, fast_advprop, fit, sgd, standard

BATCH, SIZE = 128, 32
MODELS = ("timm:efficientnet_b0,stride=2,width=0.5", "timm:efficientnet_b0,stride=1", "timm:resnet18,stride=1")
STEPS = (1, 3, 5)
THREAT = ThreatModel(Linf(), 4 / 255)


def some(batches: int) -> InMemory:
    """A number of batches of Fashion-MNIST with a border of 2 pixels, as floats."""
    train = data.load("fashion-mnist", split="train")
    batch = train.batch(torch.arange(batches * BATCH))
    return InMemory("some", train.classes, F.pad(batch.x, (2, 2, 2, 2)), batch.y)


def ours(model: nn.Module, recipe: Recipe, examples: InMemory) -> Work:
    """One epoch by the library."""
    settings = Settings(epochs=1, batch_size=BATCH, optimizer=sgd(0.01), device="cpu")
    return lambda: fit(model, recipe, examples, settings)


def plain(examples: InMemory) -> Work:
    """One epoch of a usual loop: a timm network, a DataLoader, ordinary memory layout."""
    net = timm.create_model("efficientnet_b0", num_classes=10, in_chans=1)
    net.conv_stem.stride = (1, 1)  # type: ignore[assignment]
    optimizer = torch.optim.SGD(net.parameters(), 0.01, momentum=0.9, nesterov=True, weight_decay=5e-4)
    loader = torch.utils.data.DataLoader(torch.utils.data.TensorDataset(examples.x, examples.y), BATCH, shuffle=True)

    def epoch() -> None:
        net.train()
        for x, y in loader:
            optimizer.zero_grad()
            F.cross_entropy(net((x - 0.449) / 0.226), y).backward()
            optimizer.step()

    return epoch


def steps(repeats: int, batches: int) -> str:
    """Costs of recipes in plain steps."""
    examples, rows = some(batches), []
    limits = {f"AdvProp, {count} step{'s' * (count > 1)}": (0.7 * count + 2) * 1.05 for count in STEPS}
    recipes: dict[str, Recipe] = {word: advprop(THREAT, steps=count) for word, count in zip(limits, STEPS, strict=True)}
    recipes["Fast AdvProp"] = fast_advprop(ThreatModel(Linf(), 1 / 255))
    for name in MODELS:
        model = load(name, classes=10, channels=1, size=SIZE, pretrained=False)
        split = split_bn(model)
        works = {"standard": ours(copy.deepcopy(model), standard(), examples)}
        works |= {word: ours(copy.deepcopy(split), recipe, examples) for word, recipe in recipes.items()}
        seconds = interleaved(works, repeats)
        rows += [
            {
                "network": name,
                "recipe": word,
                "images/s": f"{len(examples) / seconds[word]:.0f}",
                "plain steps": f"{seconds[word] / seconds['standard']:.2f}",
                "at most": f"{limits[word]:.2f}" if word in limits else "-",
            }
            for word in works
        ]
    return table(rows)


def loop(repeats: int, batches: int) -> str:
    """Images per second of EfficientNet-B0 at 32x32 with stem stride 1."""
    examples = some(batches)
    model = load("timm:efficientnet_b0,stride=1", classes=10, channels=1, size=SIZE, pretrained=False)
    works = {"plain timm loop": plain(examples), "robustlab": ours(model, standard(), examples)}
    seconds = interleaved(works, repeats)
    return table(
        [
            {
                "EfficientNet-B0, 32x32, stem stride 1": who,
                "images/s": f"{len(examples) / seconds[who]:.0f}",
                "speed / plain loop": f"{seconds['plain timm loop'] / seconds[who]:.2f}",
            }
            for who in works
        ]
    )


PARTS: dict[str, Callable[[int, int], str]] = {"steps": steps, "loop": loop}


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--batches", type=int, default=3)
    parser.add_argument("--part", nargs="*", choices=PARTS, default=[*PARTS])
    args = parser.parse_args()
    print(f"{machine()}\n")
    for part in args.part:
        print(f"{PARTS[part](args.repeats, args.batches)}\n")


if __name__ == "__main__":
    main()
