from __future__ import annotations

import itertools
import random

import numpy as np
import pytest
import torch
from scipy import stats

from robustlab.core import Streams, fold_in, subset

MASK = (1 << 64) - 1
PUBLISHED = [6457827717110365317, 3203168211198807973, 9817491932198370423, 4593380528125082431, 16408922859458223821]
"""The first outputs of splitmix64 for the seed 1234567, as Rosetta Code and others give them."""


def splitmix(state: int, count: int) -> list[int]:
    """The generator written down once more, with Python's own integers."""
    words = []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
        words.append(z ^ (z >> 31))
    return words


def mixed(word: int) -> int:
    """The output function of splitmix64 alone: that of the state which the step has already been taken from."""
    return splitmix((word - 0x9E3779B97F4A7C15) & MASK, 1)[0]


def words_of(seed: int, example: int, draw: int, count: int) -> list[int]:
    golden = 0x9E3779B97F4A7C15
    base = mixed((example * golden + mixed(seed & MASK)) & MASK)
    return splitmix(mixed((base + golden * (draw + 1)) & MASK), count)


def test_the_reference_is_the_published_generator() -> None:
    assert splitmix(1234567, 5) == PUBLISHED
    assert [mixed((1234567 + (j + 1) * 0x9E3779B97F4A7C15) & MASK) for j in range(5)] == PUBLISHED


@pytest.mark.parametrize(("seed", "example", "draw"), [(0, 0, 0), (1, 7, 0), (-3, 2**62, 5), (2**80 + 1, -1, 1000)])
def test_words_are_those_of_splitmix64(seed: int, example: int, draw: int) -> None:
    ours = Streams(seed, torch.tensor([12, example])).words(6, draw)
    assert [word & MASK for word in ours[1].tolist()] == words_of(seed, example, draw, 6)


def test_uniforms_are_the_top_bits_of_the_words() -> None:
    streams = Streams(5, torch.arange(3))
    words = torch.tensor([[word >> 11 for word in words_of(5, i, 2, 4)] for i in range(3)], dtype=torch.float64)
    assert torch.equal(streams.uniform((2, 2), 2, dtype=torch.float64), (words / 2**53).reshape(3, 2, 2))
    halves = [[half for word in words_of(5, i, 2, 2) for half in (word & 0xFFFFFFFF, word >> 32)] for i in range(3)]
    expected = torch.tensor([[(half >> 8) / 2**24 for half in row[:3]] for row in halves])
    assert torch.equal(streams.uniform((3,), 2), expected)


def test_integers_spread_the_word_over_the_range() -> None:
    halves = [half for word in words_of(1, 4, 0, 2) for half in (word & 0xFFFFFFFF, word >> 32)]
    assert Streams(1, torch.tensor([4])).integers(10, (4,))[0].tolist() == [half * 10 >> 32 for half in halves]


