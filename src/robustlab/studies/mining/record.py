"""Result of mining as one JSON file: counts and numbers of examples, which determine every figure."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal, TypeAlias

import torch

from robustlab.core import RunError
from robustlab.runs import results
from robustlab.runs.provenance import commit, installed, now
from robustlab.statistics import Interval, clopper_pearson, mcnemar, paired_difference

Group: TypeAlias = Literal["all", "members", "control", "suspects"]
FILE = "mined.json"


@dataclass(frozen=True)
class Judge:
    """Out-of-fold results of one network.

    Args:
        network: its name.
        votes: True for a member of the committee.
        right: number of right answers in each group of examples.
        only_control: pairs of a member and its control of which it gets only the control right.
        only_member: pairs of which it gets only the member right.
    """

    network: str
    votes: bool
    right: dict[Group, int]
    only_control: int
    only_member: int


@dataclass(frozen=True)
class Mined:
    """The hard examples of a data set, and the settings of mining.

    Args:
        data: name of the data set.
        sha256: of its content.
        classes: their names.
        per_class: examples of each class.
        folds: their number; a network is evaluated on one and trained on the others.
        seed: of folds, weights and training, and of the control sample.
        budget: "full", or the name of another one.
        below: the largest probability that a voting network may give the label of a member.
        networks: their training, by name.
        members: numbers of the hard examples with an unsuspected label, ascending.
        labels: of the members.
        taken_for: class that the committee gives each member, by its mean probabilities.
        suspects: numbers of those with a suspected label, the most suspicious first.
        suggested: most likely class of each suspect, by the same.
        control: numbers of the control examples, in the order of the members.
        members_per_class: by label.
        suspects_per_class: by label.
        wrong: examples that all voting networks get wrong, with any confidence.
        flagged: examples of the whole data set with a suspected label.
        label_error_share: estimated fraction of wrong labels in the whole data set.
        judges: results of each network, the voting ones first.
        created: time, ISO 8601 in UTC.
        revision: of the source code, if it came from a repository.
        versions: of the packages.
        threads: of torch.
    """

    data: str
    sha256: str
    classes: tuple[str, ...]
    per_class: tuple[int, ...]
    folds: int
    seed: int
    budget: str
    below: float
    networks: dict[str, str]
    members: tuple[int, ...]
    labels: tuple[int, ...]
    taken_for: tuple[int, ...]
    suspects: tuple[int, ...]
    suggested: tuple[int, ...]
    control: tuple[int, ...]
    members_per_class: tuple[int, ...]
    suspects_per_class: tuple[int, ...]
    wrong: int
    flagged: int
    label_error_share: float
    judges: tuple[Judge, ...]
    created: str = field(default_factory=now)
    revision: str = field(default_factory=commit)
    versions: dict[str, str] = field(default_factory=installed)
    threads: int = field(default_factory=torch.get_num_threads)

    def __len__(self) -> int:
        return len(self.members)

    def size(self, group: Group) -> int:
        """Number of examples in a group."""
        sizes = {"members": len(self.members), "suspects": len(self.suspects), "control": len(self.control)}
        return sizes.get(group, sum(self.per_class))

    def accuracy(self, judge: Judge, group: Group) -> Interval:
        """Fraction of right answers out of fold, with its exact 95 % interval."""
        return clopper_pearson(judge.right[group], self.size(group))

    def difference(self, judge: Judge) -> tuple[float, float, float]:
        """Accuracy on members minus that on their matched controls: difference, low, high; by Tango's interval."""
        return paired_difference(judge.only_control, judge.only_member, len(self.control))

    def p_value(self, judge: Judge) -> float:
        """p-value of McNemar's exact test over the matched pairs."""
        return mcnemar(judge.only_control, judge.only_member)

    @property
    def flagged_fraction(self) -> float:
        """Fraction of the hard examples with a suspected label; NaN if none is hard."""
        hard = len(self.members) + len(self.suspects)
        return len(self.suspects) / hard if hard else math.nan

    def to_json(self) -> dict[str, object]:
        """For ``json.dumps``."""
        return asdict(self)


def read(path: Path) -> Mined:
    """Reads the result of mining.

    Raises: RunError if the file is missing or damaged.
    """
    found = results.read(path, Mined, "mining", lambda _: True, remedy="run robustlab mine again")
    if found is None:
        raise RunError(f"{path} is no result of mining (there is no such file): run robustlab mine again")
    return found
