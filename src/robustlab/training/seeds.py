"""Randomness of training: each draw is a pure function of the seed and the place in the run.

No state passes from one step to the next, so a checkpoint needs no generator state and a resumed run has the draws of
an uninterrupted one.
"""

from __future__ import annotations

import math
import random
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeAlias

import torch
from torch import Tensor

from robustlab.core import Streams, fold_in

_ORDER, _START, _STEP, _BATCH, _VALIDATION, _READING = range(6)
Reseed: TypeAlias = Callable[[int], None]


def batches(examples: int, batch_size: int, *, seed: int, epoch: int) -> tuple[Tensor, ...]:
    """The examples of one epoch in random order, in batches of equal size up to one example.

    Every example occurs once, and no batch is too small for BatchNorm.

    Args:
        examples: their number.
        batch_size: the largest batch.
        seed: of the run.
        epoch: 1, 2, ...

    Returns: ids of each batch, int64.
    """
    draws = Streams(fold_in(seed, _ORDER, epoch), torch.arange(examples)).words(1)[:, 0]
    return torch.argsort(draws, stable=True).tensor_split(math.ceil(examples / batch_size))


def of_start(seed: int) -> int:
    """Seed of the generators during ``init`` of a recipe."""
    return fold_in(seed, _START)


def of_step(seed: int, epoch: int, step: int, part: int = 0, replay: int = 0) -> int:
    """Seed of the generators during the step on one part of a batch (dropout, random data)."""
    return fold_in(seed, _STEP, epoch, step, part, *_later(replay))


def of_batch(seed: int, epoch: int, step: int, replay: int = 0) -> int:
    """Seed of a batch; draws from it also depend on the ids, so the parts of a batch have the same seed."""
    return fold_in(seed, _BATCH, epoch, step, *_later(replay))


def _later(replay: int) -> tuple[int, ...]:
    """Numbers that the second and later replays of a batch add to its seed."""
    return (replay,) if replay else ()


def of_validation(seed: int, epoch: int) -> int:
    """Seed of the generators while the user's validation runs."""
    return fold_in(seed, _VALIDATION, epoch)


def of_reading(seed: int, epoch: int) -> int:
    """Seed of the draws of reading in one epoch; with its id each example has a seed of its own."""
    return fold_in(seed, _READING, epoch)


@contextmanager
def private_generators(device: torch.device) -> Iterator[Reseed]:
    """Gives the global generators to the block and puts them back when it ends, however it ends.

    These are the generators of torch on the CPU and on ``device``, of ``random`` and of NumPy.

    Yields: a function that seeds them all.
    """
    backend = None if device.type == "cpu" else getattr(torch, device.type)
    numpy = sys.modules.get("numpy")
    states = (torch.get_rng_state(), random.getstate(), numpy and numpy.random.get_state())
    device_state = backend and backend.get_rng_state()

    def reseed(seed: int) -> None:
        # torch.manual_seed would also queue a seed for every GPU, which costs a stack trace where there is none.
        torch.default_generator.manual_seed(seed)
        random.seed(seed)
        if numpy:
            numpy.random.seed(seed & 0xFFFFFFFF)
        if backend:
            backend.manual_seed(seed)

    try:
        yield reseed
    finally:
        torch.set_rng_state(states[0])
        random.setstate(states[1])
        if numpy:
            numpy.random.set_state(states[2])
        if backend:
            backend.set_rng_state(device_state)
