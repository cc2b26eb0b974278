"""The reference implementation of AutoAttack and torchattacks' version, behind one interface; both are optional.

The reference has no package: clone https://github.com/fra31/auto-attack and name the folder by ``--reference`` or by
the environment variable ROBUSTLAB_REFERENCE. It seeds the global generators: the random state is put back.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Protocol, TypeAlias

import torch
from torch import Tensor, nn

from robustlab.core import L1, L2, ThreatModel, frozen

Run: TypeAlias = Callable[[Tensor, Tensor], Tensor]
STAGES = ("apgd-ce", "apgd-t", "fab-t", "square")
BATCH = 250  # the reference's own default


class Suite(Protocol):
    """Part of the reference's AutoAttack that the benchmarks use."""

    attacks_to_run: list[str]

    def run_standard_evaluation(self, x_orig: Tensor, y_orig: Tensor, bs: int = ...) -> Tensor:
        """Adversarial inputs, or the inputs themselves where the attack fails."""


def find(path: Path | None) -> Path:
    """The checkout: the given path, else that in ROBUSTLAB_REFERENCE; it is added to the path of imports.

    Raises: SystemExit if there is no package ``autoattack`` in it.
    """
    checkout = path or Path(os.environ.get("ROBUSTLAB_REFERENCE", ""))
    if not (checkout / "autoattack" / "autoattack.py").exists():
        sys.exit("name a checkout of https://github.com/fra31/auto-attack by --reference or ROBUSTLAB_REFERENCE")
    sys.path.insert(0, str(checkout.resolve()))
    return checkout


def revision(path: Path) -> str:
    """Commit of a checkout, or the reason why there is none."""
    command = ["git", "-C", str(path), "log", "-1", "--format=%h of %cs"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout.strip() or "no git checkout"


def name_of(threat: ThreatModel) -> str:
    """The reference's name for a norm."""
    return {L1: "L1", L2: "L2"}.get(type(threat.norm), "Linf")


def suite(model: nn.Module, threat: ThreatModel, *, seed: int) -> Suite:
    """The reference's standard AutoAttack on the CPU."""
    kind = importlib.import_module("autoattack").AutoAttack
    whole: Suite = kind(model, norm=name_of(threat), eps=threat.eps, seed=seed, device="cpu", verbose=False)
    return whole


def stages(model: nn.Module, threat: ThreatModel, *, seed: int) -> dict[str, Run]:
    """The reference's stages one by one, each seeded as in a call of the whole."""

    def stage(name: str) -> Run:
        def run(x: Tensor, y: Tensor) -> Tensor:
            whole = suite(model, threat, seed=seed)
            whole.attacks_to_run = [name]
            with frozen(model):
                return whole.run_standard_evaluation(x, y, bs=BATCH)

        return run

    return {name: stage(name) for name in STAGES}


def whole(model: nn.Module, threat: ThreatModel, *, seed: int = 0) -> Run:
    """The reference's standard AutoAttack in one call."""

    def run(x: Tensor, y: Tensor) -> Tensor:
        with frozen(model):
            return suite(model, threat, seed=seed).run_standard_evaluation(x, y, bs=BATCH)

    return run


def apgd_ce(model: nn.Module, threat: ThreatModel, *, steps: int) -> Run:
    """The reference's APGD on cross-entropy."""
    kind = importlib.import_module("autoattack.autopgd_base").APGDAttack
    attack = kind(model, n_iter=steps, norm=name_of(threat), eps=threat.eps, seed=0, device="cpu", loss="ce")
    return _perturbed(model, attack)


def square(model: nn.Module, threat: ThreatModel, *, queries: int) -> Run:
    """The reference's Square attack with the parameters of its suite."""
    kind = importlib.import_module("autoattack.square").SquareAttack
    attack = kind(model, norm=name_of(threat), n_queries=queries, eps=threat.eps, seed=0, device="cpu")
    attack.rescale_schedule = False
    return _perturbed(model, attack)


def _perturbed(model: nn.Module, attack: object) -> Run:
    perturb: Run = attack.perturb  # type: ignore[attr-defined]

    def run(x: Tensor, y: Tensor) -> Tensor:
        with frozen(model), torch.no_grad():  # as the suite calls them
            return perturb(x, y)

    return run


def torchattacks_whole(model: nn.Module, threat: ThreatModel) -> Run | None:
    """Torchattacks' AutoAttack, if it is installed: ten steps of APGD instead of the hundred of the paper."""
    if importlib.util.find_spec("torchattacks") is None:
        return None
    attack = importlib.import_module("torchattacks").AutoAttack(model, norm=name_of(threat), eps=threat.eps, seed=0)

    def run(x: Tensor, y: Tensor) -> Tensor:
        with frozen(model):
            x_adv: Tensor = attack(x, y)
            return x_adv

    return run
