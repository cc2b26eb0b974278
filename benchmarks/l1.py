"""PGD in L1 against that of other libraries at equal steps, and against Auto-PGD: images that are still robust."""

from __future__ import annotations

import argparse
import importlib.util
from collections.abc import Callable, Iterator

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks import networks
from benchmarks.timing import table
from robustlab.attacks import APGD, PGD
from robustlab.core import L1, ThreatModel

Run = Callable[[], Tensor]
Row = dict[str, str]
NETWORKS: dict[str, tuple[Callable[[], nn.Module], float]] = {
    "robust, shallow CNN": (networks.shallow_robust, 12.0),
    "standard, shallow CNN": (networks.shallow, 4.0),
    "robust, BatchNorm CNN": (networks.robust, 12.0),
}
COLUMNS = ("robustlab", "foolbox", "art", "robustlab, APGD", "adv_lib, APGD")


def lengths(eps: float) -> list[tuple[int, float | None]]:
    """Numbers of steps and their length; None: each library's own default."""
    return [(10, eps / 10), (40, eps / 10), (100, eps / 10), (40, None)]


def runs(model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int, length: float | None) -> dict[str, Run]:
    """Ours and those of the libraries that are installed; each call returns x_adv (N, ...)."""
    threat = ThreatModel(L1(), eps)
    calls: dict[str, Run] = {
        "robustlab": lambda: PGD(threat, steps, length)(model, x, y),
    }
    for name, make in (("foolbox", _foolbox), ("art", _art)):
        if importlib.util.find_spec(name) is not None:
            calls[name] = make(model, x, y, eps, steps, length)
    if length is not None:  # it finds its own
        calls["robustlab, APGD"] = lambda: APGD(threat, steps)(model, x, y)
        if importlib.util.find_spec("adv_lib") is not None:
            calls["adv_lib, APGD"] = _adv_lib(model, x, y, eps, steps)
    return calls


def _foolbox(model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int, length: float | None) -> Run:
    import foolbox

    kind = foolbox.attacks.L1ProjectedGradientDescentAttack
    attack = kind(steps=steps) if length is None else kind(steps=steps, abs_stepsize=length)

    def run() -> Tensor:
        adversarial: Tensor = attack(foolbox.PyTorchModel(model, bounds=(0, 1)), x, y, epsilons=eps)[1]
        return adversarial

    return run


def _art(model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int, length: float | None) -> Run:
    from art.attacks.evasion import ProjectedGradientDescentPyTorch
    from art.estimators.classification import PyTorchClassifier

    classifier = PyTorchClassifier(model, nn.CrossEntropyLoss(), tuple(x.shape[1:]), 10, clip_values=(0, 1))
    attack = ProjectedGradientDescentPyTorch(
        classifier, norm=1, eps=eps, eps_step=length or 2.5 * eps / steps, max_iter=steps, num_random_init=1,
        batch_size=len(x), verbose=False,
    )  # fmt: skip
    return lambda: torch.from_numpy(attack.generate(x.numpy(), np.eye(10, dtype=np.float32)[y.numpy()]))


def _adv_lib(model: nn.Module, x: Tensor, y: Tensor, eps: float, steps: int) -> Run:
    from adv_lib.attacks import apgd

    def run() -> Tensor:
        adversarial: Tensor = apgd(model, x, y, eps=eps, norm=1, n_iter=steps, loss_function="ce", use_large_reps=True)
        return adversarial

    return run


def left(model: nn.Module, x: Tensor, y: Tensor, x_adv: Tensor, eps: float) -> str:
    """Number of images that are still right; those outside the budget by more than rounding count as right."""
    outside = L1().size(x_adv.double() - x.double()) > eps * 1.001
    with torch.no_grad():
        wrong = (model(x_adv).argmax(1) != y) & ~outside
    return f"{int((~wrong).sum())}" + (f" ({int(outside.sum())} outside)" if outside.any() else "")


def rows(images: int) -> Iterator[Row]:
    """One row for each network, budget, number and length of steps."""
    x, y = networks.fashion_mnist(images)
    for name, (make, eps) in NETWORKS.items():
        model = make()
        for steps, length in lengths(eps):
            works = runs(model, x, y, eps, steps, length)
            done = {by: left(model, x, y, works[by](), eps) if by in works else "" for by in COLUMNS}
            step = "default" if length is None else f"{length:g}"
            yield {"network": name, "eps": f"{eps:g}", "steps": f"{steps} of {step}", **done}


def main() -> None:
    """Prints the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    done = []
    for row in rows(parser.parse_args().images):
        print(" | ".join(row.values()), flush=True)
        done.append(row)
    print(f"\n{table(done)}")


if __name__ == "__main__":
    main()
