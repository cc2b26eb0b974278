"""What networks say of examples that they were not trained on: one file for each network and fold."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from robustlab.core import Examples, RunError
from robustlab.data.cache import stored
from robustlab.data.wrapped import sampled_sha256
from robustlab.runs.files import replace_atomically
from robustlab.runs.provenance import now
from robustlab.studies.claim_engine.budget import FULL, Budget
from robustlab.studies.claim_engine.definition import fingerprint
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.measures import answers
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.mining.folds import OutsideFold


class At(NamedTuple):
    """How far the mining is."""

    network: str
    fold: int
    """1, 2, ..."""
    done: int
    """Networks that were trained and asked, those of earlier sessions among them."""
    units: int
    """In all: networks times folds."""
    share: float
    """Of what this one has to do, 0..1."""
    said: str
    """A few words on where it is."""


Show: TypeAlias = Callable[[At], None]


@dataclass(frozen=True)
class Work:
    """How the networks come about.

    Args:
        seed: of the folds, of weights and of training.
        budget: the most that is used: of images, a simple random sample, and of epochs.
        device: "auto" takes the accelerator if there is one; or its name, or "cpu".
        progress: told how far things are.
    """

    seed: int = 0
    budget: Budget = FULL
    device: str = "auto"
    progress: Show | None = None


def out_of_fold(networks: Mapping[str, Network], data: Examples, folds: int, *, out: Path, work: Work) -> Tensor:
    """Trains each network once for each fold on the other folds, and asks it about the examples of this one.

    What a network said of a fold is kept as soon as it is there, and training goes on where it stopped.

    Args:
        networks: by name; what they say of the data they are trained on does not count.
        data: all examples.
        folds: how many.
        out: directory of what they say, and of their checkpoints.
        work: seed, budget, device.

    Returns: logits (networks, N, K), float32.
    Raises: RunError if the directory cannot be written, or logits are not finite.
    """
    lab = Lab(out / "networks", work.seed, work.budget, work.device, examples=data)
    whole = getattr(data, "sha256", None) or sampled_sha256(data)
    said = torch.full((len(networks), len(data), len(data.classes)), torch.nan)
    units = len(networks) * folds
    for number, name in enumerate(networks):
        for fold in range(folds):
            tell = _teller(work.progress, At(name, fold + 1, number * folds + fold, units, 0.0, ""))
            one = replace(networks[name], data=OutsideFold(fold, folds, work.seed))
            ids, logits = _kept(out / name / f"fold-{fold}.safetensors", one, replace(lab, tell=tell), whole)
            said[number, ids] = logits
    if not bool(said.isfinite().all()):
        raise RunError(f"some networks in {out} gave NaN or infinity: lower their learning rate, or take another out")
    return said


def check_names(names: Mapping[str, Network]) -> None:
    """Refuses names that no directory can have.

    Raises: ValueError with the name.
    """
    for name in names:
        if not re.fullmatch(r"[\w-][\w.-]*", name) or name == "networks":
            raise ValueError(f"{name!r} cannot be the name of a network: letters, digits, '-', '_' and '.' only")


def _kept(path: Path, network: Network, lab: Lab, data: str) -> tuple[Tensor, Tensor]:
    """Numbers (n,) and logits (n, K) of a fold: from the file, if it is of this very network and data, or made now.

    Args:
        path: of the file.
        network: how it is trained.
        lab: where it is trained.
        data: SHA-256 of all examples.
    """
    from safetensors.torch import save_file

    mark = fingerprint(network, lab.budget, lab.seed)
    found = stored(path)
    if found is not None and found[1].get("network") == mark and _sound(*found, data):
        lab.tell("kept", 1.0, "done before")
        return found[0]["ids"], found[0]["logits"]
    fold = network.data
    if not isinstance(fold, OutsideFold):
        raise TypeError(f"only what leaves a fold out can be judged on it, not {fold!r}")
    part = fold.judged(lab.data("train"))
    trained = lab.trained(network)
    logits = torch.cat([said.float() for said, _ in answers(trained.last, part)])
    tensors = {"ids": part.rows, "logits": logits}
    made = {"network": mark, "seconds": f"{trained.seconds:.1f}", "created": now()}
    made["content"] = _content(tensors, mark, data)
    try:
        replace_atomically(path, lambda to: save_file(tensors, to, metadata=made))
    except OSError as error:
        raise RunError(f"{path} cannot be written: {error.strerror}; what was done before is kept") from error
    return part.rows, logits


def _sound(tensors: Mapping[str, Tensor], said: Mapping[str, str], data: str) -> bool:
    """Whether a file is what was written for these data; an older version did not sign its files."""
    if not {"ids", "logits"} <= tensors.keys():
        return False
    return "content" not in said or said["content"] == _content(tensors, said["network"], data)


def _content(tensors: Mapping[str, Tensor], network: str, data: str) -> str:
    """What stands for the content of a file, and for what it speaks of."""
    found = hashlib.sha256(f"{network} {data}".encode())
    for name in ("ids", "logits"):
        found.update(repr(tuple(tensors[name].shape)).encode() + tensors[name].contiguous().numpy().tobytes())
    return found.hexdigest()


def _teller(progress: Show | None, start: At) -> Callable[[str, float, str], None]:
    if progress is None:
        return lambda *_: None
    return lambda _, share, said: progress(start._replace(share=share, said=said))
