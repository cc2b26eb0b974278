"""Features of a data set below the head of a frozen network, computed once and kept on disk.

A cache is a folder named by a hash of everything that decides its content: weights below the head, data, precision.
Before a cache is used, a few rows are computed again, which shows changes that no hash covers.
"""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from robustlab.core import Batch, DataError, Examples, frozen, subset
from robustlab.core.content import content as pieces
from robustlab.core.content import titled
from robustlab.core.kinds import typed
from robustlab.core.twin import checked_logits
from robustlab.core.user_code import model_called
from robustlab.runs.progress import Progress, Report
from robustlab.training.feature_store import Store
from robustlab.training.groups import head_of, layer_groups
from robustlab.training.identity import content
from robustlab.training.launcher import launched, placed
from robustlab.training.precision import TAKEN
from robustlab.training.settings import Precision, Settings
from robustlab.training.stream import Reader, fetched
from robustlab.training.update import checked

_LOG = logging.getLogger(__name__)
_FORMAT = 1
_ROWS = {"cpu": 64}  # examples per pass: activations of more do not fit the cache of a CPU
_ROWS_ELSEWHERE = 256
_PROBED = 8
_ADDRESS = re.compile(r" at 0x[0-9a-f]+")


@typed
@dataclass(frozen=True, eq=False)
class Features:
    """The inputs of a network's head for a data set, memory-mapped; a data set itself, on which a head can be trained.

    Args:
        name: its name in reports.
        classes: names of the K classes.
        x: features (N, ...), float32.
        y: labels (N,), int64.
        sha256: of the network below the head, the data and the precision.
    """

    name: str
    classes: tuple[str, ...]
    x: Tensor
    y: Tensor
    sha256: str

    def __len__(self) -> int:
        return len(self.y)

    def batch(self, ids: Tensor) -> Batch:
        """Features by the number of the example."""
        return Batch(self.x.index_select(0, ids), self.y.index_select(0, ids), ids)


@typed
def cached_features(
    model: nn.Module, examples: Examples, folder: str | Path, settings: Settings, *, progress: Report | None = None
) -> Features:
    """Input of the head of a model in eval mode for each example, from the cache if it is there.

    Args:
        model: from inputs (N, ...) to logits (N, K); its head is the topmost of ``layer_groups``. It is left as it was.
        examples: the data; each must be the same image whenever it is read.
        folder: of the caches; each has a folder of its own in it.
        settings: device, precision and workers are those of the pass.
        progress: called after each batch.

    Raises:
        ValueError: the model does something after its head.
        DataError: the data, or the model in eval mode, are not the same each time.
        RunError: the cache cannot be written.
    """
    with ExitStack() as stack:
        there = partial(_cached, model, examples, Path(folder))
        accelerator, settings = stack.enter_context(
            launched(settings, there() if settings.precision == "auto" else None)
        )
        probe = fetched(examples, torch.arange(min(2, len(examples))), 0)
        stack.enter_context(placed(model, accelerator.device, probe.x))
        stack.enter_context(frozen(model, training=False))
        stack.enter_context(model_called())
        stack.enter_context(torch.no_grad())
        key = key_of(model, examples, settings.precision)
        source = _Source(model, examples, settings, accelerator.device)
        store = Store(Path(folder) / key[:32], source.features(probe).shape[1:], len(examples))
        stack.enter_context(store.claimed())
        if store.rows and not source.agrees(store):
            _LOG.warning(
                "%s does not hold the features of %s under this model: they are computed again",
                store.place,
                examples.name,
            )
            store.start()
        if store.rows < len(examples):
            source.fill(store, progress)
            if not source.agrees(store):
                raise DataError(
                    f"{examples.name} gives other inputs each time it is read, or the model is random in eval mode: "
                    "remove random changes of the images, or train without a frozen stage"
                )
        return Features(f"features of {examples.name}", examples.classes, store.x(), store.y(), key)


def _cached(model: nn.Module, examples: Examples, folder: Path) -> Precision | None:
    """Precision of features that are already kept, if there are any."""
    found = (kind for kind in TAKEN if (folder / key_of(model, examples, kind)[:32]).exists())
    return next(found, None)


