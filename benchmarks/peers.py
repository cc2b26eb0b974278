"""The same PGD in other libraries, whichever are installed: equal model, images, eps, steps, step size and start."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn

Run = Callable[[], Tensor]


def pgd_peers(model: nn.Module, x: Tensor, y: Tensor, *, eps: float, steps: int, step_size: float) -> dict[str, Run]:
    """Linf PGD from a random start by each installed peer; each call returns x_adv (N, ...)."""
    makers = {"foolbox": _foolbox, "torchattacks": _torchattacks, "art": _art, "adv_lib": _adv_lib}
    return {
        name: make(model, x, y, eps, steps, step_size)
        for name, make in makers.items()
        if importlib.util.find_spec(name) is not None
    }


def _foolbox(model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int, step_size: float) -> Run:
    import foolbox

    attack = foolbox.attacks.LinfPGD(abs_stepsize=step_size, steps=steps, random_start=True)

    def run() -> Tensor:
        wrapped = foolbox.PyTorchModel(model, bounds=(0, 1))
        adversarial: Tensor = attack(wrapped, x, y, epsilons=eps)[1]
        return adversarial

    return run


def _torchattacks(model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int, step_size: float) -> Run:
    import torchattacks

    attack = torchattacks.PGD(model, eps=eps, alpha=step_size, steps=steps, random_start=True)

    def run() -> Tensor:
        adversarial: Tensor = attack(x, y)
        return adversarial

    return run


def _art(model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int, step_size: float) -> Run:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    with torch.no_grad():
        classes = model(x[:1]).shape[1]
    classifier = PyTorchClassifier(model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), classes, clip_values=(0, 1))
    attack = ProjectedGradientDescentPyTorch(
        classifier, eps=eps, eps_step=step_size, max_iter=steps, num_random_init=1, batch_size=len(x), verbose=False
    )
    images, labels = x.numpy(), np.eye(classes, dtype=np.float32)[y.numpy()]
    return lambda: torch.from_numpy(attack.generate(images, labels))


def _adv_lib(model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int, step_size: float) -> Run:
    from adv_lib.attacks import pgd_linf

    def run() -> Tensor:
        adversarial: Tensor = pgd_linf(model, x, y, ε=eps, steps=steps, absolute_step_size=step_size)
        return adversarial

    return run
