"""Checks of maps: every planted fault is found by exactly its code, and sound maps have none."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

import pytest
import torch
from networks_of_digits import MAKERS, images, trained  # type: ignore[import-not-found]
from torch import Tensor, nn

from robustlab.explain import Case, Gradient, Method
from robustlab.explain.checks import CHECKS, CheckSubject, check_maps
from robustlab.explain.checks.edges import edges_of
from robustlab.explain.integrated import IntegratedGradients
from robustlab.explain.occlusion import Occlusion
from robustlab.explain.smoothgrad import SmoothGrad

N = 16
SOUND: dict[str, Method] = {
    "gradient": Gradient(),
    "integrated gradients": IntegratedGradients(steps=24),
    "SmoothGrad": SmoothGrad(draws=8),
    "occlusion": Occlusion(window=2),
}


def digits(n: int = N) -> Tensor:
    found: Tensor = images("test")[0][:n]
    return found


@pytest.mark.slow
@pytest.mark.parametrize("method", SOUND)
@pytest.mark.parametrize("name", MAKERS)
def test_no_false_alarm_on_sound_maps(name: str, method: str) -> None:
    other = trained(name, shuffled=True) if name in ("linear", "cnn", "batchnorm") else None
    report = check_maps(CheckSubject(SOUND[method], trained(name), digits(), other=other))
    assert report.findings == ()
    assert not any("could not" in why for why in report.skipped.values())
    assert report.sound


class Edges:
    """An edge detector in the clothes of a method."""

    def __call__(self, case: Case) -> Tensor:
        return edges_of(case.x).expand_as(case.x)


def shown(case: Case) -> Tensor:
    """The input itself."""
    return case.x


def disc(case: Case) -> Tensor:
    """The middle of the picture, times the score."""
    inside = (torch.arange(8) - 3.5).square() < 6
    return (inside[:, None] & inside) * case.scores(case.x)[:, None, None, None]


def ones(case: Case) -> Tensor:
    return torch.ones_like(case.x)


def nothing(case: Case) -> Tensor:
    return torch.zeros_like(case.x)


def undefined(case: Case) -> Tensor:
    return case.x / case.x * case.gradient(case.x)


def noisy(case: Case) -> Tensor:
    return case.gradient(case.x + 0.3 * torch.randn(case.x.shape))


def by_place(case: Case) -> Tensor:
    """Noise by the place in the batch, not by the example."""
    noise = torch.randn(case.x.shape, generator=torch.Generator().manual_seed(0))
    return case.gradient(case.x + 0.3 * noise)


def over_the_batch(case: Case) -> Tensor:
    """Maps divided by the largest value in the batch, which is that of another example."""
    grad = case.gradient(case.x)
    return grad / grad.abs().amax()


def first_layer(case: Case) -> Tensor:
    """The answer of the first convolution, which no label has formed."""
    assert isinstance(case.model, nn.Module)
    first = next(part for part in case.model.modules() if isinstance(part, nn.Conv2d))
    answer: Tensor = first(case.x)
    return answer.detach().mean(1, keepdim=True)


@dataclass(frozen=True)
class OffByOne:
    """Integrated gradients from grey, with the change of score from black."""

    grey: IntegratedGradients = IntegratedGradients(steps=24, baseline=1.0)  # noqa: RUF009 -- a value

    def __call__(self, case: Case) -> Tensor:
        return self.grey(case)

    def change(self, case: Case) -> Tensor:
        return replace(self.grey, baseline=0.0).change(case)


class WrongSide:
    """Integrated gradients that forget the last quarter of the way."""

    def __call__(self, case: Case) -> Tensor:
        return IntegratedGradients(steps=24)(replace(case, x=0.75 * case.x))

    def change(self, case: Case) -> Tensor:
        return IntegratedGradients().change(case)


def then(name: str, *last: nn.Module) -> nn.Sequential:
    return nn.Sequential(trained(name), *last).eval()


class Scaled(nn.Module):
    """Logits times a number."""

    def __init__(self, by: float) -> None:
        super().__init__()
        self.by = by

    def forward(self, logits: Tensor) -> Tensor:
        return logits * self.by


class Rounded(nn.Module):
    """A network behind input of 16 grey levels."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.model((x * 16).round() / 16)
        return out


class FromGrey(nn.Module):
    """Classes by the distance of each pixel from grey, on which a baseline of black and one of grey disagree."""

    def __init__(self) -> None:
        super().__init__()
        self.read = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.read((x - 0.5).flatten(1).square())
        return logits


