"""Kills evaluations on texts at many points, resumes them, and prints what differs from one that was left alone.

A program rather than a test, so that it can fork before any thread runs: ``python killed_texts.py FOLDER POINTS``.
"""

from __future__ import annotations

import json
import sqlite3
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

from forks import forked, killed  # type: ignore[import-not-found]
from text_toys import FREE, GREEDY, RANDOM, VICTIM, sentences  # type: ignore[import-not-found]

from robustlab.evaluation import TextSettings, evaluate_text, store
from robustlab.evaluation.plan import Phase
from robustlab.evaluation.text.meaning import Meaning
from robustlab.runs import files, json_files

SCORES = {"good": 2.0, "bad": -2.0}
MEANING = Meaning(lambda word: SCORES.get(word, 0.0), lambda pairs: [0.5] * len(pairs), 0.85, "1", "1")


def run(out: Path) -> None:
    settings = TextSettings(batch_size=10, command="killed_texts", meaning=MEANING)
    evaluate_text(VICTIM, sentences(), recipes=[GREEDY, RANDOM, FREE], n=50, out=out, settings=settings)


def on_every_step(act: Callable[[str], None]) -> None:
    """Calls ``act`` before and after everything that a commit consists of."""
    write, insert, transaction = files.write_bytes, store.Store._insert, store.Store.transaction

    def writing(path: Path, content: bytes, *, durable: bool = True) -> None:
        act(f"before {path.name}")
        write(path, content, durable=durable)
        act(f"after {path.name}")

    def inserting(self: store.Store, phase: Phase, *rest: object) -> None:
        act(f"recipe {phase.attack}: before rows")
        insert(self, phase, *rest)  # type: ignore[arg-type]
        act(f"recipe {phase.attack}: rows not yet committed")

    def committing(self: store.Store) -> AbstractContextManager[None]:
        act("before a transaction")
        return transaction(self)

    def spent(self: store.Store) -> None:
        spend(self)
        act("at the commit")

    spend = store.Store.spend
    json_files.write_bytes = writing  # type: ignore[attr-defined]
    store.Store._insert = inserting  # type: ignore[method-assign,assignment]
    store.Store.transaction = committing  # type: ignore[method-assign,assignment]
    store.Store.spend = spent  # type: ignore[method-assign]


def content(out: Path) -> dict[str, object]:
    """Everything of a run but times, costs, names and how many sessions it took."""
    database = sqlite3.connect(out / "outcomes.sqlite")
    rows: dict[str, object] = {
        "examples": database.execute("SELECT * FROM examples ORDER BY id").fetchall(),
        "texts": database.execute("SELECT * FROM texts ORDER BY attack, id").fetchall(),
        "audits": database.execute("SELECT * FROM audits ORDER BY attack, id").fetchall(),
        "batches": database.execute("SELECT attack, kind, batch, n FROM batches ORDER BY attack, batch").fetchall(),
    }
    database.close()
    report = json.loads((out / "report.json").read_text())
    del report["run"]
    for result in report["results"]:
        del result["costs"]
    del report["clean"]["seconds"]
    return {**rows, "report": report, "left over": sorted(map(str, out.glob("**/*.part")))}


def main(folder: Path, points: int) -> None:
    """Prints one JSON object."""
    run(folder / "alone")
    expected = content(folder / "alone")

    def count() -> None:
        seen: list[str] = []
        on_every_step(seen.append)
        run(folder / "counted")
        (folder / "steps.json").write_text(json.dumps(seen))

    assert forked(count) == 0
    names: list[str] = json.loads((folder / "steps.json").read_text())
    commit = names.index("at the commit")
    chosen = sorted({*range(1, len(names), max(1, len(names) // points)), commit})
    failures = {}
    for point in chosen:
        out = folder / f"killed-{point}"
        killed(partial(run, out), point, on_every_step)
        run(out)
        found = content(out)
        failures[f"{point}: {names[point]}"] = [name for name, value in expected.items() if found[name] != value]
    rows = expected["texts"]
    assert isinstance(rows, list)
    sys.stdout.write(json.dumps({"failures": failures, "rows": len(rows)}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
