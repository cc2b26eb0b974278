"""Writing a corrupted copy of a data set: in parallel, resumable, and read again in the end."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from multiprocessing import get_context, parent_process
from pathlib import Path
from time import perf_counter

import torch

from robustlab.core import RunError
from robustlab.core.finding import Evidence
from robustlab.core.kinds import typed
from robustlab.data.folder import ImageFolder
from robustlab.data.wrapped import Given, data_sha256
from robustlab.evaluation.copies.files import PARTS, Copier, Part, class_folders
from robustlab.evaluation.copies.manifest import (
    CLEAN,
    SUMS,
    CopyManifest,
    CopySettings,
    Layout,
    create_or_resume_copy,
    damaged_files,
    read_sums,
    seal,
    write_sums,
)
from robustlab.evaluation.corruptions.corrupted_set import SEVERITIES, CorruptedSets, Corruptions, corrupted_sets
from robustlab.evaluation.input_checks import batch_faults, fetched, refuse, refuse_unstable
from robustlab.runs.lock import alone
from robustlab.runs.progress import Progress
from robustlab.runs.provenance import now, versions

_COPIER: list[Copier] = []
"""The copier of a worker process."""


@typed
def write_corrupted(
    data: Given,
    out: str | Path,
    *,
    corruptions: Corruptions | None = None,
    severities: Sequence[int] | None = None,
    settings: CopySettings | None = None,
) -> CopyManifest:
    """Writes a corrupted copy of a data set, in one of the two layouts of published benchmarks.

    Killed at any moment, the same call goes on; of a finished copy it writes the missing or damaged files. Images are
    those that ``evaluate_corruptions`` makes in memory with the same seed. In the end every file is read again and
    compared with the digest that was taken when it was written; ``SHA256SUMS`` holds them all.

    Args:
        data: labelled images in [0, 1], or what ``robustlab.data.examples`` makes some of.
        out: directory of the copy; if it holds the same copy, unfinished, it goes on.
        corruptions: by name, or own ones by the names that folders shall have; None: the 15 of the benchmark.
        severities: of 1 to 5; None: all.
        settings: layout, seed, number of processes and so on.

    Returns: the manifest of the copy.

    Raises:
        ValueError: for data that cannot be corrupted or written in this layout, with the fault.
        RunError: the directory cannot be written, holds another copy, or files change after they were written.
        DataError: the data set does not match its length.
    """
    settings, root = settings or CopySettings(), Path(out)
    sets = corrupted_sets(data, corruptions, severities, variant=settings.variant, seed=settings.seed)
    shape = tuple(fetched(sets.examples, torch.tensor([0])).x.shape[1:])
    sets.check_sizes(shape)
    sets = sets.with_versions(shape)
    odd = [info.name for info in sets.corruptions if not re.fullmatch(r"\w[\w.-]*", info.name)]
    if odd:
        raise ValueError(f"{odd[0]!r} cannot be the name of a folder: give the corruption another name")
    own = _described(sets, settings)
    with alone(root):
        manifest = create_or_resume_copy(own, root)
        copier = Copier(sets, manifest, root, settings.quality)
        if not _finished(copier):
            (root / SUMS).unlink(missing_ok=True)
            manifest = seal(manifest, root, whole=False)
            _written(copier, settings)
        shutil.rmtree(root / PARTS, ignore_errors=True)
        if wrong := damaged_files(root, settings.progress):
            _mended(copier, wrong, settings)
            wrong = damaged_files(root, settings.progress)
        manifest = manifest if wrong else seal(manifest, root, whole=True)
    if wrong:
        raise RunError(
            f"{len(wrong)} file{'s' if len(wrong) > 1 else ''} in {root} changed after two writes, {wrong[0]} for "
            f"one: check the disk, then delete {root / SUMS} and make the copy again to write all files anew"
        )
    return manifest


def _finished(copier: Copier) -> bool:
    """Tests for recorded digests of all files of a copy."""
    try:
        return set(read_sums(copier.directory)) == copier.files
    except RunError:
        return False


def _mended(copier: Copier, files: Sequence[str], settings: CopySettings) -> None:
    """Writes missing or changed files anew."""
    if {"labels.npy", CLEAN} & set(files):
        copier.common_files()
    parts = copier.parts_of(files)
    for _ in _worked(copier, parts, settings.workers):
        pass
    for name in dict.fromkeys(part.cell[0] for part in parts):
        copier.join(name)
    shutil.rmtree(copier.directory / PARTS, ignore_errors=True)


def _described(sets: CorruptedSets, settings: CopySettings) -> CopyManifest:
    first = fetched(sets.examples, torch.tensor([0]))
    refuse(batch_faults(first, (0.0, 1.0)))
    refuse_unstable(sets.examples, torch.arange(len(sets.examples)))
    layout = settings.layout or _usual(sets)
    if layout == "arrays" and sets.severities != SEVERITIES:
        raise ValueError(
            f"arrays hold all five severities, this copy has {', '.join(map(str, sets.severities))}: choose folders"
        )
    format = "npy" if layout == "arrays" else "png" if settings.format == "png" else f"jpeg {settings.quality}"
    whole = data_sha256(sets.examples)
    used = versions()
    essentials: Evidence = {
        "data": whole,
        "number of examples": len(sets.examples),
        "corruptions": "; ".join(f"{info.name}: {info.repr}" for info in sets.corruptions),
        "severities": ", ".join(map(str, sets.severities)),
        "seed": settings.seed,
        "layout": layout,
        "format": format,
        "torch": used["torch"],
    }
    return CopyManifest(
        name=sets.name,
        classes=tuple(sets.examples.classes),
        folders=class_folders(sets.examples) if layout == "folders" else (),
        n=len(sets.examples),
        shape=tuple(first.x.shape[1:]),
        corruptions=sets.corruptions,
        severities=sets.severities,
        variant=sets.variant,
        seed=settings.seed,
        layout=layout,
        format=format,
        created=now(),
        command=settings.command or shlex.join(sys.argv),
        versions=used,
        essentials=essentials,
    )


def _usual(sets: CorruptedSets) -> Layout:
    return "folders" if isinstance(sets.examples, ImageFolder) or sets.severities != SEVERITIES else "arrays"


def _written(copier: Copier, settings: CopySettings) -> None:
    """Writes the parts that are not done yet."""
    parts, sums = copier.parts, copier.common_files()
    todo = [part for part in parts if not copier.done(part)]
    left = Counter(part.cell[0] for part in todo)
    for name in {name for name, _ in copier.sets.cells} - set(left):
        copier.join(name)
    started, before = perf_counter(), len(parts) - len(todo)
    for done, part in enumerate(_worked(copier, todo, settings.workers), start=before + 1):
        left[part.cell[0]] -= 1
        if not left[part.cell[0]]:
            copier.join(part.cell[0])
        if settings.progress is not None:
            seconds = (len(parts) - done) * (perf_counter() - started) / (done - before)
            detail = f"{part.cell[0]} {part.cell[1]}: {done}/{len(parts)}"
            at = Progress("corrupt", done, len(parts), "parts", detail=detail, seconds_left=seconds)
            settings.progress(at)
    write_sums(copier.directory, copier.sums() | sums)


def _worked(copier: Copier, parts: Sequence[Part], workers: int) -> Iterator[Part]:
    """The parts as they get done, by this process or by several."""
    if workers == 1 or len(parts) < 2:
        yield from map(copier.write, parts)
        return
    from concurrent.futures import ProcessPoolExecutor, as_completed
    from concurrent.futures.process import BrokenProcessPool

    with ProcessPoolExecutor(
        min(workers, len(parts)), get_context("spawn"), initializer=_begin, initargs=(copier,)
    ) as pool:
        waiting = [pool.submit(_write, part) for part in parts]
        try:
            for future in as_completed(waiting):
                yield future.result()
        except BrokenProcessPool as error:
            raise RunError(
                "a worker process ended before its work was done (was there enough memory, and can the data set be "
                "pickled?): finished parts are kept; make the same call again, with workers=1 to use this process alone"
            ) from error
        finally:
            pool.shutdown(cancel_futures=True)


def _begin(copier: Copier) -> None:
    """Prepares a worker process: one thread, no traceback on Ctrl-C, and an end with its parent."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _COPIER.append(replace(copier))
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = parent_process()
    with suppress(OSError):
        if parent is not None:
            parent.join()
            os._exit(1)


def _write(part: Part) -> Part:
    return _COPIER[0].write(part)
