"""The processes that train one model together: each has the whole model and its share of every batch.

The model is not wrapped, so that recipes may do with it what they like; gradients are added up before each update.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, distributed, nn

from robustlab.core import Metrics

T = TypeVar("T")


@dataclass(frozen=True)
class Processes:
    """Which of the processes this one is; with one of them nothing is ever sent.

    Args:
        rank: 0, 1, ...; the first one writes and validates.
        count: how many there are.
    """

    rank: int = 0
    count: int = 1

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
                distributed.broadcast(held, src=0)
                tensor.data.copy_(held)

    def add_gradients(self, model: nn.Module) -> None:
        """Replaces the gradient of each weight by the sum over the processes."""
        gradients = [weight.grad for weight in model.parameters() if weight.grad is not None]
        if self.count > 1 and gradients:
            for kind in sorted({gradient.dtype for gradient in gradients}, key=str):
                self._add([gradient for gradient in gradients if gradient.dtype == kind])

    def _add(self, tensors: list[Tensor]) -> None:
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors])
        distributed.all_reduce(flat)
        for tensor, total in zip(tensors, flat.split([t.numel() for t in tensors]), strict=True):
            tensor.copy_(total.view(tensor.shape))

    def average_buffers(self, model: nn.Module) -> None:
        """Makes running statistics the mean over the processes, each of which has seen its own examples."""
        buffers = [buffer for buffer in model.buffers() if buffer.is_floating_point()]
        if self.count > 1 and buffers:
            with torch.no_grad():
                for buffer in buffers:
                    buffer.div_(self.count)
                    self._add([buffer])

    def total(self, metrics: Metrics, weight: float, device: torch.device) -> Metrics:
        """The sum over the processes of numbers times the weight of each; all must have the same names."""
        if self.count == 1:
            return metrics
        kind = torch.float32 if device.type == "mps" else torch.float64
        values = torch.tensor([value * weight for value in metrics.values()], dtype=kind, device=device)
        distributed.all_reduce(values)
        return dict(zip(metrics, values.tolist(), strict=True))

    def from_first(self, value: T) -> T:
        """What the first process has, in all of them."""
        if self.count == 1:
            return value
        box = [value]
        distributed.broadcast_object_list(box, src=0)
        return box[0]

    def gathered(self, tensors: Mapping[str, Tensor]) -> list[dict[str, Tensor]]:
        """The tensors of all processes, on the CPU, by rank; in the first process alone, empty in the others."""
        own = {name: tensor.detach().cpu() for name, tensor in tensors.items()}
        if self.count == 1:
            return [own]
        box: list[dict[str, Tensor]] | None = [{}] * self.count if self.first else None
        distributed.gather_object(own, box, dst=0)
        return box or []

    def wait(self) -> None:
        """Goes on when all processes are here."""
        if self.count > 1:
            distributed.barrier()