def key_of(model: nn.Module, examples: Examples, precision: str) -> str:
    """SHA-256 of everything below the model's head, of the data and their size, and of the precision."""
    x = examples.batch(torch.tensor([0])).x
    key = (_FORMAT, _ADDRESS.sub("", repr(model)), content(examples), len(examples), tuple(x.shape), precision)
    digest = hashlib.sha256(repr((*key, str(x.dtype))).encode())
    head = {id(value) for value in (*head_of(model).parameters(), *head_of(model).buffers())}
    for name, value in (*model.named_parameters(), *model.named_buffers(), *_besides(model)):
        if id(value) not in head:
            digest.update(titled(name, value).encode())
            for piece in pieces(value, name):
                digest.update(piece)
    return digest.hexdigest()


def _besides(model: nn.Module) -> Iterator[tuple[str, object]]:
    """State of a model other than parameters and buffers, such as packed weights of quantized layers."""
    known = {name for name, _ in model.named_parameters(remove_duplicate=False)}
    known |= {name for name, _ in model.named_buffers(remove_duplicate=False)}
    yield from ((name, value) for name, value in model.state_dict().items() if name not in known)


class _Source:
    """A model, and the data whose features it computes."""

    def __init__(self, model: nn.Module, examples: Examples, settings: Settings, device: torch.device) -> None:
        self.model, self.examples, self.device = model, examples, device
        self.workers, self.narrow = settings.workers, settings.precision == "bf16"
        self.tolerance = 3e-2 if self.narrow else 1e-3
        self.head, self.entry = head_of(model), layer_groups(model)[-1].parts[0]

    def features(self, batch: Batch) -> Tensor:
        """Features (N, ...) of some examples.

        Raises: ValueError if the head, given these, does not return the model's logits.
        """
        seen, logits = self.passed(batch)
        logits = checked_logits(logits, batch.x)
        found = self.head(seen[0]) if len(seen) == 1 and len(seen[0]) == len(batch.x) else None
        if found is None or not self.close(found, logits):
            raise ValueError(
                f"the last layers with weights ({type(self.head).__name__}) are not the last step of the "
                "model, so no features can be kept for them: train without a frozen stage"
            )
        return seen[0]

    def passed(self, batch: Batch) -> tuple[list[Tensor], Tensor]:
        """Inputs of the head and logits of the model."""
        seen: list[Tensor] = []
        hook = self.entry.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
        try:
            with torch.autocast(self.device.type, torch.bfloat16, enabled=self.narrow):
                logits: Tensor = self.model(batch.x.to(self.device))
        finally:
            hook.remove()
        return [one.float() for one in seen], logits.float()

    def fill(self, store: Store, progress: Report | None) -> None:
        """Makes the features that the store lacks."""
        parts = torch.arange(store.rows, len(self.examples)).split(_ROWS.get(self.device.type, _ROWS_ELSEWHERE))
        reader = Reader(self.examples, self.workers, self.device)
        waiting: list[tuple[Tensor, Tensor]] = []
        try:
            with store.growing() as growing, reader.watched():
                for number, (ids, read) in enumerate(zip(parts, reader.read(parts, 0), strict=True), start=1):
                    batch = checked(read, ids, self.examples, self.device)
                    waiting.append((self.passed(batch)[0][0], read.y))
                    if len(waiting) > 1:  # one behind: a GPU computes this while the one before is written
                        growing.append(*waiting.pop(0))
                    if progress is not None:
                        progress(
                            Progress("features", number, len(parts), "batches", metrics={"images": float(len(ids))})
                        )
                for made in waiting:
                    growing.append(*made)
        finally:
            reader.close()

    def agrees(self, store: Store) -> bool:
        """True if some rows of a store agree with features computed now."""
        ids = subset(store.rows, min(_PROBED, store.rows))
        batch = checked(fetched(self.examples, ids, 1), ids, self.examples, self.device)
        found, kept = self.passed(batch)[0][0].cpu(), store.x()[ids]
        return self.close(found, kept) and bool((store.y()[ids] == batch.y.cpu()).all())

    def close(self, found: Tensor, expected: Tensor) -> bool:
        """True if values are equal up to rounding, relative to the largest."""
        if found.shape != expected.shape:
            return False
        return bool((found - expected).abs().amax() <= self.tolerance * expected.abs().amax().clamp_min(1e-6))
