"""Fashion-MNIST-A: unmodified images of Fashion-MNIST that a committee of networks gets wrong with confidence.

The package has the list of their numbers, see docs/guide/mining.md.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch

from robustlab.core.errors import DataError
from robustlab.data.fashion_mnist import fashion_mnist
from robustlab.data.named import DataSet, Description, Request, register
from robustlab.data.splits import Part
from robustlab.runs.progress import Report

RECORD = Path(__file__).with_name("fashion-mnist-a.json")
"""Numbers, recipe, and the predictions of every network; written by ``docs/make_mining.py``."""
TRAIN = 60_000
"""Images of the pool with smaller numbers are training images of Fashion-MNIST, the others test images."""
_SPLITS = ("test", "train", "all", "suspects")


def fashion_mnist_a(split: str = "test", *, root: Path | None = None, progress: Report | None = None) -> Part:
    """The hard images.

    Args:
        split: "test": those among Fashion-MNIST's test images, unknown to a network trained on its training images;
            "train": those among the training images; "all": both; "suspects": hard ones of both with a label that is
            probably wrong, which are in none of the others.
        root: folder of the cache.
        progress: is informed of downloads.

    Returns: a part of the 70,000 images, training images first; ``rows`` are its numbers there.

    Raises:
        ValueError: another split.
        DataError: Fashion-MNIST is not available, or differs from the images of the list.
    """
    if split not in _SPLITS:
        raise ValueError(f"Fashion-MNIST-A has the splits {', '.join(_SPLITS)}, not {split!r}")
    found = json.loads(RECORD.read_text(encoding="utf-8"))
    pool = fashion_mnist("all", root=root, progress=progress)
    if pool.sha256 != found["sha256"]:
        raise DataError(f"{RECORD.name} belongs to other images than those of {pool.name} from {pool.source}")
    rows = torch.tensor(sorted(found["suspects" if split == "suspects" else "members"]))
    inside = {"test": rows >= TRAIN, "train": rows < TRAIN}.get(split)
    rows = rows if inside is None else rows[inside]
    return Part(f"Fashion-MNIST-A {split}", pool, rows)


def _read(request: Request) -> Part:
    return fashion_mnist_a(request.split, root=request.root, progress=request.progress)


def _description(root: Path | None) -> Description:
    del root
    return Description(
        "fashion-mnist-a",
        "unmodified images of Fashion-MNIST that a committee of networks gets wrong with confidence",
        "MIT (Zalando SE)",
        str(RECORD),
        "numbers of images that come with the package",
    )


register("fashion-mnist-a", DataSet(_read, _description))
