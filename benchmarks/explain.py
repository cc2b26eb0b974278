"""Attribution maps beside captum, alternating in one run, and the memory of integrated gradients.

``python -m benchmarks.explain small large`` runs some of the works; without names all. ``--processor`` counts the
seconds of the processor instead of the clock, for a machine that is not idle. captum runs as by default (all points of
a call in one pass) and, as ``captum in parts``, with passes of as many points as there are images.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.networks import efficientnet, fashion_mnist, photographs, robust
from benchmarks.timing import machine, table
from robustlab.explain import CheckSubject, IntegratedGradients, Method, Occlusion, SmoothGrad, check_maps, explain
from robustlab.models import BatchNormCNN

Row = dict[str, str]
Work = Callable[[], Tensor]
CLOCKS: dict[bool, Callable[[], float]] = {False: time.perf_counter, True: time.process_time}


class Setting(NamedTuple):
    """A network, its images, and how to measure."""

    name: str
    model: nn.Module
    x: Tensor
    repeats: int
    clock: Callable[[], float]


def ours(on: Setting, method: Method, target: Tensor) -> Work:
    """A method by this library."""
    return lambda: explain(method, on.model, on.x, target).values


def compared(on: Setting, work: str, method: Method, peers: dict[str, Work]) -> list[Row]:
    """Seconds of a method and of its peers, in turn: a row for each peer."""
    target = peers.pop("target")()
    works = {"ours": ours(on, method, target), **peers}
    seconds: dict[str, list[float]] = {name: [] for name in works}
    maps: dict[str, Tensor] = {}
    for number in range(on.repeats + 1):
        for name, one in works.items():
            start = on.clock()
            maps[name] = one()
            if number or not on.repeats:
                seconds[name].append(on.clock() - start)
    rows = []
    for name in peers:
        ratios = [mine / theirs for mine, theirs in zip(seconds["ours"], seconds[name], strict=True)]
        difference = (maps["ours"] - maps[name]).abs().max() / (maps[name].max() - maps[name].min())
        rows.append({"network": on.name, "work": work, "images": str(len(on.x)), "beside": name})
        rows[-1] |= {"ours s": f"{statistics.median(seconds['ours']):.2f}"}
        rows[-1] |= {"theirs s": f"{statistics.median(seconds[name]):.2f}"}
        rows[-1] |= {"ratio": f"{statistics.median(ratios):.2f} ({min(ratios):.2f}-{max(ratios):.2f})"}
        rows[-1] |= {"largest difference": f"{float(difference):.0e}"}
    return rows


def integrated(on: Setting, steps: int = 50, *, whole: bool = True) -> list[Row]:
    """Integrated gradients from black."""
    captum, target = _captum(), on.model(on.x).argmax(1)
    theirs = captum.IntegratedGradients(on.model)
    parts: dict[str, Work] = {
        "target": lambda: target,
        "captum in parts": lambda: theirs.attribute(
            on.x, target=target, n_steps=steps, internal_batch_size=len(on.x)
        ).detach(),
    }
    if whole:
        parts["captum"] = lambda: theirs.attribute(on.x, target=target, n_steps=steps).detach()
    return compared(on, f"integrated gradients, {steps} steps", IntegratedGradients(steps), parts)


def smoothgrad(on: Setting, draws: int = 50, *, whole: bool = True) -> list[Row]:
    """SmoothGrad; the noise of each has its own numbers, so the maps differ by chance."""
    captum, target = _captum(), on.model(on.x).argmax(1)
    theirs, spread = captum.NoiseTunnel(captum.Saliency(on.model)), float(0.15 * (on.x.max() - on.x.min()))
    given: dict[str, Any] = {"nt_samples": draws, "stdevs": spread, "target": target, "abs": False}
    parts: dict[str, Work] = {
        "target": lambda: target,
        "captum in parts": lambda: theirs.attribute(on.x, nt_samples_batch_size=1, **given),
    }
    if whole:
        parts["captum"] = lambda: theirs.attribute(on.x, **given)
    return compared(on, f"SmoothGrad, {draws} draws", SmoothGrad(draws), parts)


def occlusion(on: Setting, window: int = 4) -> list[Row]:
    """Occlusion by black windows."""
    captum, target = _captum(), on.model(on.x).argmax(1)
    theirs, shape = captum.Occlusion(on.model), (on.x.shape[1], window, window)
    given: dict[str, Any] = {"sliding_window_shapes": shape, "strides": shape, "target": target}
    several = max(1, 512 // len(on.x))
    parts: dict[str, Work] = {
        "target": lambda: target,
        "captum": lambda: theirs.attribute(on.x, **given),
        f"captum, {several} windows at once": lambda: theirs.attribute(on.x, perturbations_per_eval=several, **given),
    }
    return compared(on, f"occlusion {window}x{window}", Occlusion(window), parts)


def memory(count: int = 1000, steps: int = 1) -> list[Row]:
    """Memory that integrated gradients of many images take beyond the network, the inputs and the maps.

    More steps take more time and no more memory.
    """
    model, x = efficientnet(), torch.rand(count, 3, 224, 224)
    target = torch.zeros(count, dtype=torch.int64)
    explain(IntegratedGradients(1), model, x[:1], target[:1])
    Path("/proc/self/clear_refs").write_text("5")  # the peak is that from now on
    before, start = _status("VmRSS"), time.perf_counter()
    maps = explain(IntegratedGradients(steps), model, x, target)
    added = _status("VmHWM") - before - maps.values.numel() * maps.values.element_size() / 2**20
    row = {"network": "EfficientNet-Lite0", "images": f"{count} of 224x224", "steps": str(steps)}
    return [{**row, "seconds": f"{time.perf_counter() - start:.0f}", "memory added, MiB": f"{added:.0f}"}]


def _status(key: str) -> float:
    """Memory of this process, MiB: VmRSS now, VmHWM at its peak."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(key)) / 1024


