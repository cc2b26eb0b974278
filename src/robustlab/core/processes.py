"""Distributed work of the processes started by ``torchrun`` or ``accelerate launch``."""

from __future__ import annotations

import os
import pickle
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from itertools import count
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, distributed, nn

from robustlab.core.errors import RunError
from robustlab.core.types import Metrics

if TYPE_CHECKING:
    from torch._C._distributed_c10d import Store

T = TypeVar("T")
_TIMES = count()
"""Number of connections so far: keys in the store must be new each time."""
_PATIENCE = timedelta(days=30)
"""Long, as one process may work while the others wait; a process that died is noticed by its closed connection."""


def launched() -> Processes:
    """Rank and number of the launcher's processes, not connected yet; a single process without a launcher."""
    if not distributed.is_available():
        return Processes()
    if distributed.is_initialized():
        return Processes(distributed.get_rank(), distributed.get_world_size())
    return Processes(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def joined() -> Iterator[Processes]:
    """Connects all processes of the launcher for the block; each of them must enter it.

    An existing connection of the program is used and stays open.
    """
    if launched().count == 1:
        yield Processes()
        return
    if distributed.is_initialized():
        group = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        processes = Processes(
            distributed.get_rank(), distributed.get_world_size(), cast(distributed.ProcessGroup, group)
        )
    else:
        from torch.distributed.distributed_c10d import PrefixStore

        store, rank, size = _rendezvous()
        fresh = PrefixStore(f"robustlab {next(_TIMES)}", store)
        _call(distributed.init_process_group, "gloo", store=fresh, rank=rank, world_size=size, timeout=_PATIENCE)
        processes = Processes(rank, size)
    try:
        yield processes
    finally:
        distributed.destroy_process_group(processes.group)


@cache
def _rendezvous() -> tuple[Store, int, int]:
    """Store of the rendezvous, rank of this process and number of processes."""
    from torch.distributed.rendezvous import rendezvous

    result: tuple[Store, int, int] = next(rendezvous("env://"))
    return result


@dataclass(frozen=True)
class Processes:
    """Rank of this process among several; a single one never sends anything.

    Args:
        rank: 0, 1, ...; the first one writes and logs for all.
        count: number of processes.
        group: their process group; None: torch's default.
    """

    rank: int = 0
    count: int = 1
    group: distributed.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """True for the process that writes and logs for all."""
        return self.rank == 0

    def own_parts(self, parts: tuple[Tensor, ...]) -> list[tuple[int, Tensor]]:
        """Parts of a batch for this process, with their numbers; every process gets equally many."""
        own = len(parts) // self.count
        return list(enumerate(parts))[self.rank * own : (self.rank + 1) * own]

    def start_alike(self, tensors: Iterable[Tensor]) -> None:
        """Copies the first process's values over the others'."""
        if self.count > 1:
            for tensor in tensors:
                held = tensor.data.contiguous()
                _call(distributed.broadcast, held, src=0, group=self.group)
                tensor.data.copy_(held)

    def add_gradients(self, model: nn.Module) -> None:
        """Replaces the gradient of each weight by the sum over the processes."""
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        if self.count > 1 and gradients:
            for kind in sorted({gradient.dtype for gradient in gradients}, key=str):
                self._add([gradient for gradient in gradients if gradient.dtype == kind])

    def _add(self, tensors: list[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        _call(distributed.all_reduce, flat, group=self.group)
        for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view(tensor.shape))

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Replaces each tensor by its mean over the processes; integers stay unchanged."""
        if self.count > 1:
            for tensor in tensors:
                if tensor.is_floating_point():
                    self._add([tensor.div_(self.count)])

    def total(self, metrics: Metrics, weight: float, device: torch.device) -> Metrics:
        """Weighted sums of metrics over the processes, which must all use the same names."""
        if self.count == 1:
            return metrics
        kind = torch.float32 if device.type == "mps" else torch.float64
        values = torch.tensor([value * weight for value in metrics.values()], dtype=kind, device=device)
        _call(distributed.all_reduce, values, group=self.group)
        return dict(zip(metrics, values.tolist(), strict=True))

    def from_first(self, value: T) -> T:
        """Value of the first process, in all of them."""
        if self.count == 1:
            return value
        box = [value]
        _call(distributed.broadcast_object_list, box, src=0, group=self.group)
        return box[0]

    def by_first(self, work: Callable[[], T]) -> T:
        """Result of work that only the first process does; its error is raised in all of them."""
        if self.count == 1:
            return work()
        value, error = tried(work) if self.first else (None, None)
        value, first_error = self.from_first((value, sendable(error)))
        if error is not None or first_error is not None:
            raise error or first_error or RuntimeError
        return value  # type: ignore[return-value]

    def each(self, work: Callable[[], T]) -> T:
        """Result of work that every process does by itself, once all have finished.

        If any process fails, all raise: their own error, or else that of the first process that has one.
        """
        if self.count == 1:
            return work()
        value, error = tried(work)
        box: list[Exception | None] = [None] * self.count
        _call(distributed.all_gather_object, box, sendable(error), group=self.group)
        failure = next((one for one in (error, *box) if one is not None), None)
        if failure is not None:
            raise failure
        return value  # type: ignore[return-value]

    def gathered(self, tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """The tensors of all processes, on the CPU, by rank; in the first process alone, empty in the others."""
        own = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
        if self.count == 1:
            return [own]
        box: list[dict[str, Tensor]] | None = [{}] * self.count if self.first else None
        _call(distributed.gather_object, own, box, dst=0, group=self.group)
        return box or []

    def wait(self) -> None:
        """Waits until all processes have arrived."""
        if self.count > 1:
            _call(distributed.barrier, group=self.group)


def _call(talk: Callable[..., object], *given: object, **how: object) -> None:
    """Calls a function of ``torch.distributed``.

    Raises: RunError if the connection is closed because another process has ended.
    """
    try:
        talk(*given, **how)
    except RuntimeError as error:
        raise RunError(
            "another process of this run has ended, so this one ends too: read the last lines that it logged, "
            "then start all again with the same command; finished work is kept"
        ) from error


def tried(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """Result of some work, or the error that it raised."""
    try:
        return work(), None
    except Exception as error:
        return None, error


def sendable(error: Exception | None) -> Exception | None:
    """The error itself, or one with its message if it cannot be pickled."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
