"""Peak memory of an attack in input-sized tensors, over that of its necessary passes.

python -m benchmarks.memory
"""

from __future__ import annotations

import weakref
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmarks.attacks import passes
from benchmarks.timing import table
from robustlab.attacks import PGD
from robustlab.core import L1, L2, Linf, ThreatModel


class Live(TorchDispatchMode):
    """Adds up the bytes of all tensors made inside the block that are still alive, and keeps the largest sum."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes: int = 0
        self.peak: int = 0
        self.seen: set[int] = set()

    def __torch_dispatch__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[object, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        del types
        out = func(*args, **(kwargs or {}))
        known = {leaf.untyped_storage()._cdata for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)}
        for leaf in tree_leaves(out):
            if isinstance(leaf, Tensor) and (storage := leaf.untyped_storage())._cdata not in known | self.seen:
                self.seen.add(storage._cdata)
                self.bytes += storage.nbytes()
                weakref.finalize(storage, self.freed, storage._cdata, storage.nbytes())
        self.peak = max(self.peak, self.bytes)
        return out

    def freed(self, storage: int, size: int) -> None:
        """Takes a tensor's memory off the sum."""
        self.seen.discard(storage)
        self.bytes -= size


def peak(work: Callable[[], object]) -> int:
    """Largest number of bytes alive."""
    live = Live()
    with live:
        work()
    return live.peak


def main() -> None:
    """Prints a row per norm and mode, on a network whose activations are smaller than its input."""
    model = nn.Sequential(nn.Conv2d(3, 1, 8, stride=8), nn.Flatten(), nn.Linear(28 * 28, 10)).eval()
    x = torch.rand(64, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    y = model(x).argmax(1)
    bare = peak(passes(model, x, y, 1))
    unit = x.numel() * x.element_size()
    rows = []
    for norm, eps in ((Linf(), 8 / 255), (L2(), 3.0), (L1(), 100.0)):
        for stop in ("success", "never"):
            attack = PGD(ThreatModel(norm, eps), 5)
            added = (peak(lambda: attack(model, x, y, stop=stop)) - bare) / unit  # noqa: B023 -- called at once
            rows.append({"attack": f"PGD {norm}", "stop": stop, "input-sized tensors added": f"{added:.2f}"})
    print(table(rows))


if __name__ == "__main__":
    main()
