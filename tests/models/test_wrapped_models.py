"""Functions on a model inside torch.compile, DataParallel or AveragedModel keeps its own names and description."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel

from robustlab.models import at_size, exported, load, merged, normalised, save, smooth, split_bn
from robustlab.models.architecture import architecture_of
from robustlab.models.transfer import for_images

Change = Callable[[nn.Module], nn.Module]


def compiled(model: nn.Module) -> nn.Module:
    return cast(nn.Module, torch.compile(model, backend="eager"))


WRAPS: dict[str, Change] = {"compiled": compiled, "parallel": nn.DataParallel, "averaged": AveragedModel}
CHANGES: dict[str, Change] = {
    "nothing": lambda model: model,
    "smooth": smooth,
    "normalised": partial(normalised, mean=[0.3], std=[0.2]),
    "smaller images": partial(for_images, channels=1, size=14),
    "split": split_bn,
    "merged": lambda model: merged(split_bn(model)),
    "seen larger": partial(at_size, side=42),
    "seen larger again": lambda model: at_size(nn.DataParallel(at_size(model, 42)), 56),
}


def net() -> nn.Module:
    return load("residual-cnn", classes=3, seed=2)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:ReLU is called")
@pytest.mark.parametrize("wrap", WRAPS)
@pytest.mark.parametrize("change", CHANGES)
def test_models_made_from_wrapped_ones_come_back_from_their_files(tmp_path: Path, wrap: str, change: str) -> None:
    made, plainly = CHANGES[change](WRAPS[wrap](net())), CHANGES[change](net())
    assert architecture_of(made) == architecture_of(plainly)
    save(made, tmp_path / "made.safetensors")
    found, side = load(str(tmp_path / "made.safetensors")), 14 if change == "smaller images" else 28
    x = torch.rand(2, 1, side, side)
    assert torch.equal(found(x), plainly(x))


@pytest.mark.parametrize("wrap", WRAPS)
def test_weights_leave_under_the_names_of_the_network(wrap: str) -> None:
    whole = WRAPS[wrap](split_bn(normalised(net(), [0.3], [0.2])))
    assert exported(whole).keys() == net().state_dict().keys()


@pytest.mark.filterwarnings("ignore:ReLU is called")
def test_the_users_model_is_not_described_anew() -> None:
    model = net()
    smooth(nn.DataParallel(model))
    assert "activation" not in (architecture_of(model) or {})
