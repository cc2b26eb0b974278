"""Throughput of PGD, APGD and AutoAttack against the bare limit, on a GPU or a CPU.

    python -m benchmarks.gpu [--device auto] [--images N] [--steps N]

The networks have random weights (and BatchNorm statistics of one random batch), which is enough to measure throughput,
but all examples are fooled at once: rows with stop="success" show the small cost of fooled examples, and those with
stop="never" the cost of an example that stays robust. The bare limit is the raw model's passes on the whole batch, in
float32, and in the layout and precision of the search: a forward pass and a backward pass to the input for each step, a
forward pass for each query. Without a GPU the numbers of images, steps and queries are tiny: that shows that it runs.
"""

from __future__ import annotations

import argparse
import copy
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor, nn

from benchmarks.autoattack_speed import bare
from benchmarks.timing import interleaved, machine, table
from robustlab.attacks import APGD, APGDT, FABT, PGD, AutoAttack, Square
from robustlab.core import Attack, Linf, Stop, ThreatModel, search_twin

Row = dict[str, str]
THREAT = ThreatModel(Linf(), 8 / 255)
TARGETS = 9  # of the targeted stages: all of them for an example that stays robust
QUERIES = 50  # of Square for each step of the other stages, as in the standard suite: 5,000 and 100


class Subject(NamedTuple):
    """Model and inputs under attack."""

    name: str
    model: nn.Module
    x: Tensor
    y: Tensor


@dataclass(frozen=True)
class Work:
    """An attack, and its largest number of passes.

    Args:
        name: name in the table.
        attack: the attack.
        gradients: passes with gradient.
        queries: passes without.
        part: the limit is timed on one in so many of its passes.
    """

    name: str
    attack: Attack
    gradients: int
    queries: int = 0
    part: int = 1


def works(steps: int) -> list[Work]:
    """PGD, APGD, and AutoAttack's standard stages with so many steps each; 100 is the standard."""
    attacks = (APGD(THREAT, steps), APGDT(THREAT, steps), FABT(THREAT, steps), Square(THREAT, queries=QUERIES * steps))
    suite = AutoAttack(("apgd-ce", "apgd-t", "fab-t", "square"), attacks)
    gradients, part = steps * (1 + 2 * TARGETS), min(steps, 20)
    return [
        Work(f"PGD-{steps}", PGD(THREAT, steps), steps),
        Work(f"APGD-CE, {steps} steps", APGD(THREAT, steps), steps),
        Work(f"AutoAttack, {steps} steps", suite, gradients, QUERIES * steps, part),
    ]


def subjects(device: torch.device, images: int) -> Iterator[Subject]:
    """ResNet-18 as it is used at 32x32, and EfficientNet-B0 on a quarter of the images at 224x224."""
    import timm

    resnet = timm.create_model("resnet18", num_classes=10)
    resnet.conv1, resnet.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    yield _subject("ResNet-18, 32x32", resnet, (images, 3, 32, 32), device)
    small = max(1, images // 4)
    yield _subject("EfficientNet-B0, 224x224", timm.create_model("efficientnet_b0"), (small, 3, 224, 224), device)


def _subject(name: str, model: nn.Module, shape: tuple[int, ...], device: torch.device) -> Subject:
    x = torch.rand(shape, generator=torch.Generator().manual_seed(0)).to(device)
    model.to(device)
    norms = [part for part in model.modules() if isinstance(part, nn.BatchNorm2d)]
    for norm in norms:
        norm.momentum = 1.0  # the statistics of one batch: without them activations vanish on the way
    with torch.no_grad():
        model.train()(x)
        return Subject(f"{name}, {len(x)}", model, x, model.eval()(x).argmax(1))


def rows(subject: Subject, work: Work, *, repeats: int) -> Iterator[Row]:
    """Throughput and memory of the limits and of ours."""
    runs, peaks = contestants(subject, work), dict[str, str]()
    watched = {who: _watched(who, run, subject.x.device, peaks) for who, run in runs.items()}
    seconds = interleaved(watched, repeats, warm_up=work.part == 1)
    for who in runs:
        if "limit" in who:
            seconds[who] *= work.part
        rate = len(subject.x) / seconds[who]
        yield {
            "network": subject.name,
            "work": work.name,
            "by": who,
            "images/s": f"{rate:.3g}",
            "/ limit": f"{seconds['limit, fp32'] / seconds[who]:.2f}",
            "/ limit of its kind": f"{seconds[_limit_of(who)] / seconds[who]:.2f}",
            "peak memory": peaks[who],
        }


def contestants(subject: Subject, work: Work) -> dict[str, Callable[[], object]]:
    """The limits of each layout and precision, and ours in both precisions of the search."""
    _, model, x, y = subject
    last = x.contiguous(memory_format=torch.channels_last)
    passes = (work.gradients // work.part, work.queries // work.part)
    kinds = {
        "limit, fp32": bare(model, x, y, *passes),
        "limit, fp32, channels-last": bare(_last(model), last, y, *passes),
        "limit, bf16, channels-last": bare(_last(model).bfloat16(), last.bfloat16(), y, *passes),
    }
    narrow = search_twin(model, x, dtype=torch.bfloat16)
    stops: tuple[Stop, ...] = ("never", "success")

    def attacked(attacked_model: Callable[[Tensor], Tensor], stop: Stop) -> Callable[[], object]:
        return lambda: work.attack(attacked_model, x, y, stop=stop)

    ours = {f'robustlab, fp32, stop="{stop}"': attacked(model, stop) for stop in stops}
    half = {f'robustlab, bf16 search, stop="{stop}"': attacked(narrow, stop) for stop in stops}
    return {**kinds, **ours, **half}


def _last(model: nn.Module) -> nn.Module:
    kept: nn.Module = copy.deepcopy(model).requires_grad_(requires_grad=False)
    return kept.to(memory_format=torch.channels_last)


def _limit_of(who: str) -> str:
    if "limit" in who:
        return who
    return "limit, bf16, channels-last" if "bf16" in who else "limit, fp32, channels-last"


def _watched(who: str, run: Callable[[], object], device: torch.device, peaks: dict[str, str]) -> Callable[[], object]:
    """The same work, with a record of the largest sum of CUDA memory in use."""

    def watched() -> None:
        if device.type != "cuda":
            peaks[who] = "not known"
            run()
            return
        torch.cuda.reset_peak_memory_stats(device)
        run()
        peaks[who] = f"{torch.cuda.max_memory_allocated(device) / 2**20:.0f} MiB"

    return watched


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, mps")
    parser.add_argument("--images", type=int, help="at 32x32; a quarter of them at 224x224 (default: 512; CPU: 4)")
    parser.add_argument("--steps", type=int, help="of each attack (default: 100; CPU: 1)")
    parser.add_argument("--repeats", type=int, default=1)
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    current = torch.accelerator.current_accelerator(check_available=True) or torch.device("cpu")
    device = current if options.device == "auto" else torch.device(options.device)
    tiny = device.type == "cpu"
    print(f"{machine()}; on {device}\n")
    result: list[Row] = []
    for subject in subjects(device, options.images or (4 if tiny else 512)):
        for work in works(options.steps or (1 if tiny else 100)):
            result += rows(subject, work, repeats=options.repeats)
    print(table(result))


if __name__ == "__main__":
    main()
