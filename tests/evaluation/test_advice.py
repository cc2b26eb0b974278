"""Advice that an error gives works when it is followed."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM, PGD, Square
from robustlab.core import L2, Linf, ThreatModel
from robustlab.data import InMemory
from robustlab.evaluation import Settings, evaluate
from robustlab.models import adapted, black_box

X = torch.linspace(0, 1, 40).view(40, 1, 1, 1).expand(40, 1, 2, 2).contiguous()
DATA = InMemory("halves", ("dark", "light"), X, torch.arange(40) // 20)
THREAT = ThreatModel(Linf(), 0.1)
QUIET = Settings(doctor=False)


def one_logit(x: Tensor) -> Tensor:
    return 10 * (x.flatten(1).mean(1) - 0.5)


def column(x: Tensor) -> Tensor:
    return one_logit(x)[:, None]


@pytest.mark.parametrize("model", [one_logit, column])
def test_one_logit_becomes_two(model: object) -> None:
    with pytest.raises(ValueError, match=r'robustlab.models.adapted\(model, output="logit"\)'):
        evaluate(model, DATA, attacks=[FGSM(THREAT)], settings=QUIET)  # type: ignore[arg-type]
    result = evaluate(adapted(model, output="logit"), DATA, attacks=[FGSM(THREAT)])  # type: ignore[arg-type]
    assert result.clean.accuracy.value == 1
    assert result.worst[-1].robust.count == 32, "of 40, those farther than 0.1 from 0.5"


def test_numpy_answers_become_a_black_box() -> None:
    def predict(x: object) -> object:
        rows = np.asarray(x).reshape(len(np.asarray(x)), -1).mean(1)
        return np.stack([1 - rows, rows], axis=1)

    with pytest.raises(ValueError, match=r"robustlab\.models\.black_box"):
        evaluate(predict, DATA, attacks=[Square(THREAT, 10)], settings=QUIET)  # type: ignore[arg-type]
    result = evaluate(black_box(predict), DATA, attacks=[Square(THREAT, 10)], settings=QUIET)  # type: ignore[arg-type]
    assert result.clean.accuracy.value == 1


def test_rows_of_a_table_have_infinite_bounds() -> None:
    x = torch.linspace(-30, 30, 40)[:, None] * torch.ones(1, 3)
    data = InMemory("rows", ("low", "high"), x, torch.arange(40) // 20)
    model = nn.Linear(3, 2)
    model.weight.data = torch.tensor([[-1.0], [1.0]]).expand(2, 3).contiguous()
    model.bias.data.zero_()
    threat = ThreatModel(L2(), 2.0, bounds=(-math.inf, math.inf))
    result = evaluate(model.eval(), data, attacks=[PGD(threat, 5), Square(threat, 20)])
    assert result.clean.accuracy.value == 1
    assert 0 < result.worst[-1].robust.count < 40


def test_eps_of_255ths_is_divided() -> None:
    with pytest.raises(ValueError, match="write 8/255"):
        ThreatModel(Linf(), 8)
    assert ThreatModel(Linf(), 8 / 255).eps == 8 / 255
