"""The processes that work on one thing together, started by ``torchrun`` or ``accelerate launch``."""

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
"""How often the processes connected: what they say to each other in the store must be new each time."""
_PATIENCE = timedelta(days=30)
"""One process may work long while the others wait; that one of them died shows by its connection, not by the time."""


def launched() -> Processes:
    """Which of the processes of its launcher this one is, not connected yet; the only one without a launcher."""
    if not distributed.is_available():
        return Processes()
    if distributed.is_initialized():
        return Processes(distributed.get_rank(), distributed.get_world_size())
    return Processes(int(os.environ.get("RANK", "0")), int(os.environ.get("WORLD_SIZE", "1")))


@contextmanager
def joined() -> Iterator[Processes]:
    """All processes of the launcher, connected for the block; each of them must come here.

    A connection that the program has made already is used, and left as it was.
    """
    if launched().count == 1:
        yield Processes()
        return
    if distributed.is_initialized():
        group = distributed.new_group(backend="gloo", timeout=_PATIENCE)
        made = Processes(distributed.get_rank(), distributed.get_world_size(), cast(distributed.ProcessGroup, group))
    else:
        from torch.distributed.distributed_c10d import PrefixStore

        store, rank, size = _meeting()
        fresh = PrefixStore(f"robustlab {next(_TIMES)}", store)
        _heard(distributed.init_process_group, "gloo", store=fresh, rank=rank, world_size=size, timeout=_PATIENCE)
        made = Processes(rank, size)
    try:
        yield made
    finally:
        distributed.destroy_process_group(made.group)


@cache
def _meeting() -> tuple[Store, int, int]:
    """Where the processes find each other, and which of how many this one is."""
    from torch.distributed.rendezvous import rendezvous

    found: tuple[Store, int, int] = next(rendezvous("env://"))
    return found


@dataclass(frozen=True)
class Processes:
    """Which of the processes this one is; with one of them nothing is ever sent.

    Args:
        rank: 0, 1, ...; the first one writes and speaks for all.
        count: how many there are.
        group: over which they are connected; None: torch's default.
    """

    rank: int = 0
    count: int = 1
    group: distributed.ProcessGroup | None = None

    @property
    def first(self) -> bool:
        """Whether this process speaks for all."""
        return self.rank == 0

    def share(self, parts: tuple[Tensor, ...]) -> list[tuple[int, Tensor]]:
        """The parts of a batch that are this process's, with their numbers; all have as many."""
        own = len(parts) // self.count
        return list(enumerate(parts))[self.rank * own : (self.rank + 1) * own]

    def start_alike(self, tensors: Iterable[Tensor]) -> None:
        """Copies the first process's values over the others'."""
        if self.count > 1:
            for tensor in tensors:
                held = tensor.data.contiguous()
                _heard(distributed.broadcast, held, src=0, group=self.group)
                tensor.data.copy_(held)

    def add_gradients(self, model: nn.Module) -> None:
        """Replaces the gradient of each weight by the sum over the processes."""
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        if self.count > 1 and gradients:
            for kind in sorted({gradient.dtype for gradient in gradients}, key=str):
                self._add([gradient for gradient in gradients if gradient.dtype == kind])

    def _add(self, tensors: list[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        _heard(distributed.all_reduce, flat, group=self.group)
        for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view(tensor.shape))

    @torch.no_grad()
    def average(self, tensors: Iterable[Tensor]) -> None:
        """Makes each tensor the mean over the processes; integers are left as they are."""
        if self.count > 1:
            for tensor in tensors:
                if tensor.is_floating_point():
                    self._add([tensor.div_(self.count)])

    def total(self, metrics: Metrics, weight: float, device: torch.device) -> Metrics:
        """The sum over the processes of numbers times the weight of each; all must have the same names."""
        if self.count == 1:
            return metrics
        kind = torch.float32 if device.type == "mps" else torch.float64
        values = torch.tensor([value * weight for value in metrics.values()], dtype=kind, device=device)
        _heard(distributed.all_reduce, values, group=self.group)
        return dict(zip(metrics, values.tolist(), strict=True))

    def from_first(self, value: T) -> T:
        """What the first process has, in all of them."""
        if self.count == 1:
            return value
        box = [value]
        _heard(distributed.broadcast_object_list, box, src=0, group=self.group)
        return box[0]

    def by_first(self, work: Callable[[], T]) -> T:
        """What a work gives that the first process does alone; all raise the error that it raises."""
        if self.count == 1:
            return work()
        value, error = tried(work) if self.first else (None, None)
        value, told = self.from_first((value, sendable(error)))
        if error is not None or told is not None:
            raise error or told or RuntimeError
        return value  # type: ignore[return-value]

    def each(self, work: Callable[[], T]) -> T:
        """What a work gives that each process does by itself, when all have done it.

        All raise an error if any does: its own, if there is one, else that of the first that has one.
        """
        if self.count == 1:
            return work()
        value, error = tried(work)
        box: list[Exception | None] = [None] * self.count
        _heard(distributed.all_gather_object, box, sendable(error), group=self.group)
        found = next((one for one in (error, *box) if one is not None), None)
        if found is not None:
            raise found
        return value  # type: ignore[return-value]

    def gathered(self, tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """The tensors of all processes, on the CPU, by rank; in the first process alone, empty in the others."""
        own = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
        if self.count == 1:
            return [own]
        box: list[dict[str, Tensor]] | None = [{}] * self.count if self.first else None
        _heard(distributed.gather_object, own, box, dst=0, group=self.group)
        return box or []

    def wait(self) -> None:
        """Goes on when all processes are here."""
        if self.count > 1:
            _heard(distributed.barrier, group=self.group)


def _heard(talk: Callable[..., object], *given: object, **how: object) -> None:
    """Talks to the other processes.

    Raises: RunError if one of them has ended, which shows by its connection.
    """
    try:
        talk(*given, **how)
    except RuntimeError as error:
        raise RunError(
            "another of the processes that work together has ended, so this one ends too: look for its own last lines, "
            "then start them again with the same command; what was done is kept"
        ) from error


def tried(work: Callable[[], T]) -> tuple[T | None, Exception | None]:
    """What a work gives, or the error that it raises."""
    try:
        return work(), None
    except Exception as error:
        return None, error


def sendable(error: Exception | None) -> Exception | None:
    """The error as it is, or what it says if it cannot be sent to another process."""
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {error}")
    return error
