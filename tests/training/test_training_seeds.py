"""The order of the data and the generators of a run."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch

from robustlab.training import seeds

CPU = torch.device("cpu")


def drawn() -> tuple[float, float, float]:
    return torch.rand(()).item(), random.random(), float(np.random.rand())  # noqa: NPY002 -- the one being guarded


@pytest.mark.parametrize(("examples", "size"), [(1, 128), (100, 64), (129, 128), (60_000, 128), (7, 1)])
def test_an_epoch_has_every_example_once_in_batches_of_equal_size(examples: int, size: int) -> None:
    order = seeds.batches(examples, size, seed=3, epoch=2)
    assert torch.equal(torch.cat(order).sort().values, torch.arange(examples))
    lengths = [len(ids) for ids in order]
    assert max(lengths) <= size
    assert max(lengths) - min(lengths) <= 1
    assert len(lengths) == -(-examples // size)


def test_order_is_a_pure_function_of_seed_and_epoch() -> None:
    first = torch.cat(seeds.batches(500, 50, seed=1, epoch=1))
    torch.rand(3)
    assert torch.equal(first, torch.cat(seeds.batches(500, 50, seed=1, epoch=1)))
    for seed, epoch in ((1, 2), (2, 1), (2, 2)):
        other = torch.cat(seeds.batches(500, 50, seed=seed, epoch=epoch))
        assert (other == first).float().mean() < 0.05
    assert (first == torch.arange(500)).float().mean() < 0.05


def test_seeds_of_different_places_differ() -> None:
    places = {seeds.of_step(0, e, s, r) for e in range(1, 4) for s in range(1, 4) for r in range(2)}
    places |= {seeds.of_batch(0, e, s) for e in range(1, 4) for s in range(1, 4)}
    places |= {seeds.of_start(0), seeds.of_validation(0, 1), seeds.of_validation(0, 2), seeds.of_start(1)}
    assert len(places) == 18 + 9 + 4


def draw_and_fail() -> None:
    with seeds.private_generators(CPU) as reseed:
        reseed(5)
        drawn()
        raise KeyError("stop")


def test_generators_are_put_back_also_when_the_block_raises() -> None:
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        expected = drawn()
        random.seed(1)
        np.random.seed(1)  # noqa: NPY002
        torch.manual_seed(1)
        with pytest.raises(KeyError, match="stop"):
            draw_and_fail()
        assert drawn() == expected


def test_reseeding_decides_every_draw() -> None:
    with seeds.private_generators(CPU) as reseed:
        reseed(7)
        first = drawn()
        reseed(8)
        second = drawn()
        reseed(7)
        assert drawn() == first
        assert not set(first) & set(second)
