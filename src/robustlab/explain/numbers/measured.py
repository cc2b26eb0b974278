"""The one call that measures numbers, and their means with intervals."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from robustlab.core import Model
from robustlab.core.kinds import typed
from robustlab.core.losses import classes_needed
from robustlab.explain.case import ScoreName, cases
from robustlab.explain.numbers.registry import NUMBERS, Number, NumberSpec, make_number
from robustlab.explain.numbers.subject import Subject
from robustlab.explain.registry import Method, make_method
from robustlab.statistics import Estimate, t_interval


@typed
@dataclass(frozen=True)
class Measured:
    """One number of some examples.

    Args:
        name: of the number.
        values: one per example (N,), float64; NaN where the number is not defined.
        setting: the number with its settings, such as "Deletion(steps=20, baseline='mean')".
    """

    name: str
    values: Tensor
    setting: str = ""

    def __repr__(self) -> str:
        one = self.interval()
        missing = f", undefined for {self.undefined}" if self.undefined else ""
        return f"Measured({self.name}: {one.value:.4g} [{one.low:.4g}, {one.high:.4g}], n {one.n}{missing})"

    def __len__(self) -> int:
        return self.values.shape[0]

    @property
    def spec(self) -> NumberSpec:
        """Unit, direction and source of the number; empty ones if it is not registered."""
        return NUMBERS.get(self.name) if self.name in NUMBERS else NumberSpec(dict)

    @property
    def defined(self) -> Tensor:
        """Mask (N,) of the examples whose number is finite."""
        return self.values.isfinite()

    @property
    def undefined(self) -> int:
        """Number of examples without a finite number, which the mean leaves out."""
        return len(self) - int(self.defined.sum())

    @property
    def mean(self) -> float:
        """Mean over the examples whose number is defined; NaN if there is none."""
        return self.interval().value

    def interval(self, level: float = 0.95) -> Estimate:
        """Mean and Student's interval over the examples, of those whose number is defined."""
        values = self.values[self.defined].tolist()
        mean, low, high = t_interval(values, level)
        return Estimate(mean, low, high, len(values), level)

    @staticmethod
    def joined(parts: Sequence[Measured]) -> Measured:
        """The same number of several batches as one."""
        return replace(parts[0], values=torch.cat([part.values for part in parts]))


@typed
def measure(  # noqa: PLR0913 -- the arguments of explain, labels and numbers
    method: Method | str,
    model: Model,
    x: Tensor,
    y: Tensor,
    numbers: Sequence[str] | Mapping[str, Number] | None = None,
    *,
    target: Tensor | None = None,
    score: ScoreName = "logit",
    seed: int = 0,
    ids: Tensor | None = None,
) -> dict[str, Measured]:
    """Numbers of some examples; the model is left as it was.

    A number of an example does not depend on the other examples of the call: batches may be measured one by one, and
    joined by ``Measured.joined``.

    Args:
        method: a method of maps, or its name.
        model: from inputs (N, ...) to logits (N, K), used in the modes it is in.
        x: inputs (N, ...), floating point, in the units of the model.
        y: true labels (N,).
        numbers: names, or numbers with settings of their own by name; None: all that are registered.
        target: explained classes (N,); None: the labels, so that two models are compared on the same classes.
        score: of the maps, as in ``explain``.
        seed: of random draws.
        ids: names of the examples (N,), which their draws follow; None: 0..N-1.

    Returns: by name, in the given order.
    Raises: ValueError for bad inputs, labels, or names; UserCodeError for a model that fails.
    """
    chosen = _chosen(numbers)
    maker = make_method(method) if isinstance(method, str) else method
    if classes_needed(y) and y.shape != x.shape[:1]:
        raise ValueError(f"labels must have shape ({len(x)},) like the inputs, got {tuple(y.shape)}")
    found: dict[str, list[Tensor]] = {name: [] for name in chosen}
    start = 0
    with cases(model, x, y if target is None else target, score=score, seed=seed, ids=ids) as parts:
        for case in parts:
            subject = Subject(maker, case, y[start : start + len(case)].to(x.device))
            start += len(case)
            for name, number in chosen.items():
                found[name].append(_values(name, number, subject))
    return {name: Measured(name, torch.cat(found[name]), repr(number)) for name, number in chosen.items()}


def _chosen(numbers: Sequence[str] | Mapping[str, Number] | None) -> dict[str, Number]:
    if isinstance(numbers, str):
        raise ValueError(f"numbers must be a list of names, got the text {numbers!r}: write [{numbers!r}]")
    if isinstance(numbers, Mapping):
        return dict(numbers)
    return {name: make_number(name) for name in (NUMBERS.names() if numbers is None else numbers)}


def _values(name: str, number: Number, subject: Subject) -> Tensor:
    values = number(subject)
    if values.shape != (len(subject),):
        raise ValueError(
            f"{name} returned {tuple(values.shape)} for {len(subject)} examples: one number each is expected"
        )
    return values.detach().double().cpu()