@pytest.mark.parametrize("kind", ["uniform", "normal"])
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(), (1,), (3, 5, 2)])
def test_draws_belong_to_the_example_not_to_the_batch(kind: str, dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    ids = torch.tensor([3, 100, 7, 3])
    all_of_them = getattr(Streams(2, ids), kind)(shape, 4, dtype=dtype)
    assert all_of_them.shape == (4, *shape)
    assert all_of_them.dtype == dtype
    assert torch.equal(all_of_them[0], all_of_them[3])
    for row, example in enumerate(ids):
        assert torch.equal(getattr(Streams(2, example[None]), kind)(shape, 4, dtype=dtype)[0], all_of_them[row])


def test_take_keeps_the_names() -> None:
    streams = Streams(0, torch.tensor([5, 6, 7]))
    mask, rows = torch.tensor([True, False, True]), torch.tensor([0, 2])
    for taken in (streams.take(mask), streams.take(rows)):
        assert torch.equal(taken.uniform((4,)), streams.uniform((4,))[rows])


@pytest.mark.parametrize("seed", [np.int64(3), torch.tensor(3)])
def test_a_seed_may_be_any_kind_of_integer(seed: int) -> None:
    ids = torch.arange(2)
    assert torch.equal(Streams(seed, ids).uniform((3,)), Streams(3, ids).uniform((3,)))
    assert fold_in(seed, 1) == fold_in(3, 1)


def test_other_seeds_ids_draws_and_forks_draw_other_numbers() -> None:
    ids = torch.arange(4)
    streams = [Streams(seed, ids) for seed in range(4)]
    streams += [stream.fork(label) for stream in streams for label in range(3)]
    words = torch.cat([stream.words(4, draw) for stream in streams for draw in range(3)])
    assert len(words) == 4 * 4 * 4 * 3
    assert len(set(words.flatten().tolist())) == words.numel()


def test_fold_in_goes_by_order_and_stays_a_seed() -> None:
    assert fold_in(0, 1, 2) != fold_in(0, 2, 1)
    assert fold_in(0, 1, 2) == fold_in(fold_in(0, 1), 2)
    assert all(0 <= fold_in(seed, label) < 2**63 for seed in (-5, 0, 2**70) for label in (0, 1, 2**40))
    ids = torch.arange(3)
    assert torch.equal(Streams(9, ids).fork(4, 5).words(2), Streams(fold_in(9, 4, 5), ids).words(2))


SAMPLES = 20_000


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("seed", [0, 1, 123])
def test_uniforms_are_uniform_over_values_and_over_examples(dtype: torch.dtype, seed: int) -> None:
    along = Streams(seed, torch.tensor([0])).uniform((SAMPLES,), dtype=dtype)[0]
    across = Streams(seed, torch.arange(SAMPLES)).uniform((), dtype=dtype)
    for values in (along, across):
        assert 0 <= values.min() <= values.max() < 1
        assert stats.kstest(values.double().numpy(), "uniform").pvalue > 1e-3


@pytest.mark.parametrize("seed", [0, 1, 123])
def test_normals_are_normal_and_unrelated(seed: int) -> None:
    along = Streams(seed, torch.tensor([0])).normal((SAMPLES,), dtype=torch.float64)[0]
    across = Streams(seed, torch.arange(SAMPLES)).normal((), dtype=torch.float64)
    for values in (along, across):
        assert stats.kstest(values.numpy(), "norm").pvalue > 1e-3
    half = SAMPLES // 2
    assert abs(stats.pearsonr(along[:half].numpy(), along[half:].numpy()).statistic) < 4 / half**0.5


def test_integers_are_equally_likely() -> None:
    draws = Streams(0, torch.arange(SAMPLES)).integers(7)
    assert stats.chisquare(torch.bincount(draws, minlength=7).numpy()).pvalue > 1e-3


@pytest.mark.parametrize("lag", [1, 2, 10])
def test_neighbouring_seeds_ids_draws_and_forks_are_uncorrelated(lag: int) -> None:
    ids = torch.arange(100)
    first = Streams(40, ids)
    others = [
        Streams(40 + lag, ids).normal((100,)),
        Streams(40, ids + lag).normal((100,)),
        first.normal((100,), lag),
        first.fork(lag).normal((100,)),
    ]
    for other in others:
        assert abs(stats.pearsonr(first.normal((100,)).flatten(), other.flatten()).statistic) < 0.04


@pytest.mark.parametrize("high", [0, -1, 2**31])
def test_a_range_that_does_not_fit_is_refused(high: int) -> None:
    with pytest.raises(ValueError, match=rf"high must be in 1..2\*\*31 - 1, got {high}"):
        Streams(0, torch.arange(2)).integers(high)


def test_the_global_generators_are_not_used() -> None:
    before = torch.get_rng_state(), random.getstate()
    Streams(0, torch.arange(2)).normal((3,))
    subset(10, 3)
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]


def test_subsets_are_sorted_samples_that_contain_each_other() -> None:
    subsets = [set(subset(50, size, seed=3).tolist()) for size in range(51)]
    assert [len(ids) for ids in subsets] == list(range(51))
    assert all(small < large for small, large in itertools.pairwise(subsets))
    assert subset(50, 20, seed=3).tolist() == sorted(subsets[20])
    assert subset(50, 20, seed=4).tolist() != sorted(subsets[20])


@pytest.mark.slow
def test_every_example_is_equally_likely_to_be_in_a_subset() -> None:
    counts = torch.bincount(torch.cat([subset(20, 5, seed) for seed in range(2000)]), minlength=20)
    assert stats.chisquare(counts.numpy()).pvalue > 1e-3


@pytest.mark.parametrize("size", [-1, 11])
def test_a_subset_larger_than_the_population_is_refused(size: int) -> None:
    with pytest.raises(ValueError, match=f"cannot draw {size} of 10"):
        subset(10, size)
