"""Mining of hard examples in any data set, by the out-of-fold predictions of a committee of models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.core import Examples, Labels
from robustlab.core.finding import Evidence
from robustlab.core.kinds import typed
from robustlab.data import examples, sample
from robustlab.data.wrapped import Given, data_sha256
from robustlab.evaluation.input_checks import refuse_unstable
from robustlab.runs.disk import disk
from robustlab.runs.identity import check_same
from robustlab.runs.json_files import read_json, write_json
from robustlab.runs.lock import alone
from robustlab.runs.provenance import now, versions
from robustlab.runs.results import write
from robustlab.runs.resume import MANIFEST, create_or_resume
from robustlab.studies.claim_engine.definition import described
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.mining.choice import choose, judged
from robustlab.studies.mining.folds import dealt, labels
from robustlab.studies.mining.hard import check_below
from robustlab.studies.mining.out_of_fold import Work, check_names, out_of_fold
from robustlab.studies.mining.record import FILE, Mined


@typed
def mine(
    models: Mapping[str, Network],
    dataset: Given,
    *,
    held_out: Mapping[str, Network] | None = None,
    folds: int = 5,
    below: float = 0.15,
    out: str | Path = "runs/mining",
    work: Work | None = None,
) -> Mined:
    """Mines a data set for natural adversarial examples: unmodified ones that a whole committee gets wrong.

    Each network is trained once for each fold, on the other folds, and evaluated on this one: every example is judged
    by every network, but never by weights trained on it. An example is hard if every network of the committee is wrong
    about it and gives its label less than ``below``. Confident learning on the committee's mean probabilities suspects
    some of the labels; the other hard examples are the members.

    Held-out networks are trained in the same way and have no vote: their accuracy on the members, compared with other
    examples of the same labels, shows if the set is hard for other models, too.

    The data may be on disk; all predictions are held in memory, 12 bytes per network, example and class.

    Args:
        models: the committee: training of each network, by name.
        dataset: the examples; anything that ``data.examples`` takes.
        held_out: networks without a vote, by name.
        folds: at least 2; more folds give larger training sets and take longer.
        below: bound for the probability of the label, in (0, 1]; with 1, wrong examples are hard.
        out: directory of the predictions, saved fold by fold; the same call resumes.
        work: seed, device, budget, progress.

    Returns: the members, the suspects and the results of every network; also written to ``mined.json``.

    Raises:
        ValueError: no committee, too few examples for the folds, labels that are no classes.
        RunError: the directory holds the mining of something else, or cannot be written.
    """
    work, outsiders, home = work or Work(), held_out or {}, Path(out)
    _check(models, outsiders)
    check_below(below)
    data = examples(dataset)
    if work.budget.images is not None and work.budget.images < len(data):
        data = sample(data, work.budget.images, seed=work.seed)
    refuse_unstable(data, torch.arange(len(data)))
    y = labels(data)
    dealt(y, data.classes, folds, seed=work.seed)  # refuses what cannot be dealt out before anything is trained
    networks = {**models, **outsiders}
    plan = _Plan(data, folds, below, {name: described(one) for name, one in networks.items()}, work)
    with alone(home):
        plan.claim(home)
        logits = out_of_fold(networks, data, folds, out=home, work=work)
        found = plan.record(logits, y, len(models))
        write(home / FILE, found)
    return found


class _Plan(NamedTuple):
    """Data and settings of mining."""

    data: Examples
    folds: int
    below: float
    networks: dict[str, str]
    work: Work

    @property
    def sha256(self) -> str:
        return data_sha256(self.data)

    def claim(self, home: Path) -> None:
        """Creates or resumes the directory; another committee may use the same folds.

        Raises: RunError if it belongs to another mining, or cannot be written.
        """
        path, work = home / MANIFEST, self.work
        same: Evidence = {
            "data": self.sha256,
            "number of examples": len(self.data),
            "folds": self.folds,
            "seed": work.seed,
            "images at most": str(work.budget.images),
            "epochs at most": str(work.budget.epochs),
        }
        own = {"name": self.data.name, "run": same, "created": now(), "versions": versions()}

        def check(before: dict[str, object]) -> None:
            there, run = _texts(before.get("networks")), _texts(before.get("run"))
            here = {name: self.networks.get(name, text) for name, text in there.items()}
            check_same(home, {**run, **_named(there)}, {**same, **_named(here)})

        content = {**own, "networks": self.networks}
        before = create_or_resume(home, content, read=lambda place: read_json(place / MANIFEST), check=check)
        if before is not None:
            kept = {**_texts(before.get("networks")), **self.networks}
            with disk(home):
                write_json(path, {**own, **before, "networks": kept}, durable=True)

    def record(self, logits: Tensor, y: Labels, voting: int) -> Mined:
        """Result of the predictions."""
        probs = logits.double().softmax(dim=2)
        choice = choose(probs[:voting], y, below=self.below, seed=self.work.seed)
        right = probs.argmax(dim=2) == y
        return Mined(
            data=self.data.name,
            sha256=self.sha256,
            classes=tuple(self.data.classes),
            per_class=self._per_class(y),
            folds=self.folds,
            seed=self.work.seed,
            budget=self.work.budget.name,
            below=self.below,
            networks=self.networks,
            members=tuple(choice.members.tolist()),
            labels=tuple(y[choice.members].tolist()),
            taken_for=tuple(choice.taken_for.tolist()),
            suspects=tuple(choice.suspects.tolist()),
            suggested=tuple(choice.suggested.tolist()),
            control=tuple(choice.control.tolist()),
            members_per_class=self._per_class(y[choice.members]),
            suspects_per_class=self._per_class(y[choice.suspects]),
            wrong=choice.wrong,
            flagged=choice.flagged,
            label_error_share=choice.label_error_share,
            judges=tuple(judged(name, right[i], choice, votes=i < voting) for i, name in enumerate(self.networks)),
        )

    def _per_class(self, y: Labels) -> tuple[int, ...]:
        return tuple(y.bincount(minlength=len(self.data.classes)).tolist())


def _named(networks: dict[str, str]) -> Evidence:
    return {f"network {name}": text for name, text in networks.items()}


def _texts(found: object) -> dict[str, str]:
    """Texts by name from a JSON file."""
    return dict(found) if isinstance(found, dict) else {}


def _check(models: Mapping[str, Network], outsiders: Mapping[str, Network]) -> None:
    """Refuses invalid committees.

    Raises: ValueError with the reason.
    """
    if not models:
        raise ValueError("a committee needs at least one network, better three of different kinds")
    both = sorted(set(models) & set(outsiders))
    if both:
        raise ValueError(f"{both[0]!r} cannot both vote and be held out: give another name to one of them")
    check_names({**models, **outsiders})
