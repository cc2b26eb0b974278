"""Attacks on maps: time beside a loop by hand of one's own, and strength beside random noise.

``python -m benchmarks.explain_attack time`` runs one of the works; without names all. ``--processor`` counts the
seconds of the processor instead of the clock, for a machine that is not idle. The loop by hand takes 40 times the
gradient of a network with softplus activations, and the gradient of the distance of that map, and moves by its sign; it
looks at no prediction and keeps no best point.
"""

from __future__ import annotations

import argparse
import copy
import statistics
import sys
import time
from collections.abc import Callable

import torch
from torch import Tensor, nn

from benchmarks.networks import fashion_mnist, robust, shallow
from benchmarks.timing import machine, table
from robustlab.core import L2, Linf, ThreatModel
from robustlab.explain import MapAttack, map_stability

Row = dict[str, str]
EPS = 8 / 255


def softened(model: nn.Module) -> nn.Module:
    """A copy with softplus modules in the place of ReLU modules, whose weights need no gradient."""
    copied = copy.deepcopy(model).requires_grad_(requires_grad=False)
    for parent in copied.modules():
        for name, part in parent.named_children():
            if isinstance(part, nn.ReLU):
                setattr(parent, name, nn.Softplus(30.0))
    return copied


def by_hand(model: nn.Module, x: Tensor, steps: int) -> Tensor:
    """Points whose gradient maps are far from those of the inputs, found as one would write it."""
    target, start = model(x).argmax(1), x.clone().requires_grad_()
    (reference,) = torch.autograd.grad(model(start).gather(1, target[:, None]).sum(), start)
    x_adv = (x + EPS * (2 * torch.rand_like(x) - 1)).clamp(0, 1)
    for _ in range(steps):
        x_adv.requires_grad_()
        logits = model(x_adv)
        (maps,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), x_adv, create_graph=True)
        unit = maps / maps.abs().sum((1, 2, 3), keepdim=True)
        distance = (unit - reference / reference.abs().sum((1, 2, 3), keepdim=True)).square().sum()
        (grad,) = torch.autograd.grad(distance, x_adv)
        moved = x_adv.detach() + 2.5 * EPS / steps * grad.sign()
        x_adv = torch.minimum(torch.maximum(moved, x - EPS), x + EPS).clamp(0, 1)
    return x_adv


def compared(clock: Callable[[], float], repeats: int = 3, images: int = 128, steps: int = 40) -> list[Row]:
    """Seconds of both, in turn."""
    rows, x = [], fashion_mnist(images)[0]
    for name, model in (("shallow CNN", shallow()), ("robust CNN", robust())):
        soft, attack = softened(model), MapAttack(ThreatModel(Linf(), EPS), steps=steps)
        works: dict[str, Callable[[], object]] = {
            "by hand": lambda soft=soft: by_hand(soft, x, steps),  # type: ignore[misc]
            "ours": lambda attack=attack, model=model: attack(model, x),  # type: ignore[misc]
        }
        seconds: dict[str, list[float]] = {key: [] for key in works}
        for _ in range(repeats):
            for key, work in works.items():
                start = clock()
                work()
                seconds[key].append(clock() - start)
        ratios = [ours / theirs for ours, theirs in zip(seconds["ours"], seconds["by hand"], strict=True)]
        row = {"network": name, "images": str(images), "steps": str(steps)}
        row |= {f"{key} s": f"{statistics.median(found):.2f}" for key, found in seconds.items()}
        rows.append(row | {"ratio": f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"})
    return rows


def strength(images: int = 64) -> list[Row]:
    """Mean distance of the maps under noise and under attack, each attacked by its own measure."""
    rows, x = [], fashion_mnist(images)[0]
    for name, model in (("shallow CNN", shallow()), ("robust CNN", robust())):
        for threat in (ThreatModel(Linf(), EPS), ThreatModel(L2(), 0.5)):
            for distance in ("l2", "cosine", "ssim", "rank", "top-k"):
                found = map_stability(MapAttack(threat, distance=distance), model, x)
                row = {"network": name, "budget": f"{threat.norm}, {threat.eps:.3g}", "distance": distance}
                row |= {"noise": f"{float(found.noise[distance].mean()):.4f}"}
                row |= {"attack": f"{float(found.attack[distance].mean()):.4f}"}
                rows.append(row | {"change of confidence": f"{float(found.attacked.change.abs().mean()):.3f}"})
    return rows


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", help="some of time, strength")
    parser.add_argument("--processor", action="store_true", help="seconds of the processor, not of the clock")
    given = parser.parse_args()
    clock = time.process_time if given.processor else time.perf_counter
    works: dict[str, Callable[[], list[Row]]] = {"time": lambda: compared(clock), "strength": strength}
    print(machine(), flush=True)
    for name in given.works or works:
        if name not in works:
            sys.exit(f"no work is called {name}; there are {', '.join(works)}")
        print(f"\n### {name}\n\n{table(works[name]())}", flush=True)


if __name__ == "__main__":
    main()
