"""The model under evaluation and its examples: loading, answering, attacking and judging one batch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn

from robustlab.attacks.facts import chosen_targets
from robustlab.core import (
    L1,
    L2,
    Attack,
    Batch,
    Examples,
    Linf,
    Logits,
    Model,
    Stop,
    ThreatModel,
    Twin,
    UserCodeError,
    own_twin,
    search_twin,
)
from robustlab.core.speed import bf16_is_faster
from robustlab.core.twin import checked_logits
from robustlab.core.user_code import model_output
from robustlab.core.weights import check_values
from robustlab.evaluation.input_checks import batch_faults, output_faults, refuse
from robustlab.evaluation.plan import SearchDtype
from robustlab.evaluation.readings import Readings

UNDEFINED = -1
"""The prediction where logits hold NaN or +inf; it equals no label, so such an example counts as wrong."""


class Answers(NamedTuple):
    """Predictions of the user's own model."""

    prediction: Tensor
    """Classes (N,), int64; ``UNDEFINED`` where logits are not finite."""
    confidence: Tensor
    """Softmax probability of the prediction (N,), float64; NaN where undefined."""
    undefined: Tensor
    """True where logits were not finite, (N,) bool."""


class Judged(NamedTuple):
    """Outcome of an attack on a batch, all (N,)."""

    answers: Answers
    inside: Tensor
    """True where x_adv keeps budget and bounds exactly; elsewhere it is refused."""
    fooled: Tensor
    linf: Tensor
    l2: Tensor
    l1: Tensor


@dataclass(frozen=True)
class Subject:
    """A model, in eval mode, and the examples that it is evaluated on.

    Args:
        model: the user's own.
        readings: of its data set.
        device: where the model is.
        dtype: of the model's weights; inputs are cast to it.
        bounds: of valid inputs.
        twin: what attacks get as the model.
    """

    model: Model
    readings: Readings
    device: torch.device
    dtype: torch.dtype
    bounds: tuple[float, float]
    twin: Twin

    @property
    def examples(self) -> Examples:
        """The data set."""
        return self.readings.examples

    def load(self, ids: Tensor) -> Batch:
        """Examples as the model takes them.

        Raises:
            DataError: the data set does not match its length.
            ValueError: inputs or labels that cannot be evaluated.
        """
        return self.placed(self.readings.read(ids))

    def placed(self, batch: Batch) -> Batch:
        """Checked examples on the model's device, in its precision."""
        refuse(batch_faults(batch, self.bounds))
        return Batch(batch.x.to(self.device, self.dtype), batch.y.to(self.device), batch.ids.to(self.device))

    def answers(self, x: Tensor) -> Answers:
        """Predictions of the user's own model for inputs (N, ...), in pieces that fit the cache."""
        return answers_of(self.logits(x))

    def logits(self, x: Tensor) -> Logits:
        """Logits (N, K) of the user's own model for inputs (N, ...), in pieces that fit the cache."""
        with torch.no_grad():
            parts = [self.twin(part).detach() for part in self.twin.split(x)]
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def attacked(self, attack: Attack, batch: Batch, seed: int, stop: Stop = "success") -> tuple[Tensor, Tensor | None]:
        """Runs an attack.

        Returns: x_adv (N, ...), and the targets (N,) if the attack chose any.
        Raises: ValueError if x_adv has another shape than x.
        """
        target = chosen_targets(attack, self.twin, batch.x, batch.y, seed=seed, ids=batch.ids)
        x_adv = _defined(attack, self.twin, batch, target=target, seed=seed, stop=stop)
        if not isinstance(x_adv, Tensor) or x_adv.shape != batch.x.shape:
            seen = tuple(x_adv.shape) if isinstance(x_adv, Tensor) else f"a {type(x_adv).__name__}"
            raise ValueError(f"the attack returned {seen} for inputs {tuple(batch.x.shape)}: {attack!r}")
        return x_adv.detach().to(batch.x), target

    def judged(self, threat: ThreatModel, batch: Batch, x_adv: Tensor) -> Judged:
        """Evaluates x_adv with the user's own model; NaN logits count as fooled, a broken budget does not."""
        answers = self.answers(x_adv)
        pieces = zip(self.twin.split(batch.x), self.twin.split(x_adv), strict=True)
        inside, linf, l2, l1 = (torch.cat(c) for c in zip(*(_sizes(threat, x, a) for x, a in pieces), strict=True))
        return Judged(answers, inside, (answers.prediction != batch.y) & inside, linf, l2, l1)


