"""Evaluation under corruptions and the writing of a corrupted copy, from end to end, on Fashion-MNIST.

python -m benchmarks.corruption_runs               # 19 corruptions x 5 severities on all 10,000 test images, and a copy
python -m benchmarks.corruption_runs --count 1000  # on a sample
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable

import torch

from benchmarks.timing import machine, table
from robustlab import data, models
from robustlab.corruptions import CORRUPTIONS, EXTRA
from robustlab.evaluation import CopySettings, evaluate_corruptions, write_corrupted

ALL = (*CORRUPTIONS, *EXTRA)


def timed(what: str, cells: int, count: int, work: Callable[[], object]) -> dict[str, str]:
    """One row: seconds, and corrupted images per second."""
    start = time.perf_counter()
    work()
    seconds = time.perf_counter() - start
    return {
        "what": what,
        "images": f"{cells * count:,}",
        "s": f"{seconds:.1f}",
        "per s": f"{cells * count / seconds:,.0f}",
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000, help="images")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="of the evaluation, and processes")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    images = data.load("fashion-mnist", split="test")
    some = images if options.count >= len(images) else data.sample(images, options.count)
    model = models.load("shallow-cnn")
    with tempfile.TemporaryDirectory() as place:
        how = CopySettings(workers=options.threads)
        rows = [
            timed("evaluate, 19 x 5", 95, len(some), lambda: evaluate_corruptions(model, some, corruptions=ALL)),
            timed("copy, 15 x 5", 75, len(some), lambda: write_corrupted(some, f"{place}/c", settings=how)),
        ]
    print(machine())
    print(table(rows))


if __name__ == "__main__":
    main()
