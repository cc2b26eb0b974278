"""Models that draw from any global generator: the same numbers again, and the generators left where they were."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import TypeVar

import numpy as np
import pytest
import torch
from torch import Tensor

from robustlab.attacks import EOT, PGD, RandomNoise
from robustlab.core import Attack, Linf, ThreatModel
from robustlab.data import InMemory
from robustlab.evaluation import evaluate, evaluate_corruptions

R = TypeVar("R")
THREAT = ThreatModel(Linf(), 0.1)
DATA = InMemory("grey", ("a", "b"), torch.full((48, 1, 8, 8), 0.5), torch.arange(48) % 2)
GENERATORS: dict[str, Callable[[int], list[float]]] = {
    "torch": lambda n: torch.rand(n).tolist(),
    "random": lambda n: [random.random() for _ in range(n)],
    "numpy": lambda n: np.random.rand(n).tolist(),  # noqa: NPY002 -- the global generator is what the test is about
}


def drawing(draw: Callable[[int], list[float]]) -> Callable[[Tensor], Tensor]:
    """Logits that are noise, and a little of the input."""

    def model(x: Tensor) -> Tensor:
        noise = torch.tensor(draw(len(x)), dtype=x.dtype) - 0.5
        return torch.stack([noise, -noise], dim=1) + 0.01 * x.mean(dim=(1, 2, 3))[:, None]

    return model


def twice(work: Callable[[], R]) -> tuple[R, R]:
    """The work done twice, with other draws before; each time the generators are left where they were."""
    found = []
    for _ in range(2):
        for draw in GENERATORS.values():
            draw(3)
        before = following()
        found.append(work())
        assert following() == before
    return found[0], found[1]


def following() -> list[object]:
    """Next draw of each generator."""
    return [
        torch.get_rng_state().tolist(),
        random.getstate(),
        np.random.get_state(legacy=False)["state"]["key"].tolist(),  # noqa: NPY002
    ]


@pytest.mark.slow
@pytest.mark.parametrize("draw", GENERATORS.values(), ids=GENERATORS)
def test_an_evaluation_draws_the_same_again(draw: Callable[[int], list[float]]) -> None:
    attacks: list[Attack] = [RandomNoise(THREAT), EOT(PGD(THREAT, 2), 3)]
    first, again = twice(lambda: evaluate(drawing(draw), DATA, attacks=attacks))
    assert 0 < first.clean.accuracy.value < 1
    assert again.clean.accuracy == first.clean.accuracy
    assert again.clean.mean_confidence == first.clean.mean_confidence
    assert again.worst == first.worst


@pytest.mark.parametrize("draw", GENERATORS.values(), ids=GENERATORS)
def test_an_evaluation_on_corrupted_images_draws_the_same_again(draw: Callable[[int], list[float]]) -> None:
    first, again = twice(lambda: evaluate_corruptions(drawing(draw), DATA, corruptions=["brightness"], severities=[1]))
    assert again.cells[0].accuracy == first.cells[0].accuracy
    assert again.cells[0].mean_confidence == first.cells[0].mean_confidence


@pytest.mark.parametrize("draw", GENERATORS.values(), ids=GENERATORS)
def test_expectation_draws_the_same_again(draw: Callable[[int], list[float]]) -> None:
    x, y = torch.rand(6, 1, 4, 4, generator=torch.Generator().manual_seed(0)), torch.zeros(6, dtype=torch.int64)
    first, again = twice(lambda: EOT(PGD(THREAT, 3), 3)(drawing(draw), x, y))
    assert torch.equal(first, again)
