"""Labels and names of examples of other kinds: one sentence at every door, no silent cut and no error of torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import APGD, PGD, Square
from robustlab.core import (
    Linf,
    Streams,
    ThreatModel,
    at_target,
    cross_entropy,
    dlr,
    margin,
    misclassified,
    targeted,
    untargeted,
)
from robustlab.corruptions import corruption
from robustlab.data import examples
from robustlab.evaluation import evaluate, inspect_inputs, verify_saved

Y = torch.tensor([0, 1, 2, 0, 1, 2])
ONE_HOT = nn.functional.one_hot(Y, 3)
X = torch.rand(6, 3, 4, 4, generator=torch.Generator().manual_seed(0))
THREAT = ThreatModel(Linf(), 0.1)


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Flatten(), nn.Linear(48, 3)).eval()


NO_LABELS: dict[str, object] = {
    "floats": Y.float(),
    "fractions": Y + 0.5,
    "NaN": torch.full((6,), float("nan")),
    "one-hot": ONE_HOT,
    "soft": ONE_HOT.double(),
    "truth": Y > 0,
    "complex": Y + 0j,
    "column": Y[:, None],
    "floats of numpy": Y.double().numpy(),
}
NO_TENSORS: dict[str, object] = {"list": Y.tolist(), "words": list("abcabc"), "number": 3, "numpy": Y.numpy()}
DIRECT: dict[str, Callable[[Tensor], object]] = {
    "PGD": lambda y: PGD(THREAT, 1)(model(), X, y),
    "PGD to a target": lambda y: PGD(THREAT, 1)(model(), X, Y, target=y),
    "APGD": lambda y: APGD(THREAT, 1)(model(), X, y),
    "Square": lambda y: Square(THREAT, 1)(model(), X, y),
    "untargeted": lambda y: untargeted(model(), y),
    "targeted": lambda y: targeted(model(), y),
    "margin": lambda y: margin(model()(X), y),
    "dlr": lambda y: dlr(model()(X), y),
    "misclassified": lambda y: misclassified(model()(X), y),
    "at_target": lambda y: at_target(model()(X), y),
    "verify_saved": lambda y: verify_saved(model(), X, y),
}
EVALUATED: dict[str, Callable[[Tensor], object]] = {
    "examples": lambda y: examples((X, y)),
    "evaluate": lambda y: evaluate(model(), (X, y), attacks=[PGD(THREAT, 1)]),
    "inspect_inputs": lambda y: inspect_inputs(model(), (X, y)),
}


@pytest.mark.parametrize("door", DIRECT)
@pytest.mark.parametrize("kind", [*NO_LABELS, *NO_TENSORS])
def test_labels_are_class_numbers(door: str, kind: str) -> None:
    given = cast("Tensor", {**NO_LABELS, **NO_TENSORS}[kind])
    with pytest.raises(ValueError, match=r"(labels|targets) must (be class numbers|have shape)"):
        DIRECT[door](given)


@pytest.mark.parametrize("door", EVALUATED)
@pytest.mark.parametrize("kind", NO_LABELS)
def test_labels_of_data_are_class_numbers(door: str, kind: str) -> None:
    with pytest.raises(ValueError, match=r"labels (are .*: give integer|of shape)"):
        EVALUATED[door](cast("Tensor", NO_LABELS[kind]))


@pytest.mark.parametrize("y", [Y.float(), Y[:, None], ONE_HOT, Y[:3], Y > 0], ids=str)
def test_cross_entropy_takes_class_numbers_or_probabilities(y: Tensor) -> None:
    logits = model()(X)
    with pytest.raises(ValueError, match="labels must be class numbers"):
        cross_entropy(logits, y)
    torch.testing.assert_close(cross_entropy(logits, ONE_HOT.float()), cross_entropy(logits, Y))


@pytest.mark.parametrize("score", [margin, dlr, misclassified], ids=["margin", "dlr", "misclassified"])
def test_one_label_per_row(score: Callable[[Tensor, Tensor], Tensor]) -> None:
    with pytest.raises(ValueError, match="one for each of 6 rows, got 3"):
        score(model()(X), Y[:3])
    for dtype in (torch.int32, torch.uint8, torch.int16):
        assert torch.equal(score(model()(X), Y.to(dtype)), score(model()(X), Y))


NO_IDS: dict[str, object] = {
    "floats": Y.float(),
    "fractions": Y + 0.5,
    "NaN": torch.full((6,), float("nan")),
    "truth": Y > 0,
    "complex": Y + 0j,
    **NO_TENSORS,
}
NAMING: dict[str, Callable[[Tensor], object]] = {
    "PGD": lambda ids: PGD(THREAT, 1)(model(), X, Y, ids=ids),
    "corruption": lambda ids: corruption("fog")(X, severity=1, ids=ids),
    "Streams": lambda ids: Streams(0, ids),
    "batch": lambda ids: examples((X, Y)).batch(ids),
    "inspect_inputs": lambda ids: inspect_inputs(model(), (X, Y), ids=ids),
    "verify_saved": lambda ids: verify_saved(model(), X, Y, ids=ids),
}


@pytest.mark.parametrize("door", NAMING)
@pytest.mark.parametrize("kind", NO_IDS)
def test_ids_are_whole_numbers(door: str, kind: str) -> None:
    with pytest.raises(ValueError, match=r"ids must be (a tensor .* of whole numbers|int64 of shape \(N,\)), "):
        NAMING[door](cast("Tensor", NO_IDS[kind]))


@pytest.mark.parametrize("dtype", [torch.int32, torch.int16, torch.uint8])
def test_whole_numbers_of_any_width_name_the_same_examples(dtype: torch.dtype) -> None:
    ids = Y + 4
    assert torch.equal(Streams(0, ids.to(dtype)).words(2), Streams(0, ids).words(2))
    attack = PGD(THREAT, 1)
    assert torch.equal(attack(model(), X, Y, ids=ids.to(dtype)), attack(model(), X, Y, ids=ids))
    assert torch.equal(*(corruption("fog")(X, severity=1, ids=one) for one in (ids, ids.to(dtype))))
