"""Faults of a batch and of the output of the model that make every number meaningless."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from robustlab.core import Batch, DataError, Examples
from robustlab.core.bounds import outside
from robustlab.core.finding import Finding
from robustlab.core.user_code import batch_of, output_advice

FATAL = frozenset({
    "integer-inputs", "no-inputs", "nan-inputs", "inputs-0-255", "inputs-normalised-outside", "inputs-outside-bounds",
    "labels-wrong", "labels-out-of-range", "not-logits", "only-nan-logits",
})  # fmt: skip
"""Codes of findings that an evaluation does not start with."""
REREAD = 32
"""Examples that are read twice, to see whether they stay the same."""
_STEADY = (
    "Take random augmentation (crops, flips, noise) out of the test set, or seed it by the number of the example: else "
    "every pass sees other images, and no run can be resumed or repeated."
)


def refuse(findings: Iterable[Finding]) -> None:
    """Raises ValueError for the first finding that an evaluation must not start with."""
    for finding in findings:
        if finding.code in FATAL:
            raise ValueError(f"{finding.title.removesuffix('.')}. {finding.advice}")


def fetched(examples: Examples, ids: Tensor, *, unchecked: bool = False) -> Batch:
    """Examples by id.

    Args:
        examples: the data set.
        ids: of the examples (N,).
        unchecked: whether ``batch_faults`` is called for them, which finds NaN, too.

    Raises: DataError if the data set ends early.
    """
    try:
        batch = batch_of(examples, ids, unchecked=unchecked)
    except DataError as error:
        if isinstance(error.__cause__, IndexError):
            raise DataError(_short(examples, f"example {int(ids.max())} cannot be read ({error.__cause__})")) from error
        raise
    if batch.x.shape[:1] != ids.shape:
        raise DataError(
            _short(examples, f"of {len(ids)} examples up to number {int(ids.max())} it gave {len(batch.x)}")
        )
    return batch._replace(ids=ids)


def unstable(first: Batch, again: Batch) -> Finding | None:
    """Finding for examples that differ between two readings; None if they are equal."""
    n = len(first.ids)
    if first.x.shape != again.x.shape or first.y.shape != again.y.shape:
        differ = n
    else:
        columns = ((first.x, again.x.to(first.x)), (first.y, again.y.to(first.y)))
        same = [((a == b) | (a.isnan() & b.isnan())).reshape(n, -1).all(dim=1) for a, b in columns]
        differ = int((~(same[0] & same[1])).sum())
    if not differ:
        return None
    title = f"The data read differently each time: {differ} of {n} examples changed between two readings."
    return _fault("unstable-data", title, _STEADY, differ=differ, n=n)


def refuse_unstable(examples: Examples, ids: Tensor) -> None:
    """Raises ValueError if some of these examples, ``REREAD`` at most, are not the same when they are read again."""
    some = ids[:REREAD]
    finding = unstable(fetched(examples, some), fetched(examples, some)) if some.numel() else None
    if finding is not None:
        raise ValueError(f"{finding.title.removesuffix('.')}. {finding.advice}")


def with_finding(findings: Iterable[Finding], one: Finding | None) -> tuple[Finding, ...]:
    """Findings and one more, unless its code is among them."""
    found = tuple(findings)
    return found if one is None or one.code in {f.code for f in found} else (*found, one)


def _short(examples: Examples, what: str) -> str:
    return f"{examples.name} ends early: its length is {len(examples)} examples, but {what}; check its files"


def batch_faults(batch: Batch, bounds: tuple[float, float]) -> Iterator[Finding]:
    """Faults of inputs and labels, the worst first; later checks rely on the earlier ones."""
    x, y = batch.x, batch.y
    if not x.is_floating_point():
        title = f"Inputs are {str(x.dtype).removeprefix('torch.')}, expected floating point in {bounds}."
        yield _fault("integer-inputs", title, "For images write x / 255.")
        return
    if x.ndim < 2 or not x.numel():
        title = f"Inputs have shape {tuple(x.shape)}, expected (N, ...) with at least one example."
        yield _fault("no-inputs", title, "Give a batch of images (N, C, H, W).")
        return
    yield from _range_faults(batch, bounds)
    if y.shape != x.shape[:1] or y.dtype != torch.int64:
        title = f"Labels are {y.dtype} of shape {tuple(y.shape)}, expected torch.int64 of shape ({len(x)},)."
        yield _fault("labels-wrong", title, "Give one class number 0..K-1 per example.")


def _range_faults(batch: Batch, bounds: tuple[float, float]) -> Iterator[Finding]:
    low, high = (float(v) for v in batch.x.aminmax())
    if low != low or high != high:
        bad = batch.ids[batch.x.flatten(1).isnan().any(dim=1).cpu()]
        title = f"Inputs contain NaN, in {len(bad)} of {len(batch.x)} examples, first in example {int(bad[0])}."
        yield _fault("nan-inputs", title, "Clean the data or leave these examples out.", nan=len(bad), n=len(batch.x))
        return
    lie = outside(low, high, bounds, batch.x.dtype)
    if lie is None:
        return
    title = f"Inputs lie {lie}."
    if bounds == (0.0, 1.0) and low >= 0 and high <= 255:
        yield _fault("inputs-0-255", title, "Divide images by 255.", low=low, high=high)
    elif bounds == (0.0, 1.0) and low < 0 and max(-low, high) < 20:
        advice = "Give images in [0, 1] and let the model normalise: robustlab.models.normalised(model, mean, std)."
        yield _fault("inputs-normalised-outside", title, advice, low=low, high=high)
    else:
        yield _fault(
            "inputs-outside-bounds", title, "Give the threat model the bounds of the data.", low=low, high=high
        )


def label_faults(y: Tensor, classes: int) -> Iterator[Finding]:
    """Fault of labels that are no classes of the model."""
    low, high = int(y.min()), int(y.max())
    if low < 0 or high >= classes:
        title = f"Labels run from {low} to {high}, but the model has {classes} classes, 0..{classes - 1}."
        yield _fault(
            "labels-out-of-range", title, "Give a model for these classes.", low=low, high=high, classes=classes
        )


def output_faults(output: object, x: Tensor) -> Iterator[Finding]:
    """Fault of an output for inputs (N, ...) that is no logits (N, K)."""
    if not isinstance(output, Tensor):
        title = f"The model returned a {type(output).__name__}, expected logits (N, K) as a tensor."
        yield _fault("not-logits", title, _advice(output, x))
    elif output.ndim != 2 or len(output) != len(x) or output.shape[1] < 2 or not output.is_floating_point():
        title = f"The model returned {tuple(output.shape)} {output.dtype} for {len(x)} inputs, expected logits (N, K)."
        yield _fault("not-logits", title, _advice(output, x))


def _advice(output: object, x: Tensor) -> str:
    advice = output_advice(output, len(x))
    return f"{advice[0].upper()}{advice[1:]}."


def logit_faults(undefined: int, n: int) -> Iterator[Finding]:
    """Fault of clean inputs whose logits are NaN or infinite, with their number."""
    if undefined:
        code = "only-nan-logits" if undefined == n else "nan-logits"
        title = f"The model returned NaN or infinite logits for {undefined} of {n} clean inputs; they count as wrong."
        yield _fault(code, title, "Find the cause before you use any number of this evaluation.", nan=undefined, n=n)


def _fault(code: str, title: str, advice: str, **evidence: float) -> Finding:
    return Finding(code, "serious", title, dict(evidence), advice)
