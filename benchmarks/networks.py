"""The networks and images that benchmarks run on; trained once, then kept under ``runs/benchmarks``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab import data, models
from robustlab.attacks import FGSM
from robustlab.core import Linf, Recipe, ThreatModel
from robustlab.training import Settings, adversarial, fit, sgd, standard

KEPT = Path("runs/benchmarks")


def fashion_mnist(n: int, split: str = "test") -> tuple[Tensor, Tensor]:
    """The first n images (n, 1, 28, 28) and labels."""
    batch = data.load("fashion-mnist", split=split).batch(torch.arange(n))
    return batch.x, batch.y


def shallow() -> nn.Module:
    """The shallow CNN after standard training."""
    return _trained("shallow-standard", models.ShallowCNN, standard(), epochs=4)


def robust() -> nn.Module:
    """The BatchNorm CNN after FGSM training with random start at eps 0.1: about 80 % robust to PGD-40."""
    attack = FGSM(ThreatModel(Linf(), 0.1), step_size=0.125, random_start=True)
    return _trained("batchnorm-fgsm", models.BatchNormCNN, adversarial(attack), epochs=8)


def shallow_robust() -> nn.Module:
    """The shallow CNN after FGSM training with random start at eps 0.1: cheap, and in every norm far from both ends."""
    attack = FGSM(ThreatModel(Linf(), 0.1), step_size=0.125, random_start=True)
    return _trained("shallow-fgsm", models.ShallowCNN, adversarial(attack), epochs=8)


def _trained(name: str, make: Callable[[], nn.Module], recipe: Recipe, *, epochs: int) -> nn.Module:
    path = KEPT / f"{name}.safetensors"
    if path.exists():
        return models.load(checkpoint=path)
    torch.manual_seed(0)
    model = make()
    print(f"training {name} once ...", flush=True)
    fit(model, recipe, data.load("fashion-mnist", split="train"), Settings(epochs=epochs, optimizer=sgd(0.1)))
    models.save(model, path)
    return model.eval()


def efficientnet() -> nn.Module:
    """EfficientNet-Lite0 trained on ImageNet."""
    return models.efficientnet_lite0()


def photographs(n: int) -> Tensor:
    """n crops (n, 3, 224, 224) of photographs, each at another scale."""
    crops = []
    for number in range(n):
        pictures = list(data.photographs(size=224 + 16 * (number // 5)).values())[:5]
        crops.append(F.pad(pictures[number % 5].x, (0, 0))[..., -224:, -224:])
    return torch.cat(crops)
