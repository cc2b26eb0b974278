from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM
from robustlab.core import L2, DataError, Linf, ThreatModel, UserCodeError
from robustlab.core.types import Batch
from robustlab.evaluation import Settings, evaluate

if TYPE_CHECKING:
    from tests.evaluation.conftest import Points, Threshold

THREAT = ThreatModel(Linf(), 0.1)
FAST = FGSM(THREAT)
QUIET = Settings(doctor=False)
BOTH = [QUIET, Settings()]


@dataclass(frozen=True)
class Given:
    """Examples that come as they are."""

    x: Tensor
    y: Tensor
    name: str = "given"
    classes: tuple[str, ...] = ("0", "1")

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, ids: Tensor) -> Batch:
        return Batch(self.x[ids], self.y[ids], ids)


def linear(x: Tensor) -> Tensor:
    return torch.stack([x.flatten(1).sum(1), torch.ones(len(x))], dim=1)


X, Y = torch.rand(8, 1, 2, 2), torch.zeros(8, dtype=torch.int64)


@pytest.mark.parametrize("settings", BOTH, ids=["plain", "with doctor"])
@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ((X * 255).to(torch.uint8), Y, r"Inputs are uint8.*write x / 255"),
        (X * 255, Y, r"Inputs lie in \[.*\], outside the bounds \(0.0, 1.0\)\. Divide images by 255"),
        ((X - 0.5) / 0.25, Y, r"outside the bounds .* let the model normalise: robustlab.models.normalised"),
        (X * 1e4, Y, r"outside the bounds \(0.0, 1.0\)\. Give the threat model the bounds of the data"),
        (X.index_fill(0, torch.tensor([5]), torch.nan), Y, r"NaN, in 1 of 8 examples, first in example 5"),
        (X[:, 0, 0, 0], Y, r"shape \(8,\), expected \(N, ...\)"),
        (X, Y[:, None], r"Labels are torch.int64 of shape \(8, 1\), expected torch.int64 of shape \(8,\)"),
        (X, Y.float(), r"Labels are torch.float32"),
        (X, Y + 2, r"Labels run from 2 to 2, but the model has 2 classes, 0..1"),
        (X, Y - 1, r"Labels run from -1 to -1"),
    ],
)
def test_bad_data_is_refused(x: Tensor, y: Tensor, message: str, settings: Settings) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(linear, Given(x, y), attacks=[FAST], settings=settings)


def test_bad_data_deep_inside_is_refused_too() -> None:
    x, y = torch.rand(300, 1, 2, 2), torch.zeros(300, dtype=torch.int64)
    x[290] = torch.nan
    with pytest.raises(ValueError, match="first in example 290"):
        evaluate(linear, Given(x, y), attacks=[FAST], settings=QUIET)


def test_nothing_to_evaluate_is_refused() -> None:
    with pytest.raises(ValueError, match=r"n=0 is out of range, the data set has 8 examples"):
        evaluate(linear, Given(X, Y), attacks=[FAST], n=0)
    with pytest.raises(ValueError, match=r"n=9 is out of range, the data set has 8 examples"):
        evaluate(linear, Given(X, Y), attacks=[FAST], n=9)
    with pytest.raises(ValueError, match="the data set holds no examples"):
        evaluate(linear, Given(X[:0], Y[:0]), attacks=[FAST])
    with pytest.raises(ValueError, match="no attacks were given"):
        evaluate(linear, Given(X, Y), attacks=[])


def _object(x: Tensor) -> object:
    class Output:
        logits = linear(x)

    return Output()


