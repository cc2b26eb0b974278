"""Identity of the model of a run: one digest for what a state dict can hold, the same in any wrapper."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.ao import quantization

from robustlab.attacks import RandomNoise
from robustlab.core import Linf, ThreatModel
from robustlab.evaluation import Settings, evaluate
from robustlab.evaluation.record import ModelInfo

QUIET = Settings(doctor=False)
DATA = (torch.rand(8, 1, 6, 6, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 3)


def info(model: nn.Module) -> ModelInfo:
    """Digests of the model in the manifest of a run."""
    attack = RandomNoise(ThreatModel(Linf(), 0.1))
    return evaluate(model, DATA, attacks=[attack], settings=QUIET).model


def net(by: float = 0.0) -> nn.Sequential:
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(32, 3))
    with torch.no_grad():
        cast(nn.Linear, made[4]).weight[0, 0] += by
    return made.eval()


def static(by: float = 0.0) -> nn.Module:
    model = nn.Sequential(quantization.QuantStub(), *net(by), quantization.DeQuantStub()).eval()
    model.qconfig = quantization.get_default_qconfig("x86")
    prepared = quantization.prepare(model)
    prepared(DATA[0])
    return cast(nn.Module, quantization.convert(prepared))


def dynamic(by: float = 0.0) -> nn.Module:
    return cast(nn.Module, quantization.quantize_dynamic(net(by), {nn.Linear}))


def in_graph(by: float = 0.0) -> nn.Module:
    from torch.ao.quantization import quantize_fx

    how = quantization.get_default_qconfig_mapping("x86")
    prepared = quantize_fx.prepare_fx(net(by), how, (DATA[0],))
    prepared(DATA[0])
    return cast(nn.Module, quantize_fx.convert_fx(prepared))


class Sparse(nn.Module):
    """Its weights are sparse, and it remembers something that is no tensor."""

    weight: Tensor

    def __init__(self, by: float = 0.0) -> None:
        super().__init__()
        whole = torch.eye(36)[:, :3] * (1 + by)
        self.register_buffer("weight", whole.to_sparse())
        self.register_buffer("phase", torch.ones(2, dtype=torch.complex64).conj())
        self.register_buffer("nothing", torch.empty(0))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = torch.sparse.mm(self.weight.t(), x.flatten(1).t())
        return made.t()


class Remembers(nn.Module):
    """Has state of its own that is no tensor."""

    def __init__(self, by: float = 0.0) -> None:
        super().__init__()
        self.net, self.note = net(), {"steps": [1, 2.0 + by]}

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.net(x)
        return made

    def get_extra_state(self) -> object:
        return self.note

    def set_extra_state(self, state: object) -> None:
        self.note = cast("dict[str, list[float]]", state)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # of torch, that its own quantization will move
@pytest.mark.parametrize("make", [static, dynamic, in_graph, Sparse, Remembers])
def test_models_of_every_kind_are_told_apart_by_their_state(make: Callable[[float], nn.Module]) -> None:
    one, again, other = info(make(0.0)), info(make(0.0)), info(make(1.0))
    assert one.sha256 == again.sha256
    assert one.sha256 != other.sha256


@pytest.mark.slow
@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: torch.compile(m, backend="eager")], ids=["dp", "compiled"])
def test_a_wrapped_model_is_the_same_model(wrap: Callable[[nn.Module], nn.Module]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert info(wrap(net())) == info(net())


def test_a_model_without_values_is_refused() -> None:
    model = net()
    model[4] = nn.Linear(32, 3, device="meta")
    for settings in (QUIET, Settings()):
        with pytest.raises(ValueError, match=r"4\.weight of the model is on the meta device, without values: load"):
            evaluate(model, DATA, attacks=[RandomNoise(ThreatModel(Linf(), 0.1))], settings=settings)
