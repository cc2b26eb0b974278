"""Corruptions: the time of ours over that of imagecorruptions, and of the whole suite on Fashion-MNIST.

python -m benchmarks.corruptions                # with imagecorruptions, where it is installed
python -m benchmarks.corruptions --part suite   # 19 corruptions x 5 severities on 1,000 images

Where the original fails on the NumPy and scikit-image of today, it is given the names that it misses.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import time
import warnings
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchmarks.timing import Work, interleaved, machine, table
from robustlab import data
from robustlab.corruptions import CORRUPTIONS, EXTRA, corruption

ALL = (*CORRUPTIONS, *EXTRA)
BATCH = 20
SLOW = {"glass_blur": 1}
"""Number of images for the original where it takes too long; its time per image does not depend on it."""
TARGETS = {"glass_blur": 0.02} | dict.fromkeys(("zoom_blur", "elastic_transform", "brightness", "saturate"), 0.2)
NOT_SLOWER = {"gaussian_noise", "impulse_noise", "speckle_noise", "pixelate", "jpeg_compression"}

Pixels = NDArray[np.uint8]


def target(name: str) -> float:
    """The largest ratio of the target."""
    return TARGETS.get(name, 1.0 if name in NOT_SLOWER else 0.6)


@cache
def original() -> Callable[..., Pixels] | None:
    """The function of imagecorruptions that corrupts one image, if it is installed."""
    if importlib.util.find_spec("imagecorruptions") is None:
        return None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        code: Any = importlib.import_module("imagecorruptions.corruptions")
        library: Any = importlib.import_module("imagecorruptions")
    vars(np)["float_"] = np.float64
    code.gaussian = partial(_gaussian, code.gaussian)
    corrupt: Callable[..., Pixels] = library.corrupt
    return corrupt


def _gaussian(now: Callable[..., object], *arguments: object, multichannel: bool = False, **named: object) -> object:
    """scikit-image's Gaussian filter with the argument that it once had."""
    return now(*arguments, channel_axis=-1 if multichannel else None, **named)


def photographs() -> tuple[Tensor, list[Pixels]]:
    """Twenty images of 224 x 224 for ours (20, 3, 224, 224) and for the original."""
    few = data.load("photographs")
    x = few.batch(torch.arange(BATCH) % len(few)).x.mul(255).round() / 255
    return x, [(image * 255).round().byte().permute(1, 2, 0).contiguous().numpy() for image in x]


def _works(name: str, severity: int, x: Tensor, images: list[Pixels]) -> dict[str, Work]:
    """Ours on the batch, and the original on one image after the other."""
    works: dict[str, Work] = {"robustlab": lambda: corruption(name)(x, severity=severity)}
    if (theirs := original()) is not None:
        few = images[: SLOW.get(name, BATCH)]
        works["imagecorruptions"] = lambda: [theirs(one, corruption_name=name, severity=severity) for one in few]
    return works


def row(name: str, x: Tensor, images: list[Pixels], repeats: int) -> dict[str, str]:
    """Milliseconds per image, means over the severities."""
    ours, theirs = 0.0, 0.0
    for severity in range(1, 6):
        seconds = interleaved(_works(name, severity, x, images), repeats)
        ours += seconds["robustlab"] / BATCH * 200
        theirs += seconds.get("imagecorruptions", float("nan")) / SLOW.get(name, BATCH) * 200
    met = "met" if ours / theirs <= target(name) else "missed"
    return {
        "corruption": name,
        "robustlab, ms": f"{ours:.2f}",
        "imagecorruptions, ms": f"{theirs:.2f}",
        "ratio": f"{ours / theirs:.3f}",
        "target": f"{target(name):g}",
        "": met if theirs == theirs else "",
    }


def suite(count: int) -> list[dict[str, str]]:
    """Seconds of every corruption at all severities on Fashion-MNIST, and of all together."""
    x = data.load("fashion-mnist", split="test").batch(torch.arange(count)).x
    seconds = {}
    for name in ALL:
        start = time.perf_counter()
        for severity in range(1, 6):
            corruption(name)(x, severity=severity)
        seconds[name] = time.perf_counter() - start
    seconds["all"] = sum(seconds.values())
    return [{"corruption": name, f"s for {count} images": f"{took:.2f}"} for name, took in seconds.items()]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--part", nargs="*", choices=("original", "suite"), default=("original", "suite"))
    parser.add_argument("--only", nargs="*", choices=ALL, default=ALL, metavar="NAME")
    parser.add_argument("--count", type=int, default=1000, help="images of the suite")
    options = parser.parse_args()
    print(machine() + "\n")
    if "original" in options.part:
        x, images = photographs()
        print(table([row(name, x, images, options.repeats) for name in options.only]) + "\n", flush=True)
    if "suite" in options.part:
        print(table(suite(options.count)))


if __name__ == "__main__":
    main()
