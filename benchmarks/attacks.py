"""Attack speed against other libraries and against the bare limit, in interleaved runs.

    python -m benchmarks.attacks [--repeats 5] [--only pgd]

The bare limit of a k-step attack is k forward passes and backward passes to the input of the raw model on the whole
batch, nothing else. Peers are whatever is installed of foolbox, torchattacks, adversarial-robustness-toolbox, adv-lib.
"""

from __future__ import annotations

import argparse
import warnings
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks import networks
from benchmarks.peers import pgd_peers
from benchmarks.timing import interleaved, machine, table
from robustlab.attacks import FGSM, PGD
from robustlab.core import Linf, Model, ThreatModel, Twin, search_twin

Row = dict[str, str]


def passes(model: Model, x: Tensor, y: Tensor, steps: int) -> Callable[[], None]:
    """The bare limit: forward and backward to the input, without use of the gradient.

    A search twin is passed what it is passed in an attack: its micro-batches.
    """
    search, rows = (model.search, model.rows) if isinstance(model, Twin) else (model, None)

    def run() -> None:
        for _ in range(steps):
            for part, labels in zip(x.split(rows or len(x)), y.split(rows or len(x)), strict=True):
                x_in = part.detach().requires_grad_()
                torch.autograd.grad(F.cross_entropy(search(x_in), labels), x_in)

    return run


def accuracy(model: nn.Module, x: Tensor, y: Tensor) -> float:
    """Fraction of right answers."""
    with torch.no_grad():
        return float((model(x).argmax(1) == y).float().mean())


def compared(name: str, model: nn.Module, x: Tensor, y: Tensor, attack: PGD, *, repeats: int) -> Iterator[Row]:
    """One work by all: seconds, ratio to the bare limit and to the fastest peer, robust accuracy."""
    eps = attack.threat.eps
    assert isinstance(eps, float)
    peers = pgd_peers(model, x, y, eps=eps, steps=attack.steps, step_size=2.5 * eps / attack.steps)
    twin, narrow = search_twin(model, x), search_twin(model, x, dtype=torch.bfloat16)
    x_last = x.contiguous(memory_format=torch.channels_last)
    works: dict[str, Callable[[], object]] = {
        "bare limit": passes(model, x, y, attack.steps),
        "bare limit of the search twin": passes(twin, x_last, y, attack.steps),
        **peers,
        "robustlab": lambda: attack(model, x, y),
        "robustlab, bf16 search": lambda: attack(narrow, x, y),
        "robustlab, full strength": lambda: attack(model, x, y, stop="never"),
    }
    seconds = interleaved(works, repeats)
    fastest = min((seconds[peer] for peer in peers), default=float("nan"))
    for who, work in works.items():
        result = work()
        yield {
            "work": name,
            "by": who,
            "ms": f"{1e3 * seconds[who]:.1f}",
            "/ bare limit": f"{seconds[who] / seconds['bare limit']:.2f}",
            "/ twin's limit": f"{seconds[who] / seconds['bare limit of the search twin']:.2f}",
            "/ fastest peer": f"{seconds[who] / fastest:.2f}",
            "robust accuracy": f"{accuracy(model, result, y):.3f}" if isinstance(result, Tensor) else "",
        }


def pgd(repeats: int) -> list[Row]:
    """PGD on three networks."""
    linf = ThreatModel(Linf(), 0.1)
    x, y = networks.fashion_mnist(128)
    rows = [*compared("PGD-40, shallow CNN, 128", networks.shallow(), x, y, PGD(linf, 40), repeats=repeats)]
    rows += compared("PGD-40, robust BatchNorm CNN, 128", networks.robust(), x, y, PGD(linf, 40), repeats=repeats)
    model = networks.efficientnet()
    images = networks.photographs(20)
    labels = model(images).argmax(1)
    attack = PGD(ThreatModel(Linf(), 8 / 255), 10)
    rows += compared("PGD-10, EfficientNet-Lite0, 20", model, images, labels, attack, repeats=max(1, repeats // 2))
    return rows


def fgsm(repeats: int) -> list[Row]:
    """FGSM on every training image."""
    model, attack = networks.shallow(), FGSM(ThreatModel(Linf(), 0.1))
    x, y = networks.fashion_mnist(60_000, split="train")
    works: dict[str, Callable[[], Tensor]] = {
        "robustlab": lambda: attack(model, x, y),
        "robustlab, full strength": lambda: attack(model, x, y, stop="never"),
    }
    seconds = interleaved(works, repeats)
    return [
        {
            "work": "FGSM, shallow CNN, 60,000",
            "by": who,
            "seconds": f"{seconds[who]:.2f}",
            "robust accuracy": f"{accuracy(model, work(), y):.3f}",
        }
        for who, work in works.items()
    ]


WORKS = {"pgd": pgd, "fgsm": fgsm}


def main() -> None:
    """Prints a table for each kind of work."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--only", choices=sorted(WORKS))
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    print(machine())
    for name, work in WORKS.items():
        if options.only in (None, name):
            print(f"\n{table(work(options.repeats))}", flush=True)


if __name__ == "__main__":
    main()
