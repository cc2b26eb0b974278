"""Reading of the data of an epoch: directly from memory, or from disk ahead of time by worker processes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from traceback import clear_frames
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset
from torch.utils.data._utils.signal_handling import _remove_worker_pids  # type: ignore[attr-defined]

from robustlab.core import Batch, DataError, Examples, fold_in
from robustlab.core.processes import sendable, tried
from robustlab.core.user_code import batch_of
from robustlab.data.tokens import RESIDENT
from robustlab.data.unlabelled import innermost
from robustlab.data.wrapped import FromDataset
from robustlab.training import seeds

_MOST = 8
"""Most workers that are started by default; each holds two batches ready."""


class Reader:
    """Reads one batch after another, in their order.

    Data in memory is read when it is needed, and other data too if there are no workers. Else the workers, which are
    processes, read the batches in turn ahead of time. The batches are the same with any number of workers.

    Args:
        examples: the data.
        workers: their number; None: none for data in memory or where a CPU computes, whose cores are busy, else one for
            each core of this process, 8 at most.
        device: that computes.
    """

    def __init__(self, examples: Examples, workers: int | None, device: torch.device) -> None:
        if workers is None:
            workers = 0 if device.type == "cpu" else min(_MOST, _cores())
        self.examples, self.workers = examples, 0 if _resident(examples) else workers
        self._jobs: list[tuple[Tensor, int]] = []
        self._loader: DataLoader[tuple[Batch | None, Exception | None]] | None = None
        self._reading: Iterator[tuple[Batch | None, Exception | None]] = iter(())
        if self.workers:
            self._loader = DataLoader(
                _Reading(examples),
                sampler=self._jobs,
                batch_size=None,
                num_workers=self.workers,
                persistent_workers=True,
                pin_memory=device.type == "cuda",
                generator=torch.Generator(),
            )

    def read(self, parts: Sequence[Tensor], seed: int) -> Iterator[Batch]:
        """The batches of an epoch.

        Args:
            parts: ids of each (N,).
            seed: of the epoch; the draws of reading an example are a function of it and of the id.

        Raises: DataError if the data cannot be read.
        """
        if self._loader is None:
            yield from (fetched(self.examples, ids, seed) for ids in parts)
            return
        self._jobs[:] = [(ids, seed) for ids in parts]
        self._reading = iter(self._loader)  # held here alone, so that ``close`` ends it
        for _ in parts:
            batch, error = next(self._reading)
            if batch is None:
                raise error or RuntimeError
            yield batch

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Names the data in the error if a worker ends unexpectedly, at any moment of the block.

        The signal of a dead worker raises wherever the program is, also where the error is being named; hence twice.

        Raises: DataError if one does.
        """
        with self._named(), self._named():
            yield

    @contextmanager
    def _named(self) -> Iterator[None]:
        try:
            yield
        except (RuntimeError, EOFError, OSError) as error:
            told = "DataLoader worker" in str(error)
            if not (told or self._lost()):
                raise
            reason = str(error).splitlines()[0].rstrip(". ") if told else "DataLoader worker closed its connection"
            self.close()
            clear_frames(error.__traceback__)  # they hold the loader, which reports the dead worker at any later moment
            raise DataError(
                f"a process that reads {self.examples.name} ended unexpectedly ({reason}): check the free memory, "
                "or set workers=0 to read in this process"
            ) from error

    def _lost(self) -> bool:
        """True if a worker has ended, or does so within a second: its connections break off a moment before."""
        sentinels = [worker.sentinel for worker in getattr(self._reading, "_workers", ())]
        return bool(sentinels and wait(sentinels, 1))

    def close(self) -> None:
        """Ends the workers, at once: while something holds the iterator, a dead one is reported at any later moment."""
        for _ in range(2):  # the signal of a dead one may raise here, too
            with suppress(RuntimeError):
                self._end()

    def _end(self) -> None:
        reading: Any = self._reading
        if getattr(reading, "_worker_pids_set", False):
            _remove_worker_pids(id(reading))
            reading._worker_pids_set = False
        if hasattr(reading, "_shutdown_workers"):
            reading._shutdown_workers()
        self._loader, self._reading = None, iter(())


@dataclass(frozen=True)
class _Reading(Dataset[tuple[Batch | None, Exception | None]]):
    """Work of a worker: the batch of a job, or the error."""

    examples: Examples

    def __getitem__(self, job: tuple[Tensor, int]) -> tuple[Batch | None, Exception | None]:
        batch, error = tried(lambda: fetched(self.examples, *job))
        return batch, sendable(error)


def fetched(examples: Examples, ids: Tensor, seed: int) -> Batch:
    """Reads some examples; the draws of reading (from torch, ``random`` or NumPy) depend on seed and ids alone.

    The items of a torch data set are read one by one, each with its own seed, as they may be changed at random. Other
    data that is not in memory is read by whole batches.
    """
    if _resident(examples):
        return batch_of(examples, ids)
    parts = ids.split(1) if _by_item(examples) else (ids,)
    with seeds.private_generators(torch.device("cpu")) as reseed:
        read = []
        for part in parts:
            reseed(fold_in(seed, int(part[0])))
            read.append(batch_of(examples, part))
    if len(read) == 1:
        return read[0]
    shapes = {tuple(one.x.shape[1:]) for one in read}
    if len(shapes) > 1:
        raise DataError(f"{examples.name} has inputs of different shapes {sorted(shapes)}: bring them to one size")
    return Batch(torch.cat([one.x for one in read]), torch.cat([one.y for one in read]), ids)


def _resident(examples: Examples) -> bool:
    return isinstance(innermost(examples), RESIDENT)


def _by_item(examples: Examples) -> bool:
    return isinstance(innermost(examples), FromDataset)


def _cores() -> int:
    """Cores of this machine for each of its training processes."""
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, allowed // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
