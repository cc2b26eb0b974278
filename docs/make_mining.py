"""Writes docs/guide/mining.md and its pictures. ``python docs/make_mining.py [DIR [DIR]]``.

With the directory of ``robustlab mine fashion-mnist --out DIR``, what was found is first taken over into the package as
Fashion-MNIST-A; with a second one, of another seed, as its repetition.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

from robustlab.data import load
from robustlab.data.fashion_mnist_a import RECORD
from robustlab.studies.mining.page import AGAIN, draw, page, published
from robustlab.studies.mining.record import FILE

DOCS = Path(__file__).parent

if __name__ == "__main__":
    for given, place in zip(sys.argv[1:], (RECORD, AGAIN), strict=False):
        place.parent.mkdir(exist_ok=True)
        shutil.copyfile(Path(given) / FILE, place)
    found, again = published()
    data = load("fashion-mnist", split="all")
    draw(found, data, DOCS / "images")
    (DOCS / "guide" / "mining.md").write_text(page(found, again), encoding="utf-8")