def single(repeats: int = 100) -> list[Row]:
    """One gradient of one image, beside autograd by hand on the same network."""
    model, x, target = robust(), fashion_mnist(1)[0], torch.tensor([0])

    def bare() -> Tensor:
        leaf = x.clone().requires_grad_()
        return torch.autograd.grad(model(leaf)[:, 0].sum(), leaf)[0]

    seconds: dict[str, list[float]] = {"autograd": [], "explain": []}
    for _ in range(repeats):
        for name, one in (("autograd", bare), ("explain", lambda: explain("gradient", model, x, target).values)):
            start = time.perf_counter()
            one()
            seconds[name].append(time.perf_counter() - start)
    return [{"one image, by": name, "ms": f"{1000 * statistics.median(all_):.2f}"} for name, all_ in seconds.items()]


def _captum() -> Any:  # noqa: ANN401 -- a package without types
    import captum.attr

    return captum.attr


def randomisation(clock: Callable[[], float], n: int = 100) -> list[Row]:
    """The check that draws all layers anew, for maps of the gradient; the CNN has random weights."""
    torch.manual_seed(0)
    networks = {
        "BatchNorm CNN": (BatchNormCNN().eval(), fashion_mnist(n)[0]),
        "EfficientNet-Lite0": (efficientnet(), photographs(n)),
    }
    rows = []
    for name, (model, x) in networks.items():
        start = clock()
        report = check_maps(CheckSubject("gradient", model, x), ["randomisation-ignored"])
        stages = len(report.curves["randomisation-ignored"].points)
        rows.append({"network": name, "images": str(len(x)), "stages": str(stages), "s": f"{clock() - start:.1f}"})
    return rows


def small(clock: Callable[[], float], n: int = 128, *, untrained: bool = False) -> list[Row]:
    """The robust CNN on Fashion-MNIST, or the same network with random weights."""
    torch.manual_seed(0)
    model = BatchNormCNN().eval() if untrained else robust()
    on = Setting("BatchNorm CNN, untrained" if untrained else "robust CNN", model, fashion_mnist(n)[0], 3, clock)
    return [*integrated(on), *smoothgrad(on), *occlusion(on)]


def large(clock: Callable[[], float], n: int = 64, steps: int = 4) -> list[Row]:
    """EfficientNet-Lite0 on photographs: few steps, once, as time grows with their number, and so few images that
    captum, which passes all of them at once even in parts, needs some 5 GiB.

    In float32 a ReLU6 near its kink may fall on either side: maps differ by more than rounding, as the network's own do
    between float32 and float64.
    """
    on = Setting("EfficientNet-Lite0", efficientnet(), photographs(n), 0, clock)
    rows = [*integrated(on, steps, whole=False), *smoothgrad(on, steps, whole=False)]
    return [*rows, *occlusion(on._replace(x=on.x[:16]), 32)]


def main() -> None:
    """Prints the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", help="some of memory, single, randomisation, small, large")
    parser.add_argument("--processor", action="store_true", help="count the seconds of the processor")
    parser.add_argument("--threads", type=int, help="of torch")
    parser.add_argument("--untrained", action="store_true", help="random weights in small, which takes no training")
    given = parser.parse_args()
    clock = CLOCKS[given.processor]
    works: dict[str, Callable[[], list[Row]]] = {
        "memory": memory,
        "single": single,
        "randomisation": lambda: randomisation(clock),
        "small": lambda: small(clock, untrained=given.untrained),
        "large": lambda: large(clock),
    }
    if given.threads:
        torch.set_num_threads(given.threads)
    warnings.filterwarnings("ignore", module="captum")
    print(machine(), flush=True)
    for name in given.works or works:
        if name not in works:
            sys.exit(f"no work is called {name}; there are {', '.join(works)}")
        print(f"\n### {name}\n\n{table(works[name]())}", flush=True)


if __name__ == "__main__":
    main()
