"""Speed of AutoAttack, APGD and Square against the reference and against the bare limit, in interleaved runs.

The nominal bare limit of a work is the raw model's passes on the whole batch and nothing else: a forward pass and a
backward pass to the input for each step, a forward pass for each query. That of AutoAttack is the sum over its stages,
with one target each: 300 steps and 5,000 queries. It is timed on a twentieth of the passes, before and after ours.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks import networks, reference
from benchmarks.attacks import accuracy, passes
from benchmarks.timing import interleaved
from robustlab.attacks import APGD, Square, autoattack
from robustlab.core import Attack, Linf, ThreatModel, search_twin

Row = dict[str, str]
THREAT = ThreatModel(Linf(), 0.1)
STEPS, QUERIES = 100, 5000  # of a stage of the standard suite, and of Square
PART = 20  # the long limit is timed on one in so many of its passes


@dataclass(frozen=True)
class Contest:
    """One work by all.

    Args:
        name: name in the table.
        model: attacked.
        images: number of images.
        attack: ours.
        theirs: the reference's.
        gradients: passes with gradient that the work takes at most.
        queries: passes without that it takes at most.
        targets: largest ratio to the reference that is good enough, by library.
    """

    name: str
    model: nn.Module
    images: int
    attack: Attack
    theirs: reference.Run
    gradients: int
    queries: int
    targets: Mapping[str, float]


def run(contest: Contest, *, repeats: int, part: int = 1, warm_up: bool = True) -> list[Row]:
    """Seconds, ratios and robust accuracy of all."""
    model, results = contest.model, dict[str, Tensor]()
    x, y = networks.fashion_mnist(contest.images)

    def remembered(who: str, attack: Callable[[], Tensor]) -> Callable[[], None]:
        return lambda: results.update({who: attack()})

    limit = bare(model, x, y, contest.gradients // part, contest.queries // part)
    narrow = search_twin(model, x, dtype=torch.bfloat16)
    peer = reference.torchattacks_whole(model, THREAT) if part > 1 else None
    seconds = interleaved(
        {
            "nominal limit": limit,
            "reference": remembered("reference", lambda: contest.theirs(x, y)),
            **({"torchattacks, 10 steps": remembered("torchattacks, 10 steps", lambda: peer(x, y))} if peer else {}),
            "robustlab": remembered("robustlab", lambda: contest.attack(model, x, y)),
            "robustlab, bf16 search": remembered("robustlab, bf16 search", lambda: contest.attack(narrow, x, y)),
            "nominal limit again": limit,
        },
        repeats,
        warm_up=warm_up,
    )
    seconds["nominal limit"] = part * (seconds["nominal limit"] + seconds.pop("nominal limit again")) / 2
    return [
        _row(contest, who, seconds, accuracy(model, results[who], y) if who in results else None) for who in seconds
    ]


def bare(model: nn.Module, x: Tensor, y: Tensor, gradients: int, queries: int) -> Callable[[], None]:
    """The raw model's passes on the whole batch."""
    with_gradient = passes(model, x, y, gradients)

    def run() -> None:
        with_gradient()
        with torch.no_grad():
            for _ in range(queries):
                model(x)

    return run


def _row(contest: Contest, who: str, seconds: Mapping[str, float], robust: float | None) -> Row:
    ratio = seconds[who] / seconds["reference"]
    target = contest.targets.get(who)
    return {
        "work": contest.name,
        "by": who,
        "seconds": f"{seconds[who]:.2f}",
        "/ nominal limit": f"{seconds[who] / seconds['nominal limit']:.2f}",
        "/ reference": f"{ratio:.2f}",
        "target": "" if target is None else f"{target:.2f}, {'met' if ratio <= target else 'missed'}",
        "robust accuracy": "" if robust is None else f"{robust:.3f}",
    }


def whole(repeats: int) -> list[Row]:
    """The standard suite on the robust network, in one round."""
    del repeats
    model = networks.robust()
    targets = {"robustlab": 0.45, "robustlab, bf16 search": 0.33}
    attack, theirs = autoattack(THREAT), reference.whole(model, THREAT)
    contest = Contest("AutoAttack standard, robust CNN, 200", model, 200, attack, theirs, 3 * STEPS, QUERIES, targets)
    return run(contest, repeats=1, part=PART, warm_up=False)


def apgd(repeats: int) -> list[Row]:
    """APGD on cross-entropy."""
    rows = []
    for name, model, targets in _both({"robustlab": 0.25}, {"robustlab": 0.75, "robustlab, bf16 search": 0.55}):
        theirs = reference.apgd_ce(model, THREAT, steps=STEPS)
        contest = Contest(f"APGD-CE, {name}, 128", model, 128, APGD(THREAT, STEPS), theirs, STEPS, 0, targets)
        rows += run(contest, repeats=repeats)
    return rows


def square(repeats: int) -> list[Row]:
    """Square with 1,000 queries."""
    rows, queries = [], 1000
    for name, model, targets in _both({"robustlab": 0.5}, {"robustlab": 0.9, "robustlab, bf16 search": 0.55}):
        theirs = reference.square(model, THREAT, queries=queries)
        attack = Square(THREAT, queries=queries)
        contest = Contest(f"Square, {name}, 128", model, 128, attack, theirs, 0, queries, targets)
        rows += run(contest, repeats=repeats)
    return rows


def _both(
    shallow: Mapping[str, float], robust: Mapping[str, float]
) -> list[tuple[str, nn.Module, Mapping[str, float]]]:
    return [("shallow CNN", networks.shallow(), shallow), ("robust CNN", networks.robust(), robust)]


WORKS: dict[str, Callable[[int], list[Row]]] = {"apgd": apgd, "square": square, "autoattack": whole}
