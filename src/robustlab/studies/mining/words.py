"""Results of mining in sentences and tables, for the terminal and the guide."""

from __future__ import annotations

from collections import Counter

from robustlab.report.words import NOTHING, count, interval, p_value, percent, points
from robustlab.statistics import Interval
from robustlab.studies.mining.record import Group, Judge, Mined
from robustlab.studies.sweep.table import Table


def sentences(found: Mined) -> list[str]:
    """Sentences on the numbers of hard and suspected examples."""
    size, members, suspects = (found.size(group) for group in ("all", "members", "suspects"))
    voters = [judge.network for judge in found.judges if judge.votes]
    every = f"{_listed(voters)} all get" if len(voters) > 1 else f"{voters[0]} gets"
    hard = members + suspects
    return [
        f"{every} {count(found.wrong)} of {count(size)} examples wrong, out of {found.folds} folds.",
        f"{'Each gives' if len(voters) > 1 else 'It gives'} the label of {count(hard)} of these less than "
        f"{percent(found.below, 0)}: these are hard.",
        f"Confident learning suspects the label of {count(suspects)} of the hard ones "
        f"({percent(found.flagged_fraction)}), and of {count(found.flagged)} of all; it estimates that "
        f"{percent(found.label_error_share)} of all labels are wrong.",
        f"{count(members)} hard examples with a label that is not suspected are left: the members.",
        *(_without_vote(found, judge) for judge in found.judges if not judge.votes),
    ]


def tables(found: Mined) -> list[Table]:
    """Accuracy of every network, and the classes."""
    title = (
        "Accuracy out of fold, in per cent, with exact 95 % intervals: on all examples, on the members, and on a "
        "control sample of as many others with the same labels"
    )
    head = ["network", "all", "members", "control"]
    return [Table(title, head, [_judged(found, judge) for judge in found.judges]), _classes(found)]


def confusions(found: Mined, *, most: int = 8) -> list[str]:
    """Most frequent confusions of members, such as "Shirt for Coat: 20".

    Args:
        found: the members.
        most: largest number of lines.
    """
    pairs = Counter(zip(found.labels, found.taken_for, strict=True)).most_common(most)
    return [f"{found.classes[true]} for {found.classes[wrong]}: {count(n)}" for (true, wrong), n in pairs]


def _judged(found: Mined, judge: Judge) -> list[str]:
    groups: tuple[Group, ...] = ("all", "members", "control")
    return [
        judge.network if judge.votes else f"{judge.network} (no vote)",
        *(_fraction(found.accuracy(judge, group)) for group in groups),
    ]


def _without_vote(found: Mined, judge: Judge) -> str:
    """Sentence on the accuracy of a network without a vote on the chosen examples."""
    if not found.control:
        return f"{judge.network}, which had no vote, has nothing to be compared on."
    groups: tuple[Group, ...] = ("members", "control", "suspects")
    members, control, suspects = (_fraction(found.accuracy(judge, group)) for group in groups)
    value, low, high = map(points, found.difference(judge))
    return (
        f"{judge.network}, which had no vote, is right about {members} per cent of the members and {control} of the "
        f"control: {value} points [{low}, {high}], p {p_value(found.p_value(judge))}, over matched pairs (Tango's "
        f"interval, McNemar's exact test); about {suspects} of the suspects."
    )


def _fraction(fraction: Interval) -> str:
    if not fraction.n:
        return NOTHING
    return f"{100 * fraction.value:.1f} {interval(fraction)}"


def _classes(found: Mined) -> Table:
    rows = [
        [name, count(n), count(members), percent(members / n if n else 0.0), count(suspects)]
        for name, n, members, suspects in zip(
            found.classes, found.per_class, found.members_per_class, found.suspects_per_class, strict=True
        )
    ]
    sums = [sum(column) for column in (found.per_class, found.members_per_class, found.suspects_per_class)]
    fraction = percent(sums[1] / sums[0])
    return Table(
        "Hard examples by label",
        ["label", "examples", "members", "share", "suspects"],
        [*rows, ["all", count(sums[0]), count(sums[1]), fraction, count(sums[2])]],
    )


def _listed(names: list[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}"
