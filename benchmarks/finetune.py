"""Transfer learning: speed of storing features against a bare forward pass, and time of an epoch on them.

    python -m benchmarks.finetune                  # both tables, two threads: OMP_NUM_THREADS=2
    python -m benchmarks.finetune --part epoch     # the features of 60,000 images are made once, then kept

Features are those of EfficientNet-Lite0 with ImageNet weights on Fashion-MNIST, enlarged to 64 pixels. The bare pass is
timm's network alone, in eval mode and channels-last, on images that are ready: coloured, enlarged and normalised.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.timing import Work, interleaved, machine, synchronise, table
from robustlab import data
from robustlab.data import InMemory
from robustlab.studies import pretrained
from robustlab.training import Settings, adamw, cached_features, fit, standard

SIDE, BATCH, BATCHES = 64, 128, (64, 256)
KEPT = Path("runs/benchmarks/features")
DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
WAY = Settings(1, batch_size=BATCH, optimizer=adamw(), device=DEVICE, workers=0)


def some(images: int) -> InMemory:
    """The first training images of Fashion-MNIST."""
    train = data.load("fashion-mnist", split="train")
    if not isinstance(train, InMemory):
        raise TypeError(f"Fashion-MNIST came as a {type(train).__name__}")
    return InMemory("some", train.classes, train.x[:images], train.y[:images])


def bare(model: nn.Module, examples: InMemory, batch: int) -> Work:
    """The network alone on images that are ready."""
    place = torch.device(DEVICE)
    layers = [part for name, part in model.named_children() if name != "model"]
    inner = model.get_submodule("model")
    net = inner.get_submodule("model").to(place).to(memory_format=torch.channels_last).eval()
    with torch.no_grad():
        ready = nn.Sequential(*layers, inner.get_submodule("normalise"))(examples.batch(torch.arange(len(examples))).x)
    parts = [part.to(place).contiguous(memory_format=torch.channels_last) for part in ready.split(batch)]

    @torch.no_grad()
    def work() -> list[Tensor]:
        return [net(part) for part in parts]

    return work


def caching(images: int, repeats: int) -> str:
    """Storing features, with reading, enlarging and writing, against bare passes in batches of several sizes."""
    examples = some(images)
    works: dict[str, Work] = {
        f"bare forward, batch {batch}": bare(pretrained("efficientnet-lite0", examples, side=SIDE), examples, batch)
        for batch in BATCHES
    }
    model = pretrained("efficientnet-lite0", examples, side=SIDE)
    with tempfile.TemporaryDirectory() as folder:
        number = itertools.count()
        works["features kept"] = lambda: cached_features(model, examples, Path(folder, str(next(number))), WAY)
        seconds = interleaved(works, repeats)
    fastest = min(taken for name, taken in seconds.items() if name != "features kept")
    return table(
        [
            {
                "work": f"{name}, {images:,} images of {SIDE} pixels",
                "images/s": f"{images / taken:.0f}",
                "speed / fastest bare forward": f"{fastest / taken:.2f}",
            }
            for name, taken in seconds.items()
        ]
    )


def epochs(images: int, repeats: int) -> str:
    """An epoch on stored features, data order, updates and all, and the forward pass that it saves."""
    examples = some(images)
    model = pretrained("efficientnet-lite0", examples, side=SIDE)
    features = cached_features(model, examples, KEPT, WAY)
    head = nn.Linear(features.x.shape[1], 10)
    seconds = []
    for epochs_done in (1, 1 + repeats):  # the difference leaves out what comes before the first epoch
        synchronise()
        way = Settings(epochs_done, batch_size=BATCH, optimizer=adamw(), device=DEVICE, workers=0)
        seconds.append(sum(fit(head, standard(), features, way)["seconds"]))
    each = (seconds[1] - seconds[0]) / repeats
    return table([{"work": f"an epoch on kept features of {images:,} images", "batch": str(BATCH), "s": f"{each:.2f}"}])


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", nargs="*", choices=("caching", "epoch"), default=("caching", "epoch"))
    parser.add_argument("--images", type=int, default=60_000, help="of an epoch")
    parser.add_argument("--passed", type=int, default=4096, help="of a caching round")
    options = parser.parse_args()
    print(machine() + "\n")
    if "caching" in options.part:
        print(caching(options.passed, options.repeats) + "\n", flush=True)
    if "epoch" in options.part:
        print(epochs(options.images, options.repeats))


if __name__ == "__main__":
    main()
