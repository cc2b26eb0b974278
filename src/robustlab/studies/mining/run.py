"""The hard examples of any data set, by a committee of models none of which judges what it was trained on."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from robustlab.core import Examples, Labels, RunError
from robustlab.core.kinds import typed
from robustlab.data import examples, sample
from robustlab.data.wrapped import Given, sampled_sha256
from robustlab.evaluation.identity import check_same
from robustlab.evaluation.input_checks import refuse_unstable
from robustlab.evaluation.record import Evidence
from robustlab.runs.provenance import now, versions
from robustlab.runs.run_files import disk, read_json, write_json
from robustlab.studies.claim_engine.definition import described
from robustlab.studies.claim_engine.network import Network
from robustlab.studies.filing import write
from robustlab.studies.mining.choice import asked, choose
from robustlab.studies.mining.folds import dealt, labels
from robustlab.studies.mining.hard import check_below
from robustlab.studies.mining.out_of_fold import Work, check_names, out_of_fold
from robustlab.studies.mining.record import FILE, Mined

MANIFEST = "manifest.json"


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

    Each network is trained once for each fold, on the other folds, and asked about this one: every example is judged by
    every network, never by weights that have seen it. An example is hard if every network of the committee is wrong
    about it and gives its label less than ``below``. Of the hard ones those are set apart whose label confident
    learning suspects, by the committee's mean probabilities; the others are the members.

    Networks that are held out are trained in the same way and have no vote: their accuracy on the members, against
    other examples with the same labels, says whether the set is hard for models that did not help to choose it.

    The data may be on disk; what all networks say of it is held in memory, 12 bytes a network, example and class.

    Args:
        models: the committee: how each is trained, by name.
        dataset: what is mined; anything that ``data.examples`` takes.
        held_out: networks without a vote, by name.
        folds: at least 2; more folds leave more to train on and take longer.
        below: the largest probability of the label, in (0, 1]; 1: wrong is enough.
        out: directory; what networks said is kept there fold by fold, and the same call goes on.
        work: seed, device, how much is spent, progress.

    Returns: the members, the suspects, and what every network said; also written to ``mined.json``.

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
    plan.claim(home)
    logits = out_of_fold(networks, data, folds, out=home, work=work)
    found = plan.record(logits, y, len(models))
    write(home / FILE, found)
    return found


class _Plan(NamedTuple):
    """What is mined, and how."""

    data: Examples
    folds: int
    below: float
    networks: dict[str, str]
    work: Work

    @property
    def sha256(self) -> str:
        return getattr(self.data, "sha256", None) or sampled_sha256(self.data)

    def claim(self, home: Path) -> None:
        """Sees to it that the directory is of this mining; another committee may be put together from the same folds.

        Raises: RunError if it is not, or cannot be written.
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
        before = read_json(path) if path.exists() else {}
        others = sorted(one.name for one in home.glob("*") if not one.name.startswith("."))
        if others and not before:
            raise RunError(f"{home} holds {others[0]} without a manifest of mining: choose another directory")
        kept = {**_texts(before.get("networks")), **self.networks}
        if before:
            there, run = _texts(before.get("networks")), _texts(before.get("run"))
            check_same(home, {**run, **_named(there)}, {**same, **_named({name: kept[name] for name in there})})
        made = {"created": before.get("created", now()), "versions": before.get("versions", versions())}
        with disk(home):
            home.mkdir(parents=True, exist_ok=True)
            write_json(path, {"name": self.data.name, "run": same, "networks": kept, **made}, durable=True)

    def record(self, logits: Tensor, y: Labels, voting: int) -> Mined:
        """Judges what the networks said."""
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
            judges=tuple(asked(name, right[i], choice, votes=i < voting) for i, name in enumerate(self.networks)),
        )

    def _per_class(self, y: Labels) -> tuple[int, ...]:
        return tuple(y.bincount(minlength=len(self.data.classes)).tolist())


def _named(networks: dict[str, str]) -> Evidence:
    return {f"network {name}": text for name, text in networks.items()}


def _texts(found: object) -> dict[str, str]:
    """An object of a JSON file."""
    return dict(found) if isinstance(found, dict) else {}


def _check(models: Mapping[str, Network], outsiders: Mapping[str, Network]) -> None:
    """Refuses what is no committee.

    Raises: ValueError that says why.
    """
    if not models:
        raise ValueError("a committee needs a network at least, better three of different kinds")
    both = sorted(set(models) & set(outsiders))
    if both:
        raise ValueError(f"{both[0]!r} cannot both vote and be held out: give another name to one of them")
    check_names({**models, **outsiders})
