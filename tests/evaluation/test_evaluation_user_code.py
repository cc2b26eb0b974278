"""Inputs of code of users: arrays behind a black box, tensors inside a module; never anything else."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustlab.attacks import (
    APGD,
    APGDT,
    EOT,
    FABT,
    FGSM,
    PGD,
    AutoAttack,
    RandomNoise,
    Restarts,
    Square,
    StraightThrough,
    Transfer,
    Uint8,
    VirtualAdversarial,
    WorstOf,
)
from robustlab.core import L2, Attack, Linf, Model, ThreatModel, own_twin, search_twin
from robustlab.data import InMemory
from robustlab.evaluation import diagnose, evaluate, evaluate_corruptions
from robustlab.models import adapted, black_box

THREAT = ThreatModel(Linf(), 0.1)
X = torch.randint(256, (24, 3, 8, 8), generator=torch.Generator().manual_seed(0)) / 255
Y = torch.arange(24) % 2
DATA = InMemory("noise", ("a", "b"), X, Y)


class Greedy:
    """A function on arrays that writes down what it got, keeps it, and writes over all that it can."""

    def __init__(self) -> None:
        self.got: list[object] = []
        self.wrong: list[str] = []
        self.answer = np.zeros((0, 2), np.float32)

    def __deepcopy__(self, memo: object) -> Greedy:
        raise AssertionError("a session must not be copied")

    def __call__(self, x: NDArray[np.float32]) -> NDArray[np.floating]:
        fits = type(x) is np.ndarray and x.dtype == np.float32 and x.shape[1:] == (3, 8, 8)
        if not (fits and x.flags.c_contiguous and x.flags.writeable and x.flags.owndata):
            self.wrong.append(f"{type(x)} {getattr(x, 'dtype', '')} {getattr(x, 'flags', '')}")
        bright = x.mean(axis=(1, 2, 3)).clip(0.01, 0.99)
        if self.answer is not None:
            self.answer[:] = 7  # what was returned before
        x[:] = np.nan
        self.answer = np.stack([1 - bright, bright], axis=1)
        self.got.append(x)
        return self.answer


class Session(nn.Module):
    """A module whose forward leaves torch, as one does that calls ONNX Runtime."""

    def __init__(self, greedy: Greedy) -> None:
        super().__init__()
        self.greedy = greedy

    def forward(self, x: Tensor) -> Tensor:
        if type(x) is not Tensor:
            self.greedy.wrong.append(str(type(x)))
        return torch.from_numpy(self.greedy(x.detach().cpu().float().numpy().copy()).copy()).to(x)


QUERIES: list[Attack] = [
    RandomNoise(THREAT), Square(THREAT, 6), Square(ThreatModel(L2(), 0.5), 6), Restarts(RandomNoise(THREAT), 2),
    EOT(RandomNoise(THREAT), 3), WorstOf((RandomNoise(THREAT), Square(THREAT, 4))), Uint8(Square(THREAT, 4)),
]  # fmt: skip
GRADIENTS: list[Attack] = [
    FGSM(THREAT), PGD(THREAT, 2), EOT(PGD(THREAT, 2), 2), Restarts(PGD(THREAT, 2), 2), APGDT(THREAT, 3, 1),
    FABT(THREAT, 2, 1), AutoAttack(("apgd-ce", "square"), (APGD(THREAT, 2), Square(THREAT, 2))),
    VirtualAdversarial(THREAT), StraightThrough(PGD(THREAT, 2)),
]  # fmt: skip


@pytest.mark.parametrize("make", [black_box, Session])
@pytest.mark.parametrize("attack", [*QUERIES, Transfer(PGD(THREAT, 2), nn.Sequential(nn.Flatten(), nn.Linear(192, 2)))])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_attacks_by_queries_give_arrays(make: Callable[..., nn.Module], attack: Attack, dtype: torch.dtype) -> None:
    greedy = Greedy()
    x = X.to(dtype).contiguous(memory_format=torch.channels_last)
    before = x.clone()
    if not (isinstance(attack, Transfer) and dtype != torch.float32):
        x_adv = attack(make(greedy).eval(), x, Y)
        assert x_adv.isfinite().all()
        assert greedy.got
    assert torch.equal(x, before)
    assert not greedy.wrong


@pytest.mark.parametrize("attack", GRADIENTS, ids=repr)
def test_attacks_by_gradients_are_refused_after_one_look_at_arrays(attack: Attack) -> None:
    greedy = Greedy()
    with pytest.raises(ValueError, match="black box without gradients"):
        attack(black_box(greedy), X, Y)
    assert not greedy.wrong


@pytest.mark.parametrize(
    "make",
    [black_box, Session, lambda greedy: adapted(black_box(greedy)), lambda greedy: nn.Sequential(black_box(greedy))],
)
@pytest.mark.parametrize("dtype", [None, torch.bfloat16])
def test_there_is_no_search_twin_and_one_question(make: Callable[..., nn.Module], dtype: torch.dtype | None) -> None:
    greedy = Greedy()
    model = make(greedy).eval()
    assert search_twin(model, X, dtype=dtype) == own_twin(model, X)
    assert len(greedy.got) == 1
    assert not greedy.wrong


@pytest.mark.slow
@pytest.mark.parametrize("make", [black_box, Session])
def test_evaluations_and_doctor_give_arrays(make: Callable[..., nn.Module]) -> None:
    greedy = Greedy()
    model = make(greedy)
    result = evaluate(model, DATA, attacks=[Square(THREAT, 4), RandomNoise(THREAT)])
    assert result.clean.accuracy.n == 24
    evaluate_corruptions(model, DATA, corruptions=["brightness", "pixelate"], severities=[1])
    diagnose(model, DATA, attack=Square(THREAT, 4))
    assert not greedy.wrong
    assert all(p.isfinite().all() for p in (DATA.x, X))


@pytest.mark.parametrize(
    "attack", [*QUERIES, *GRADIENTS, Transfer(PGD(THREAT, 2), nn.Sequential(nn.Flatten(), nn.Linear(192, 2)))], ids=repr
)
def test_functions_and_modules_on_tensors_get_tensors(attack: Attack) -> None:
    kinds: set[type] = set()

    def function(x: Tensor) -> Tensor:
        kinds.add(type(x))
        bright = x.mean(dim=(1, 2, 3))
        return torch.stack([-bright, bright], dim=1)

    class Module(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return function(x)

    models: list[Model] = [function, adapted(function), Module(), adapted(Module())]
    for model in models:
        attack(model, X[:4], Y[:4])
    assert kinds == {Tensor}


@pytest.mark.parametrize(
    ("answer", "seen"),
    [
        (lambda x: np.zeros((len(x), 2, 1)), r"shape \(24, 2, 1\) for 24 inputs, expected .* numbers \(float64\)"),
        (lambda _: np.zeros((1, 2)), r"shape \(1, 2\) for 24 inputs, expected .* numbers \(float64\)"),
        (lambda x: [["a", "b"]] * len(x), r"shape \(24, 2\) for 24 inputs, expected .* numbers \(<U1\)"),
        (lambda x: [[None, 1.0]] * len(x), r"shape \(24, 2\) for 24 inputs, expected .* numbers \(object\)"),
    ],
)
def test_what_is_no_table_of_numbers_is_refused(answer: Callable[[object], object], seen: str) -> None:
    with pytest.raises(ValueError, match=f"predict returned {seen}"):
        black_box(cast("Callable[..., NDArray[np.floating]]", answer))(X)


def frozen_array(x: NDArray[np.float32]) -> NDArray[np.floating]:
    answer = np.stack([x.mean(axis=(1, 2, 3)), 1 - x.mean(axis=(1, 2, 3))], axis=1)
    answer.flags.writeable = False
    return answer


@pytest.mark.parametrize(
    "predict",
    [
        frozen_array,
        lambda x: frozen_array(x)[:, ::-1],
        lambda x: frozen_array(x).tolist(),
        lambda x: np.asfortranarray(frozen_array(x)),
        lambda x: frozen_array(x).astype(">f8"),
        lambda x: (frozen_array(x) > 0.5).astype(np.int32),
        lambda x: frozen_array(x) > 0.5,
    ],
)
def test_any_table_of_numbers_is_taken(predict: Callable[..., NDArray[np.floating]]) -> None:
    expected = torch.tensor(np.array(predict(X.numpy())).astype(np.float32))
    assert torch.equal(black_box(predict, output="logits")(X), expected)