@pytest.mark.parametrize("settings", BOTH, ids=["plain", "with doctor"])
@pytest.mark.parametrize(
    ("model", "message"),
    [
        (lambda x: (linear(x), x), r"returned a tuple, .*robustlab.models.adapted"),
        (lambda x: {"logits": linear(x)}, r"returned a dict, .*robustlab.models.adapted"),
        (_object, r"returned a Output, .*robustlab.models.adapted"),
        (lambda x: linear(x)[:, :1], r"returned \(8, 1\).*one logit z into two"),
        (lambda x: linear(x).argmax(1), r"returned \(8,\) torch.int64"),
        (lambda x: linear(x)[:1], r"returned \(1, 2\) torch.float32 for 8 inputs"),
        (lambda x: linear(x) * torch.nan, r"NaN or infinite logits for 8 of 8"),
        (nn.Linear(7, 2), r"cannot take inputs of shape \(2, 1, 2, 2\).*shapes cannot be multiplied"),
    ],
    ids=["tuple", "dict", "object", "one logit", "labels", "too few", "nan", "shape"],
)
def test_what_returns_no_logits_is_refused(model: nn.Module, message: str, settings: Settings) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(model, Given(X, Y), attacks=[FAST], settings=settings)


@pytest.mark.parametrize(
    ("attacks", "eps", "message"),
    [
        ([FAST], [0.0], r"eps=\[0.0\] holds no budget above 0"),
        ([FAST], 8, r"eps=8 is more than the whole range of the inputs \(1\).*write 8/255"),
        ([FAST], float("nan"), r"eps must be a finite number >= 0, got nan"),
        ([FAST], -0.1, r"eps must be a finite number >= 0, got -0.1"),
        ([FGSM(ThreatModel(Linf(), [0.1, 0.2]))], None, r"FGSM has one eps per example"),
        ([FAST, FGSM(ThreatModel(L2(), 0.1))], None, r"the attacks differ in norm or bounds"),
        ([FAST, FGSM(ThreatModel(Linf(), 0.1, (0.0, 2.0)))], None, r"the attacks differ in norm or bounds"),
        ([linear], None, r"function has no threat model"),
    ],
)
def test_bad_plans_are_refused(attacks: list[FGSM], eps: float | None, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        evaluate(linear, Given(X, Y), attacks=attacks, eps=eps)


@pytest.mark.parametrize(("wrong", "message"), [({"batch_size": 0}, "batch_size must be"), ({"level": 1.0}, "level")])
def test_bad_settings_are_refused(wrong: dict[str, int], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Settings(**wrong)  # type: ignore[arg-type]  # wrong on purpose


def test_another_device_than_the_model_is_on_is_refused(threshold: Threshold, points: type[Points]) -> None:
    with pytest.raises(ValueError, match=r"device='cuda' is not the device of the model, cpu"):
        evaluate(threshold, points(10), attacks=[FAST], settings=Settings(device="cuda"))
    assert evaluate(threshold, points(10), attacks=[FAST], settings=Settings(device="cpu")).run.device == "cpu"


@pytest.mark.parametrize("settings", BOTH, ids=["plain", "with doctor"])
def test_a_data_set_that_ends_early_is_refused(threshold: Threshold, points: type[Points], settings: Settings) -> None:
    with pytest.raises(DataError, match=r"points ends early: its length is 300 examples, but of .* it gave"):
        evaluate(threshold, points(300, ends=200), attacks=[FAST], settings=settings)


def test_an_error_of_the_data_set_says_where(threshold: Threshold) -> None:
    @dataclass(frozen=True)
    class Short(Given):
        def __len__(self) -> int:
            return 20

    with pytest.raises(DataError, match=r"given ends early: .* 20 examples, but example \d+ cannot be read"):
        evaluate(threshold, Short(X[:, 0, 0], Y), attacks=[FAST], settings=QUIET)


def test_an_error_in_the_model_is_told_from_the_original_and_the_model_is_restored(points: type[Points]) -> None:
    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight, self.left = nn.Parameter(torch.ones(1)), 8

        def forward(self, x: Tensor) -> Tensor:
            self.left -= 1
            if self.left < 0:
                raise KeyError("inside the model")
            return torch.cat([x, 1 - x], dim=1) * self.weight

    model = Breaks().train()
    with pytest.raises(
        UserCodeError, match=r"model \(Breaks\) cannot take inputs .*KeyError: 'inside the mo"
    ) as caught:
        evaluate(model, points(100), attacks=[FAST], settings=Settings(batch_size=10, doctor=False))
    assert isinstance(caught.value.__cause__, KeyError)
    assert model.training
    assert model.weight.requires_grad
