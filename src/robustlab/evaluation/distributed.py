"""Processes that share a run, and the database that each of them writes."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import cast

from robustlab.core.processes import Processes, joined
from robustlab.evaluation.manifest import Manifest, check_alike, create_or_resume_run
from robustlab.evaluation.shards import shard, take_in_all
from robustlab.evaluation.store import Store, opened


@contextmanager
def team(out: str | Path | None, *, together: bool) -> Iterator[Processes]:
    """The processes that share the work."""
    if not together:
        yield Processes()
        return
    with joined() as processes:
        if processes.count > 1 and out is None:
            raise ValueError("several processes need a run directory that all of them see: give out=")
        yield processes


@contextmanager
def begun(home: Path, own: Manifest, processes: Processes, *, durable: bool) -> Iterator[tuple[Store, Manifest]]:
    """Opens a run directory.

    Args:
        home: the directory.
        own: what this process is about to evaluate.
        processes: that work on it.
        durable: whether commits shall survive the machine too, not only the process.

    Yields: where this process writes, the run's own store for the first and a shard for each other one; and the
        manifest that counts.
    """
    with ExitStack() as stack:
        store = processes.each(lambda: stack.enter_context(opened(home, durable=durable)) if processes.first else None)
        manifest = processes.by_first(lambda: _opened(own, cast(Store, store)))
        processes.each(lambda: check_alike(manifest, own, processes.rank))
        run = manifest.run.id
        yield processes.each(lambda: store or stack.enter_context(shard(home, processes.rank, run))), manifest


def _opened(own: Manifest, store: Store) -> Manifest:
    manifest = create_or_resume_run(own, store)
    take_in_all(store, manifest.run.id, adopt=manifest.sealed is None)
    return manifest


@contextmanager
def home_of(out: str | Path | None) -> Iterator[Path]:
    """The run directory, or a temporary one that goes if the run fails."""
    if out is not None:
        yield Path(out)
        return
    directory = Path(tempfile.mkdtemp(prefix="robustlab-"))
    try:
        yield directory
    except BaseException:
        shutil.rmtree(directory, ignore_errors=True)
        raise