class Steep(nn.Module):
    """A network of sigmoids that are flat but for a short piece of the way from black."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.read = nn.Linear(64, 30), nn.Linear(30, 10)
        self.first.weight.data *= 60

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.read(self.first(x.flatten(1)).sigmoid())
        return logits


def built(make: Callable[[], nn.Module], *, training: bool = False) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        return make().train(training)


def training(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).train()


def half(model: nn.Module) -> nn.Module:
    return copy.deepcopy(model).double()


class Plant(NamedTuple):
    """A fault: the subject that has it, and the code that it must be found by."""

    code: str
    subject: Callable[[], CheckSubject]


def of(method: Method | str, model: Callable[[], nn.Module]) -> Callable[[], CheckSubject]:
    return lambda: CheckSubject(method, model(), digits())


def uniform() -> Tensor:
    return torch.rand(N, 1, 8, 8, generator=torch.Generator().manual_seed(0))


def cnn() -> nn.Module:
    found: nn.Module = trained("cnn")
    return found


PLANTED: dict[str, Plant] = {
    "an edge detector": Plant("randomisation-ignored", of(Edges(), cnn)),
    "guided backpropagation": Plant("randomisation-ignored", of("guided-backprop", cnn)),
    "the input itself": Plant("randomisation-ignored", of(shown, cnn)),
    "one picture for all": Plant("randomisation-ignored", of(disc, cnn)),
    "ones": Plant("randomisation-ignored", of(ones, cnn)),
    "one step through sigmoids": Plant("completeness-violated", of(IntegratedGradients(steps=1), lambda: built(Steep))),
    "two steps through sigmoids": Plant(
        "completeness-violated", of(IntegratedGradients(steps=2), lambda: built(Steep))
    ),
    "another baseline": Plant("completeness-violated", of(OffByOne(), cnn)),
    "a part of the way": Plant("completeness-violated", of(WrongSide(), cnn)),
    "BatchNorm in training": Plant("batch-dependent", of("gradient", lambda: training(trained("batchnorm")))),
    "BatchNorm in training, integrated": Plant(
        "batch-dependent", of(SOUND["integrated gradients"], lambda: training(trained("batchnorm")))
    ),
    "scaled by the batch": Plant("batch-dependent", of(over_the_batch, cnn)),
    "noise by the place in the batch": Plant("batch-dependent", of(by_place, cnn)),
    "dropout in training": Plant(
        "random-map", of("gradient", lambda: training(nn.Sequential(nn.Dropout(0.3), trained("cnn"))))
    ),
    "noise of the global generator": Plant("random-map", of(noisy, cnn)),
    "clamped logits": Plant("saturated-gradient", of("gradient", lambda: then("cnn", nn.Hardtanh(-0.01, 0.01)))),
    "rounded input": Plant("saturated-gradient", of("gradient", lambda: Rounded(trained("cnn")))),
    "rounded input, SmoothGrad": Plant("saturated-gradient", of(SOUND["SmoothGrad"], lambda: Rounded(trained("cnn")))),
    "logits that underflow": Plant("saturated-gradient", of("gradient", lambda: then("cnn", Scaled(1e-42)))),
    "probability of large logits": Plant(
        "saturated-gradient", lambda: CheckSubject("gradient", then("cnn", Scaled(100)), digits(), score="probability")
    ),
    "log-probability of large logits": Plant(
        "saturated-gradient",
        lambda: replace(of("gradient", lambda: then("cnn", Scaled(5)))(), score="log-probability"),
    ),
    "zeros": Plant("zero-map", of(nothing, cnn)),
    "a quotient of zeros": Plant("nan-map", of(undefined, cnn)),
    "a network of NaN": Plant("nan-map", of("gradient", lambda: then("cnn", Scaled(float("nan"))))),
    "the same after shuffled labels": Plant(
        "labels-ignored", lambda: CheckSubject("gradient", cnn(), digits(), other=copy.deepcopy(cnn()))
    ),
    "the first layer": Plant("randomisation-ignored", of(first_layer, cnn)),
    "the first layer, after shuffled labels": Plant(
        "randomisation-ignored", lambda: CheckSubject(first_layer, cnn(), digits(), other=with_first_of(cnn()))
    ),
    "distances from grey": Plant(
        "baseline-sensitive", lambda: CheckSubject(SOUND["integrated gradients"], built(FromGrey), uniform())
    ),
}


def with_first_of(model: nn.Module) -> nn.Module:
    """A network that learned shuffled labels on top of another's first layer."""
    other: nn.Module = copy.deepcopy(trained("cnn", shuffled=True))
    other.get_submodule("0").load_state_dict(model.get_submodule("0").state_dict())
    return other


@pytest.mark.slow
@pytest.mark.parametrize("name", PLANTED)
def test_every_planted_fault_is_found_by_its_code_alone(name: str) -> None:
    report = check_maps(PLANTED[name].subject())
    assert [finding.code for finding in report.findings] == [PLANTED[name].code]
    (finding,) = report.findings
    assert report.sound == (finding.severity != "serious")
    assert finding.title.endswith(".")
    assert finding.advice.endswith(".")


def test_findings_of_a_check_have_its_code() -> None:
    assert {plant.code for plant in PLANTED.values()} | {"edges-only"} == set(CHECKS)
