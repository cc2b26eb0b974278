"""Data sets of robust and of non-robust features, made with a trained network.

Source: Ilyas, Santurkar, Tsipras, Engstrom, Tran, Madry, Adversarial Examples Are Not Bugs, They Are Features, NeurIPS
2019, sections 3.1 and 3.2.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Literal, TypeAlias, get_args

import numpy as np
import torch
from torch import Tensor, nn

from robustlab.attacks import PGD
from robustlab.core import L2, Batch, Examples, RunError, Streams, ThreatModel, frozen, subset
from robustlab.core.kinds import typed
from robustlab.data import InMemory
from robustlab.data.wrapped import data_sha256
from robustlab.explain import invert_features
from robustlab.runs.disk import disk
from robustlab.runs.files import replace_atomically
from robustlab.runs.identity import check_same, model_digest
from robustlab.runs.json_files import read_json
from robustlab.runs.lock import alone
from robustlab.runs.progress import Progress, Report
from robustlab.runs.resume import MANIFEST, create_or_resume
from robustlab.runs.tensors import save_tensors, tensors_in

FeatureKind: TypeAlias = Literal["robust", "non-robust-random", "non-robust-next"]
"""Features that predict the label: those of a robust network, or those of a standard one that small changes of an image
replace, towards a random class or the next one."""
ARCHIVE = "data.npz"
"""Finished data set, as commands and ``data.examples`` read it."""
_STARTS, _TARGETS = 0x57A27, 0x7A26E


@typed
@dataclass(frozen=True)
class FeatureSet:
    """A data set whose labels one kind of features alone predicts.

    "robust": random images of the data, changed until the network represents them like an image x, with the label of x;
    the network is robust, and what it ignores is left random. "non-robust-random" and "non-robust-next": images x,
    perturbed a little until the network answers a class t, with the label t; to people, these labels are wrong. The
    class is drawn from all, or it is the one after that of x.

    Args:
        kind: of the features.
        n: images, a simple random sample.
        layer: of the network, that represents images; for "robust" alone.
        threat: budget of the perturbations; for the other two alone.
        steps: of either search.
        batch_size: images that are made and stored together.
    """

    kind: FeatureKind
    n: int = 10_000
    layer: str = ""
    threat: ThreatModel = field(default_factory=lambda: ThreatModel(L2(), 0.5))
    steps: int = 100
    batch_size: int = 250

    def __post_init__(self) -> None:
        if self.kind not in get_args(FeatureKind):
            raise ValueError(f"kind must be one of {', '.join(get_args(FeatureKind))}, got {self.kind!r}")
        if min(self.n, self.steps, self.batch_size) < 1:
            raise ValueError(
                f"n, steps and batch_size must be 1 or more, got {self.n}, {self.steps} and {self.batch_size}"
            )

    def make(
        self,
        model: nn.Module,
        examples: Examples,
        out: str | Path,
        *,
        seed: int = 0,
        report: Report = lambda _: None,
    ) -> InMemory:
        """Makes the data set, or goes on with it, and stores it as ``data.npz``.

        Batches that are stored are not made again. An image depends on the seed, its number and the settings alone.

        Args:
            model: network in whose eval mode the images are searched; it is left as it was.
            examples: data with the images to start from and their labels.
            out: directory, of this data set alone.
            seed: of the sample and of all draws.
            report: called with the progress.

        Raises: RunError for a directory that cannot be written, or holds another run; ValueError for a layer that the
            model does not have, or more images than there are.
        """
        home, ids = Path(out), subset(len(examples), self.n, seed=seed)
        with alone(home):
            made = {"set": repr(self), "seed": seed, "model": model_digest(model), "data": data_sha256(examples)}
            create_or_resume(home, made, read=read_json_in, check=partial(_check, home, made))
            parts = []
            for number, rows in enumerate(ids.split(self.batch_size)):
                report(Progress(f"{self.kind} features", number * self.batch_size, self.n, str(home)))
                parts.append(_stored(home / f"part-{number:05}.safetensors", rows, self._maker(model, examples, seed)))
            x, y = (torch.cat([part[name] for part in parts]) for name in ("x", "y"))
            with disk(home):
                replace_atomically(home / ARCHIVE, lambda path: _write(path, x, y))
        return InMemory(f"{examples.name} ({self.kind} features)", examples.classes, x, y, repr(self))

    def _maker(self, model: nn.Module, examples: Examples, seed: int) -> Callable[[Tensor], dict[str, Tensor]]:
        making = self._robust if self.kind == "robust" else self._perturbed

        def make(rows: Tensor) -> dict[str, Tensor]:
            with frozen(model, training=False):
                x, y = making(model, examples, examples.batch(rows), Streams(seed, rows))
            return {"x": x.detach().cpu().contiguous(), "y": y.cpu().contiguous(), "ids": rows}

        return make

    def _robust(self, model: nn.Module, examples: Examples, batch: Batch, streams: Streams) -> tuple[Tensor, Tensor]:
        place = next(model.parameters()).device
        start = examples.batch(streams.fork(_STARTS).integers(len(examples))).x.to(place)
        return invert_features(model, self.layer, batch.x.to(place), start, steps=self.steps).x, batch.y

    def _perturbed(self, model: nn.Module, examples: Examples, batch: Batch, streams: Streams) -> tuple[Tensor, Tensor]:
        place, count = next(model.parameters()).device, len(examples.classes)
        drawn = streams.fork(_TARGETS).integers(count)
        target = drawn if self.kind == "non-robust-random" else (batch.y + 1) % count
        attack = PGD(self.threat, self.steps, random_start=False)
        x, y, goal = batch.x.to(place), batch.y.to(place), target.to(place)
        return attack(model, x, y, target=goal, stop="never", seed=streams.seed, ids=batch.ids.to(place)), target


def read_json_in(home: Path) -> dict[str, object]:
    """The manifest of a data set."""
    return read_json(home / MANIFEST)


def _check(home: Path, here: dict[str, object], there: dict[str, object]) -> None:
    check_same(home, there, here)


def _stored(path: Path, rows: Tensor, make: Callable[[Tensor], dict[str, Tensor]]) -> dict[str, Tensor]:
    """A stored batch, which is made if it is not there."""
    if not path.exists():
        with disk(path.parent):
            save_tensors(path, make(rows))
    try:
        part, _ = tensors_in(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}): remove it, and it is made again") from error
    if not torch.equal(part.get("ids", rows[:0]), rows):
        raise RunError(f"{path} holds other images: remove it, and it is made again")
    return part


def _write(path: Path, x: Tensor, y: Tensor) -> None:
    with path.open("wb") as file:
        np.savez(file, x=x.numpy(), y=y.numpy())
