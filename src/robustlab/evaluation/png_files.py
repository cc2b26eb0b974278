"""Adversarial images of a finished run as PNG files, each loaded again and shown to the model."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from robustlab.core import Model, RunError
from robustlab.core.kinds import typed
from robustlab.data import examples as as_examples
from robustlab.data.wrapped import Given
from robustlab.evaluation.outcomes import Outcome, outcomes_of
from robustlab.evaluation.png import verify_saved
from robustlab.evaluation.queries import Reader
from robustlab.evaluation.record import Evaluation
from robustlab.evaluation.result_queries import file_of, fooling_stage
from robustlab.evaluation.store import reading
from robustlab.runs.disk import disk
from robustlab.runs.files import replace_atomically
from robustlab.runs.tensors import read_row, read_tensors

INDEX = "index.csv"
_COLUMNS = ("id", "file", "png", "attack", "eps", "label", "label_name", "prediction", "fools_as_png", "linf_as_png")
_BATCH = 64


class SavedRun(NamedTuple):
    """Images that were written, and how many of them still fool the model."""

    directory: Path
    written: int
    fooled: int
    """Files that fool the model when they are loaded again."""
    lost: int
    """Fooled examples whose adversarial input the run did not keep."""


@typed
def save_images(
    result: Evaluation, model: Model, data: Given, directory: str | Path, *, eps: float | None = None
) -> SavedRun:
    """Writes a PNG file for every fooled example of a run, and ``index.csv`` with the outcome of each.

    A file holds 256 levels per value; an input between two levels is rounded, which can undo the attack. So each file
    is loaded again and shown to the model. ``robustlab.attacks.Uint8`` searches inputs on the levels.

    Args:
        result: of ``evaluate`` with a run directory, on images in [0, 1].
        model: that was evaluated.
        data: that it was evaluated on.
        directory: of the files ``ID.png``; made if it is not there.
        eps: the budget whose examples are written; None: the largest.

    Returns: counts, and the directory.

    Raises:
        ValueError: the inputs are no images in [0, 1], or nothing was measured at this eps.
        RunError: the run directory is missing, or the new one cannot be written.
    """
    home, place = _run_directory(result), Path(directory)
    budget = result.worst[-1].eps if eps is None else eps
    if budget not in {worst.eps for worst in result.worst}:
        raise ValueError(f"nothing was measured at eps {budget:g}; there are {[worst.eps for worst in result.worst]}")
    if result.threat.bounds != (0.0, 1.0):
        raise ValueError(f"only images in [0, 1] can be saved as PNG, these inputs lie in {result.threat.bounds}")
    with disk(place):
        place.mkdir(parents=True, exist_ok=True)
    rows, examples = list[dict[str, object]](), as_examples(data)
    with reading(home) as reader:
        found = [(one, _kept(reader, result, one)) for one in _fooled(home, budget)]
    held = {file: set(read_tensors(home / file)["ids"].tolist()) for _, file in found if file is not None}
    kept = [(one, home / file) for one, file in found if file is not None and one.id in held[file]]
    for start in range(0, len(kept), _BATCH):
        part = kept[start : start + _BATCH]
        x = examples.batch(torch.tensor([one.id for one, _ in part])).x
        rows += _saved(model, part, x, place)
    with disk(place):
        replace_atomically(place / INDEX, partial(_write_index, rows=rows))
    return SavedRun(place, len(rows), sum(bool(row["fools_as_png"]) for row in rows), len(found) - len(rows))


def _run_directory(result: Evaluation) -> Path:
    if result.directory is None:
        raise RunError("this evaluation has no run directory, so it has no adversarial inputs: evaluate with out=")
    return result.directory


def _fooled(home: Path, eps: float) -> Iterator[Outcome]:
    """Fooled examples at one eps, each under the first attack that fooled it."""
    seen: set[int] = set()
    for one in outcomes_of(home):
        if one.eps == eps and one.outcome == "fooled" and one.id not in seen:
            seen.add(one.id)
            yield one


def _kept(reader: Reader, result: Evaluation, one: Outcome) -> str | None:
    """The file of the run that holds the adversarial input of an example."""
    number = [attack.name for attack in result.attacks].index(one.attack)
    return file_of(reader, (number, one.eps, one.id, *fooling_stage(reader, number, one.eps, one.id)))


def _saved(model: Model, part: Sequence[tuple[Outcome, Path]], x: Tensor, place: Path) -> list[dict[str, object]]:
    """Writes some images, and describes each as a row of the index."""
    x_adv = torch.stack([read_row(file, one.id) for one, file in part]).to(_device(model))
    ids, y = (torch.tensor([getattr(one, name) for one, _ in part]) for name in ("id", "label"))
    targets = [one.target for one, _ in part]
    target = None if None in targets else torch.tensor([t for t in targets if t is not None]).to(x_adv.device)
    saved = verify_saved(model, x_adv, y.to(x_adv.device), place, ids=ids, target=target)
    sizes = (saved.x.cpu().double() - x.double()).abs().flatten(1).amax(1).tolist()
    return [
        {
            **{name: getattr(one, name) for name in _COLUMNS if name in Outcome._fields},
            "png": path.name,
            "fools_as_png": int(fooled),
            "linf_as_png": size,
        }
        for (one, _), path, fooled, size in zip(part, saved.paths, saved.fooled.tolist(), sizes, strict=True)
    ]


def _device(model: Model) -> torch.device:
    parameters = model.parameters() if isinstance(model, nn.Module) else iter(())
    return next((one.device for one in parameters), torch.device("cpu"))


def _write_index(path: Path, rows: list[dict[str, object]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, _COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
