"""Named queries on the outcomes of a run from which results, pictures and comparisons are drawn."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from robustlab.evaluation.queries import Reader, Row
from robustlab.evaluation.schema import COUNTED, TEXT_CONTENT, finished, outcomes

_CELL = "attack = ? AND eps = ?"

# --- The run as a whole


def wall_seconds(reader: Reader) -> tuple[float, int]:
    """Seconds of all sessions, and how many there were."""
    seconds, sessions = reader.one("SELECT coalesce(sum(seconds), 0.0), count(*) FROM sessions")
    return seconds, sessions


def file_names(reader: Reader) -> dict[int, str]:
    """The file of each example that comes from one, by id."""
    return dict(reader.all("SELECT id, name FROM files"))


# --- Clean examples


def digests(reader: Reader) -> Iterator[tuple[Row, ...]]:
    """Digests of the examples, by id: chunks of one column."""
    return reader.stream("SELECT digest FROM examples ORDER BY id")


def clean_answers(reader: Reader) -> Iterator[tuple[Row, ...]]:
    """Label, prediction, correct and confidence of the examples, by id: chunks of columns."""
    return reader.stream("SELECT label, prediction, correct, confidence FROM examples ORDER BY id")


def clean_seconds(reader: Reader) -> float:
    """Seconds of the clean pass."""
    seconds: float = reader.one("SELECT coalesce(sum(seconds), 0) FROM batches WHERE attack < 0")[0]
    return seconds


def correct(reader: Reader) -> Tensor:
    """Correctness of each clean example, by id, (N,) bool."""
    return reader.ids("SELECT correct FROM examples ORDER BY id").bool()


# --- One attack at one eps


def joined(reader: Reader, attack: int, eps: float) -> Iterator[tuple[Row, ...]]:
    """Each example with its outcome, by id: chunks of columns.

    Columns: label, correct, clean prediction, fooled, prediction, confidence, target, linf, l2, l1; where the example
    was not attacked fooled and prediction are 0, target is -2 and the others are None.
    """
    query = (
        "SELECT e.label, e.correct, e.prediction, coalesce(o.fooled, 0), coalesce(o.prediction, 0), o.confidence, "
        f"coalesce(o.target, -2), o.linf, o.l2, o.l1 FROM examples e LEFT JOIN ({outcomes()}) o ON o.id = e.id "
        "ORDER BY e.id"
    )
    return reader.stream(query, attack, eps)


def outcome_counts(reader: Reader, attack: int, eps: float) -> tuple[int, int, int, int]:
    """Examples that were attacked, reused, given undefined logits, and left outside budget or bounds."""
    cell = f"FROM outcomes WHERE {_CELL} AND kind"
    conditions = ("", " AND prediction < 0", " AND inside = 0")
    run = [reader.count(f"SELECT count(DISTINCT id) {cell} = 'run'{more}", attack, eps) for more in conditions]
    attacked, undefined, outside = run
    return attacked, reader.count(f"SELECT count(*) {cell} = 'reused'", attack, eps), undefined, outside


def attack_cost(reader: Reader, attack: int, eps: float) -> tuple[int, int, float]:
    """Forward and backward passes of single examples, and seconds."""
    sums = "coalesce(sum(forward), 0), coalesce(sum(backward), 0), coalesce(sum(seconds), 0.0)"
    forward, backward, seconds = reader.one(f"SELECT {sums} FROM batches WHERE {_CELL} AND kind = 'run'", attack, eps)
    return forward, backward, seconds


def stage_costs(reader: Reader, attack: int, eps: float) -> list[Row]:
    """Examples, forward and backward passes, seconds, stage and restart of each stage that was run, in order."""
    grouped = f"WHERE {_CELL} AND kind = 'run' GROUP BY stage, restart ORDER BY stage, restart"
    sums = "sum(n), sum(forward), sum(backward), sum(seconds)"
    return reader.all(f"SELECT {sums}, stage, restart FROM batches {grouped}", attack, eps)


def fooled_first(reader: Reader, attack: int, eps: float) -> dict[tuple[int, int], int]:
    """Examples by the stage and restart that fooled them first."""
    query = (
        "SELECT stage, restart, count(*) FROM (SELECT id, min(stage * 1000 + restart), stage, restart FROM outcomes "
        f"WHERE {_CELL} AND kind = 'run' AND fooled = 1 GROUP BY id) GROUP BY stage, restart"
    )
    return {(stage, restart): count for stage, restart, count in reader.all(query, attack, eps)}


def robust_before(reader: Reader, attack: int, eps: float) -> int:
    """Examples before the first stage: correct on x, and not fooled at a smaller eps already."""
    query = (
        "SELECT (SELECT count(*) FROM examples WHERE correct = 1) - (SELECT count(*) FROM outcomes "
        f"WHERE {_CELL} AND kind = 'reused')"
    )
    return reader.count(query, attack, eps)


def recheck_counts(reader: Reader, attack: int, eps: float, *, targeted: bool) -> tuple[int, int]:
    """Examples that were rechecked, and those of them that the recheck did not finish."""
    done = f"max({finished(targeted=targeted)}) AS done"
    checked = f"SELECT {done} FROM outcomes WHERE {_CELL} AND kind = 'recheck' GROUP BY id"
    n, disagreements = reader.one(f"SELECT count(*), coalesce(sum(1 - done), 0) FROM ({checked})", attack, eps)
    return n, disagreements


def stages_up_to(reader: Reader, attack: int, eps: float) -> list[Row]:
    """Stages and restarts that an attack ran at one eps or a smaller one, in order."""
    query = "SELECT DISTINCT stage, restart FROM batches WHERE attack = ? AND eps <= ? ORDER BY stage, restart"
    return reader.all(query, attack, eps)


def outcome_rows(reader: Reader, attack: int, eps: float) -> Iterator[Row]:
    """Each example with its outcome, by id, row by row.

    Columns: id, file, label, clean prediction, clean confidence, correct, fooled, stage, restart, prediction,
    confidence, target, linf, l2, l1; from fooled on None where the example was not attacked.
    """
    named = reader.count("SELECT count(*) FROM sqlite_master WHERE type = 'table' AND name = 'files'")
    file, files = ("coalesce(f.name, '')", "LEFT JOIN files f ON f.id = e.id") if named else ("''", "")
    query = (
        f"SELECT e.id, {file}, e.label, e.prediction, e.confidence, e.correct, o.fooled, o.stage, o.restart, "
        "o.prediction, o.confidence, o.target, o.linf, o.l2, o.l1 "
        f"FROM examples e LEFT JOIN ({outcomes()}) o ON o.id = e.id {files} ORDER BY e.id"
    )
    for columns in reader.stream(query, attack, eps):
        yield from zip(*columns, strict=True)


# --- All attacks at one eps


def worst_case(reader: Reader, eps: float) -> Iterator[tuple[Row, ...]]:
    """Label, correct, and whether any attack fooled it, of each example, by id: chunks of columns."""
    query = (
        "SELECT e.label, e.correct, coalesce(o.fooled, 0) FROM examples e LEFT JOIN (SELECT id, max(fooled) AS fooled "
        f"FROM outcomes WHERE eps = ? AND {COUNTED} GROUP BY id) o ON o.id = e.id ORDER BY e.id"
    )
    return reader.stream(query, eps)


def robust(reader: Reader, eps: float, attack: int | None = None) -> Tensor:
    """Robustness of each example: right on x and under an attack (None: all) at one eps, by id, (N,) bool."""
    which, values = ("", (eps,)) if attack is None else ("attack = ? AND ", (attack, eps))
    fooled = f"SELECT id FROM outcomes WHERE {which}eps = ? AND {COUNTED} AND fooled = 1"
    return reader.ids(f"SELECT correct AND id NOT IN ({fooled}) FROM examples ORDER BY id", *values).bool()


# --- Pictures


def fooled_rows(reader: Reader, attack: int, eps: float) -> list[Any]:
    """Fooled examples.

    Columns: id, stage, restart, label, clean prediction and confidence, prediction, confidence, linf, l2, l1, target.
    """
    query = (
        "SELECT o.id, o.stage, o.restart, e.label, e.prediction, e.confidence, o.prediction, o.confidence, "
        f"o.linf, o.l2, o.l1, o.target FROM ({outcomes()}) o JOIN examples e ON e.id = o.id WHERE o.fooled = 1"
    )
    return reader.all(query, attack, eps)


def fooling_stage(reader: Reader, attack: int, eps: float, number: int) -> tuple[int, int]:
    """Stage and restart that fooled an example."""
    query = (
        f"SELECT stage, restart FROM outcomes WHERE {_CELL} AND id = ? AND fooled = 1 "
        f"AND {COUNTED} ORDER BY stage, restart LIMIT 1"
    )
    stage, restart = reader.one(query, attack, eps, number)
    return stage, restart


def file_of(reader: Reader, key: tuple[Any, ...]) -> str | None:
    """The file of the batch in which an example was fooled, at this eps or, if it is reused, at a smaller one.

    Args:
        reader: of the outcomes.
        key: attack, eps, id, stage and restart.
    """
    query = (
        "SELECT b.file FROM outcomes o JOIN batches b ON b.attack = o.attack AND b.eps = o.eps AND b.kind = o.kind "
        "AND b.stage = o.stage AND b.restart = o.restart AND b.batch = o.batch "
        "WHERE o.attack = ? AND o.eps <= ? AND o.kind = 'run' AND o.id = ? AND o.stage = ? AND o.restart = ? "
        "AND o.fooled = 1 AND b.file NOTNULL ORDER BY o.eps DESC LIMIT 1"
    )
    found = reader.all(query, *key)
    return found[0][0] if found else None


# --- Attacks on texts


def text_outcomes(reader: Reader, attack: int) -> Iterator[tuple[Row, ...]]:
    """Outcomes of one recipe, by id: chunks of columns.

    Columns: clean label, correct, status, prediction, confidence, requested, sent, changed, words, turned, similarity.
    """
    return reader.stream(
        "SELECT e.label, e.correct, t.status, t.prediction, t.confidence, t.requested, t.sent, t.changed, t.words, "
        "a.turned, a.similarity FROM texts t JOIN examples e ON e.id = t.id "
        "LEFT JOIN audits a ON a.attack = t.attack AND a.id = t.id WHERE t.attack = ? ORDER BY t.id",
        attack,
    )


def text_rows(reader: Reader, attack: int) -> Iterator[Row]:
    """Rows of one recipe with all columns, and what is known of the meaning, by id.

    Columns: id, status, label, target, before, prediction, confidence, score, requested, sent, changed, words,
    original, adversarial, edits, turned, similarity.
    """
    columns = ", ".join(f"t.{name}" for name in TEXT_CONTENT.split(", "))
    return reader.rows(
        f"SELECT {columns}, a.turned, a.similarity FROM texts t "
        "LEFT JOIN audits a ON a.attack = t.attack AND a.id = t.id WHERE t.attack = ? ORDER BY t.id",
        attack,
    )


def texts_right(reader: Reader, attack: int) -> Tensor:
    """Flags of the texts that are classified correctly before and after an attack, by id, (N,) bool."""
    query = "SELECT e.correct AND t.prediction = t.label FROM texts t JOIN examples e ON e.id = t.id "
    return reader.ids(f"{query}WHERE t.attack = ? ORDER BY t.id", attack).bool()


def text_cost(reader: Reader, attack: int) -> Row:
    """Texts that the victim scored for one recipe, seconds in the victim and in other models, and all seconds."""
    spent = reader.one(
        "SELECT coalesce(sum(texts), 0), coalesce(sum(victim), 0.0), coalesce(sum(services), 0.0) FROM spent "
        "WHERE attack = ?",
        attack,
    )
    return (*spent, *reader.one("SELECT coalesce(sum(seconds), 0.0) FROM batches WHERE attack = ?", attack))


def unlike_clean(reader: Reader) -> int:
    """Texts whose clean prediction differs between the clean pass and an attack."""
    return reader.count(
        "SELECT count(DISTINCT t.id) FROM texts t JOIN examples e ON e.id = t.id WHERE t.before != e.prediction"
    )


def audits(reader: Reader) -> int:
    """Number of attacks whose meaning was measured."""
    return reader.count("SELECT count(*) FROM audits")
