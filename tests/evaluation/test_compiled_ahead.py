"""Models that are no ordinary modules any more: TorchScript, frozen or not, exported programs, parts of others."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import PGD
from robustlab.core import Linf, ThreatModel
from robustlab.evaluation import Settings, evaluate

_THREAT = ThreatModel(Linf(), 0.1)


def _network() -> nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.ReLU(), nn.Flatten(), nn.Linear(48, 3)).eval()


def _scripted(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # its kind differs between versions of torch
        return torch.jit.script(model)


def _frozen_script(model: nn.Module) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.freeze(_scripted(model))  # type: ignore[no-any-return]


def _exported(model: nn.Module) -> nn.Module:
    sizes = ({0: torch.export.Dim("n", min=1, max=64)},)
    return torch.export.export(model, (torch.zeros(2, 1, 6, 6),), dynamic_shapes=sizes).module()


def _inside_another(model: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Dropout(0.5), _exported(model))


@pytest.mark.slow
@pytest.mark.parametrize("made", [_scripted, _frozen_script, _exported, _inside_another])
def test_it_is_evaluated_as_the_module_that_it_comes_from(made: Callable[[nn.Module], nn.Module]) -> None:
    x = torch.rand(6, 1, 6, 6, generator=torch.Generator().manual_seed(1))
    plain = _network()
    y = _labels(plain, x)
    there, here = (
        evaluate(model, (x, y), attacks=[PGD(_THREAT, 3)], settings=Settings(batch_size=4))
        for model in (made(plain), plain)
    )
    assert there.clean.accuracy == here.clean.accuracy
    assert [p.robust for p in there.curves[0].points] == [p.robust for p in here.curves[0].points]
    assert not [finding for finding in there.findings if finding.severity == "serious"]


def _labels(model: nn.Module, x: Tensor) -> Tensor:
    with torch.no_grad():
        return model(x).argmax(dim=1)  # type: ignore[no-any-return]