def subject(
    model: Model, examples: Examples | Readings, threat: ThreatModel, *, device: str, search_dtype: SearchDtype
) -> Subject:
    """Prepares a model, which is in eval mode already; the search twin is built here, once.

    Raises: ValueError if the model is on another device than ``device``.
    """
    bare, x = _bare(model, examples, threat.bounds, device)
    return replace(bare, twin=search_twin(model, x, dtype=dtype_of_search(search_dtype, model)))


def dtype_of_search(wanted: SearchDtype, model: Model) -> torch.dtype | None:
    """Precision of the search; "auto" is bfloat16 for a model of float32 where that is faster, else the model's own."""
    if wanted != "auto":
        return wanted
    home, own = whereabouts(model)
    return torch.bfloat16 if own == torch.float32 and bf16_is_faster(home) else None


def without_search(model: Model, examples: Examples | Readings, *, device: str) -> Subject:
    """Prepares a model, in eval mode already, that is evaluated on images in [0, 1] and not attacked.

    Raises: ValueError if the model is on another device than ``device``.
    """
    bare, x = _bare(model, examples, (0.0, 1.0), device)
    return replace(bare, twin=own_twin(model, x))


def _bare(
    model: Model, examples: Examples | Readings, bounds: tuple[float, float], device: str
) -> tuple[Subject, Tensor]:
    """The subject without twin, and the first inputs."""
    home, dtype = whereabouts(model)
    if device not in ("auto", str(home), home.type):
        raise ValueError(f"device={device!r} is not the device of the model, {home}: move it with model.to({device!r})")
    readings = examples if isinstance(examples, Readings) else Readings(examples, keeping=False)
    bare = Subject(model, readings, home, dtype, bounds, Twin(model, model))
    x = bare.load(torch.arange(min(8, len(readings.examples)))).x
    return bare, x


def first_answer(model: Model, x: Tensor) -> Tensor:
    """Logits of inputs (N, ...), checked for shape and type.

    Raises: ValueError if it fails on them, or returns something else.
    """
    with torch.no_grad():
        output = model_output(model, x)
    refuse(output_faults(output, x))
    return cast(Tensor, output)


def whereabouts(model: Model) -> tuple[torch.device, torch.dtype]:
    """Device and dtype of a model's weights; those of torch's defaults if it has none.

    Raises: ValueError for a model on the meta device.
    """
    if isinstance(model, nn.Module):
        check_values(model)
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    floating = [t.dtype for t in tensors if t.is_floating_point()]
    device = tensors[0].device if tensors else torch.get_default_device()
    return device, floating[0] if floating else torch.get_default_dtype()


def answers_of(logits: Logits) -> Answers:
    """Predictions of logits (N, K)."""
    undefined = ~logits.amax(dim=1).isfinite()
    prediction = logits.argmax(dim=1)  # of the logits: probabilities of very small or large ones may be equal
    confidence = logits.double().softmax(dim=1).gather(1, prediction[:, None])[:, 0]
    return Answers(
        prediction.masked_fill(undefined, UNDEFINED), confidence.masked_fill(undefined, torch.nan), undefined
    )


def _sizes(threat: ThreatModel, x: Tensor, x_adv: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    delta = x_adv.double() - x.double()
    return threat.contains(x, x_adv), Linf().size(delta), L2().size(delta), L1().size(delta)


def _defined(attack: Attack, twin: Twin, batch: Batch, *, target: Tensor | None, seed: int, stop: Stop) -> Tensor:
    """Runs the attack; where the model gives it NaN, runs it again with NaN as one more class, which is wrong."""

    def run(model: Twin) -> Tensor:
        return attack(model, batch.x, batch.y, target=target, stop=stop, seed=seed, ids=batch.ids)

    try:
        return run(twin)
    except UserCodeError:
        raise
    except ValueError as error:
        seen: list[int] = []
        own = _with_undefined(twin.model, seen)
        search = _with_undefined(twin.search, seen) if twin.distinct else own
        x_adv = run(replace(twin, model=own, search=search))
        if not any(seen):
            raise error from None
        return x_adv


def _with_undefined(model: Model, seen: list[int]) -> Callable[[Tensor], Tensor]:
    """The model with one more class, the answer where its logits are undefined and far below all others elsewhere."""

    def answer(x: Tensor) -> Tensor:
        logits = checked_logits(model_output(model, x), x)
        undefined = ~logits.detach().amax(dim=1, keepdim=True).isfinite()
        seen.append(int(undefined.sum()))
        defined = torch.where(undefined, torch.zeros_like(logits), logits)
        extra = torch.where(undefined, 1.0, defined.detach().amin(dim=1, keepdim=True) - 100)
        return torch.cat([defined, extra.to(logits)], dim=1)

    return answer
