"""Data that read differently each time: found before the attack, refused where nothing could be said of them."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM
from robustlab.core import Linf, RunError, ThreatModel
from robustlab.core.finding import Evidence
from robustlab.evaluation import (
    CopySettings,
    CorruptionSettings,
    Finding,
    Settings,
    evaluate,
    evaluate_corruptions,
    inspect_inputs,
    natural_adversarial,
    natural_outliers,
    write_corrupted,
)
from robustlab.evaluation.identity import differences

if TYPE_CHECKING:
    from tests.evaluation.conftest import Digits

Change: TypeAlias = Callable[[int, Tensor], Tensor]
THREAT = ThreatModel(Linf(), 0.1)


class Items:
    """A torch data set whose items go through a change each time they are read."""

    def __init__(self, digits: Digits, change: Change, label: Callable[[int], int] = int) -> None:
        self.x, self.y, self.change, self.label = digits.x_test[:60], digits.y_test[:60], change, label
        self.classes = tuple(map(str, range(10)))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        return self.change(index, self.x[index]), self.label(int(self.y[index]))


def flipped(_: int, x: Tensor) -> Tensor:
    return x.flip(-1) if torch.rand(()) < 0.5 else x


def shifted(_: int, x: Tensor) -> Tensor:
    return x.roll(random.randint(-1, 1), -1)


def noisy(_: int, x: Tensor) -> Tensor:
    return (x + torch.from_numpy(np.random.normal(0, 1e-6, x.shape)).float()).clamp(0, 1)  # noqa: NPY002 -- as users do


def by_item(index: int, x: Tensor) -> Tensor:
    return (x + 0.1 * torch.rand(x.shape, generator=torch.Generator().manual_seed(index))).clamp(0, 1)


def seeded_globally(index: int, x: Tensor) -> Tensor:
    random.seed(index)
    with torch.random.fork_rng():
        torch.manual_seed(index)
        return (x * random.random() + 0.01 * torch.rand_like(x)).clamp(0, 1)


UNSTABLE: dict[str, Change] = {"torch": flipped, "random": shifted, "numpy": noisy}
STABLE: dict[str, Change] = {
    "as it is": lambda _, x: x,
    "a seed for each item": by_item,
    "a global seed for each item": seeded_globally,
    "resized": lambda _, x: nn.functional.interpolate(x[None], 8, mode="bicubic")[0].clamp(0, 1),
}


def codes(findings: tuple[Finding, ...]) -> list[str]:
    return [f.code for f in findings if f.severity == "serious"]


@pytest.mark.parametrize("name", UNSTABLE)
def test_unstable_data_are_found_with_advice(name: str, digits: Digits, standard: nn.Module) -> None:
    (found,) = (f for f in inspect_inputs(standard, Items(digits, UNSTABLE[name]), THREAT) if f.code == "unstable-data")
    assert found.severity == "serious"
    assert found.evidence["n"] == 32
    assert "of 32 examples changed between two readings" in found.title
    assert "Take random augmentation (crops, flips, noise) out of the test set" in found.advice


def test_labels_that_change_are_found(digits: Digits, standard: nn.Module) -> None:
    data = Items(digits, STABLE["as it is"], lambda y: (y + random.randint(0, 1)) % 10)
    assert "unstable-data" in codes(inspect_inputs(standard, data, THREAT))


@pytest.mark.parametrize("name", STABLE)
def test_data_that_stay_the_same_raise_no_alarm(name: str, digits: Digits, standard: nn.Module) -> None:
    found = inspect_inputs(standard, Items(digits, STABLE[name]), THREAT)
    assert "unstable-data" not in [f.code for f in found]


@pytest.mark.slow
@pytest.mark.parametrize("doctor", [True, False])
def test_both_evaluations_say_it_even_without_the_doctor(doctor: bool, digits: Digits, standard: nn.Module) -> None:
    data = Items(digits, flipped)
    found = evaluate(standard, data, attacks=[FGSM(THREAT)], settings=Settings(doctor=doctor))
    assert codes(found.findings).count("unstable-data") == 1
    natural = evaluate_corruptions(standard, data, corruptions=["contrast"], severities=[1])
    assert codes(natural.findings).count("unstable-data") == 1
    still = evaluate(standard, Items(digits, by_item), attacks=[FGSM(THREAT)], settings=Settings(doctor=False))
    assert still.findings == ()


@pytest.mark.parametrize("weights", [True, False])
@pytest.mark.parametrize("kind", ["attacks", "corruptions"])
def test_a_run_that_cannot_go_on_blames_the_data(
    kind: str, weights: bool, digits: Digits, standard: nn.Module, tmp_path: Path
) -> None:
    def plain(x: Tensor) -> Tensor:
        out: Tensor = standard(x)
        return out

    def run(data: Items) -> None:
        model = standard if weights else plain
        if kind == "attacks":
            settings = Settings(doctor=False, batch_size=20)
            evaluate(model, data, attacks=[FGSM(THREAT)], out=tmp_path, settings=settings)
        else:
            how = CorruptionSettings(batch_size=20)
            evaluate_corruptions(model, data, corruptions=["contrast"], severities=[1], out=tmp_path, settings=how)

    run(Items(digits, flipped))
    torch.rand(1)  # another process would begin with other draws
    with pytest.raises(RunError, match=r"cannot be resumed\. The data read differently each time") as refused:
        run(Items(digits, flipped))
    assert "model" not in str(refused.value)
    with pytest.raises(RunError, match=r"holds another run \(data \w+ there, \w+ here\)"):
        run(Items(digits, by_item))


def test_other_data_are_named_before_what_the_model_says_of_them() -> None:
    before: Evidence = {"weights": "logits:1", "answers of the model": "1", "data": "a"}
    changed: Evidence = {"weights": "logits:2", "answers of the model": "2", "data": "a"}
    assert differences(before, {**changed, "data": "b"}) == "data a there, b here"
    assert differences(before, changed).startswith("weights logits:1 there")


def test_where_nothing_could_be_said_unstable_data_are_refused(
    digits: Digits, standard: nn.Module, tmp_path: Path
) -> None:
    data, message = Items(digits, flipped), r"The data read differently each time: \d+ of 32 .* Take random"
    with pytest.raises(ValueError, match=message):
        natural_adversarial(standard, data, among=range(10))
    with pytest.raises(ValueError, match=message):
        natural_outliers(standard, digits.test, data, among=range(10))
    with pytest.raises(ValueError, match=message):
        write_corrupted(data, tmp_path / "copy", corruptions=["contrast"], settings=CopySettings())
    assert not (tmp_path / "copy").exists()
