"""Input doctor: checks of a model and its data before any attack, for faults that would make the numbers wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from robustlab.core import Batch, Model, ThreatModel, UserCodeError, frozen
from robustlab.core.finding import Finding
from robustlab.core.kinds import typed
from robustlab.core.modes import in_training
from robustlab.core.user_code import model_output
from robustlab.core.words import budget
from robustlab.data.wrapped import Given
from robustlab.evaluation.doctor.behaviour import Answered, behaviours
from robustlab.evaluation.doctor.units import beyond_chance, frequent, other_units
from robustlab.evaluation.given import for_model
from robustlab.evaluation.input_checks import (
    FATAL,
    batch_faults,
    label_faults,
    logit_faults,
    output_faults,
    with_finding,
)
from robustlab.evaluation.plan import chosen
from robustlab.evaluation.readings import Readings
from robustlab.evaluation.subject import whereabouts

PROBED = 128
"""Examples that are checked, a simple random sample."""
_PAIRED = 32  # examples whose distances to each other are taken
_ENOUGH = 20  # examples below which accuracy is not compared with chance


@typed
def inspect_inputs(
    model: Model, data: Given, threat: ThreatModel | None = None, *, ids: Tensor | None = None, seed: int = 0
) -> tuple[Finding, ...]:
    """Checks model and data for faults that would make a robust accuracy wrong.

    Findings are: inputs that are integers, NaN, in 0..255 or normalised outside the model; data that differ between two
    readings; labels that do not fit; a model that returns no logits, probabilities or NaN, that was in training mode,
    that answers differently the second time or in another batch, that expects other units, or is no better than chance;
    a budget too large to mean anything. Thresholds are the constants of this module.

    Args:
        model: from inputs (N, ...) to logits (N, K); its mode is restored.
        data: labelled examples, or what ``robustlab.data.examples`` makes some of.
        threat: norm, eps and bounds; None: bounds (0, 1) and no check of eps.
        ids: the examples to choose from; None: all.
        seed: of the choice.

    Returns: findings; empty if nothing was found.
    Raises: DataError if the data set ends early.
    """
    every = Readings(for_model(model, data))
    return inspected(model, every, threat, ids=torch.arange(len(every.examples)) if ids is None else ids, seed=seed)


def inspected(
    model: Model, readings: Readings, threat: ThreatModel | None = None, *, ids: Tensor, seed: int
) -> tuple[Finding, ...]:
    """Findings as of ``inspect_inputs``, from examples that are read once for all that comes before the attacks."""
    batch = readings.read(chosen(ids, PROBED, "doctor", seed))
    bounds = (0.0, 1.0) if threat is None else threat.bounds
    found = [*with_finding(batch_faults(batch, bounds), readings.steady(batch.ids)), *_training(model)]
    if any(f.code in FATAL for f in found):
        return tuple(found)
    home, dtype = whereabouts(model)
    placed = Batch(batch.x.to(home, dtype), batch.y.to(home), batch.ids)
    with frozen(model, training=False), torch.no_grad():
        return (*found, *_answers(model, placed, bounds, len(readings.examples.classes)), *_budget(placed, threat))


def _training(model: Model) -> Iterator[Finding]:
    if not isinstance(model, nn.Module):
        return
    left = Counter(type(m).__name__ for m in model.modules() if in_training(m) and _mode_matters(m))
    if left:
        names = ", ".join(f"{count} {name}" for name, count in sorted(left.items()))
        yield Finding(
            "training-mode",
            "warning",
            f"The model was in training mode ({names}); it is evaluated in eval mode.",
            {"layers": left.total()},
            "Call model.eval() before you use the model elsewhere, or its answers depend on the batch and on chance.",
        )


def _mode_matters(module: nn.Module) -> bool:
    return isinstance(module, _BatchNorm) or "drop" in type(module).__name__.lower()


def _answers(model: Model, batch: Batch, bounds: tuple[float, float], names: int) -> Iterator[Finding]:
    try:
        output = model_output(model, batch.x)
    except UserCodeError as error:
        title = f"{str(error)[0].upper()}{str(error)[1:]}."
        yield Finding("inputs-not-accepted", "serious", title, {}, "Give inputs of the shape that the model is for.")
        return
    faults = [*output_faults(output, batch.x)]
    if isinstance(output, Tensor) and not faults:
        faults = [*label_faults(batch.y, output.shape[1])]
    if not isinstance(output, Tensor) or faults:
        yield from faults
        return
    case = Answered(model, batch, output)
    faults = [*logit_faults(int((~output.amax(dim=1).isfinite()).sum()), len(output))]
    yield from faults
    if any(f.code in FATAL for f in faults):
        return
    yield from behaviours(case, names)
    elsewhere = list(other_units(case)) if bounds == (0.0, 1.0) else []
    yield from elsewhere or _chance(case)


def _chance(answered: Answered) -> Iterator[Finding]:
    """Finding for accuracy that could be that of always giving the most frequent class."""
    n, correct = len(answered.batch.y), answered.correct()
    chance = frequent(answered.batch.y)
    if n < _ENOUGH or chance == 1 or beyond_chance(correct, answered.batch.y):
        return
    hits = int(correct.sum())
    yield Finding(
        "near-chance",
        "serious",
        f"Clean accuracy is near chance: {hits} of {n}, where the most frequent class alone gives {chance:.0%}.",
        {"accuracy": hits / n, "chance": chance, "n": n},
        "Check weights, preprocessing and the order of classes: robust accuracy of such a model is meaningless.",
    )


def _budget(batch: Batch, threat: ThreatModel | None) -> Iterator[Finding]:
    """Finding for an eps in other units than the inputs, or large compared with the distance between classes."""
    if threat is None:
        return
    eps = threat.eps if isinstance(threat.eps, float) else max(threat.eps)
    width = threat.bounds[1] - threat.bounds[0]
    if str(threat.norm) == "Linf" and width < float("inf") and 0 < eps < width / 1000:
        title = f"eps {budget(eps)} is less than a thousandth of the range of the inputs ({width:g})."
        evidence = {"eps": eps, "range": width}
        yield Finding("eps-too-small", "serious", title, dict(evidence), "eps is in the units of the inputs: scale it.")
    nearest = _nearest(batch, threat)
    if nearest is None or 2 * eps < nearest:
        return
    yield Finding(
        "eps-too-large",
        "serious" if eps >= nearest else "warning",
        f"eps {budget(eps)} is large: half of the inputs have one of another class within {nearest:g} ({threat.norm}).",
        {"eps": eps, "distance": nearest, "n": min(_PAIRED, len(batch.x))},
        "Give eps in the units of the inputs, for images in [0, 1] as 8 / 255; at half the distance classes meet.",
    )


def _nearest(batch: Batch, threat: ThreatModel) -> float | None:
    """The median distance to the nearest example of another class, among some examples."""
    x, y = batch.x[:_PAIRED].double(), batch.y[:_PAIRED]
    found = [threat.norm.size(x[y != label] - one).min() for one, label in zip(x, y, strict=True) if (y != label).any()]
    return float(torch.stack(found).median()) if found else None
