from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import pytest
import torch
from torch import nn

from robustlab.attacks import FGSM, PGD, Targeted
from robustlab.core import L2, Linf, ThreatModel
from robustlab.evaluation import Settings, evaluate, pictures
from robustlab.runs import tensors as files

if TYPE_CHECKING:
    from tests.evaluation.conftest import Digits, Points, Threshold

THREAT = ThreatModel(Linf(), 0.1)


@pytest.mark.slow
@pytest.mark.parametrize("attack", [FGSM(THREAT), Targeted(PGD(THREAT, 10), "next")])
@pytest.mark.parametrize("kept", ["all", "gallery"])
def test_pictures_are_those_of_the_rows(
    attack: FGSM, kept: Literal["all", "gallery"], digits: Digits, standard: nn.Module
) -> None:
    budgets, settings = [0.05, 0.1, 0.2], Settings(doctor=False, keep=kept)
    got = evaluate(standard, digits.test, attacks=[attack], eps=budgets, n=200, settings=settings)
    assert {item.eps for item in got.gallery} == set(budgets)
    assert any(item.eps == 0.2 and item.linf <= 0.1 for item in got.gallery), "reused ones too"
    x, x_adv = pictures(got, got.gallery)
    labels = torch.tensor([item.label for item in got.gallery])
    assert torch.equal(x, digits.x_test[[item.id for item in got.gallery]])
    assert torch.equal(labels, digits.y_test[[item.id for item in got.gallery]])
    with torch.no_grad():
        probs = standard(x_adv).double().softmax(1)
    assert probs.argmax(1).tolist() == [item.prediction for item in got.gallery]
    assert probs.amax(1).tolist() == pytest.approx([item.confidence for item in got.gallery], abs=1e-5)
    sizes = L2().size(x_adv.double() - x.double())
    assert sizes.tolist() == pytest.approx([item.l2 for item in got.gallery])
    assert all(item.prediction != item.label and item.linf <= item.eps for item in got.gallery)


@pytest.mark.slow
def test_what_is_kept_is_what_was_asked_for(threshold: Threshold, points: type[Points], tmp_path: Path) -> None:
    for kept in ("all", "gallery"):
        settings = Settings(doctor=False, keep=kept, batch_size=100)
        out = tmp_path / kept
        evaluate(threshold, points(500), attacks=[FGSM(THREAT)], eps=[0.05, 0.1], out=out, settings=settings)
        stored = [files.read_tensors(path) for path in (out / "adversarial").glob("*-run-*")]
        rows = sum(len(t["ids"]) for t in stored)
        assert rows == sum(len(t["x_adv"]) for t in stored)
        assert (rows > 500) if kept == "all" else (0 < rows <= 100)
        names = {path.name.split("-")[2] for path in (out / "adversarial").glob("0*")}
        assert names == {"run"}, "a recheck keeps nothing"


@pytest.mark.slow
def test_few_that_fall_may_have_no_picture(threshold: Threshold, points: type[Points], tmp_path: Path) -> None:
    for kept, most in (("all", 8), ("gallery", 7)):
        settings = Settings(doctor=False, keep=kept)  # type: ignore[arg-type]  # one of its literals
        got = evaluate(
            threshold, points(1000), attacks=[FGSM(THREAT)], eps=0.006, out=tmp_path / kept, settings=settings
        )
        assert got.results[0].success.count > 8
        assert len(got.gallery) <= most
        assert (len(got.gallery) == 8) == (kept == "all")
