"""The table of all attacks, a row each, and the small models of their tests.

A new attack is one more row; the row states the properties that it does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import cast

import pytest
import torch
from _pytest.mark import ParameterSet
from torch import Tensor, nn

from robustlab.attacks import (
    APGD,
    APGDT,
    BIM,
    EOT,
    FAB,
    FABT,
    FGSM,
    MIFGSM,
    PGD,
    SGD,
    Adagrad,
    Adam,
    AutoAttack,
    Optimizer,
    OptimizerPGD,
    RandomNoise,
    Restarts,
    RMSprop,
    Square,
    StraightThrough,
    Targeted,
    TorchOptimizer,
    Transfer,
    Uint8,
    VirtualAdversarial,
    WorstOf,
)
from robustlab.core import L1, L2, Attack, Linf, Model, Score, Stop, ThreatModel, cross_entropy, dlr, margin

LINF, BALL, CROSS = ThreatModel(Linf(), 0.1), ThreatModel(L2(), 0.5), ThreatModel(L1(), 2.0)
BYTE = 255


@dataclass(frozen=True)
class Row:
    """An attack and what is different about it.

    Args:
        attack: the attack.
        draws: whether it draws random numbers.
        climbs: the score of which it returns the highest point that it scored; None: not one score, or not all points.
        longer: the same attack with more steps of the same length; None: its steps depend on their number.
        bytewise: the same attack on inputs in 0..255, where scaling budgets, bounds and step sizes is not enough.
        passes_before: number of batches it passes before its first point, to get the classes of the clean inputs.
        picks: whether it picks a target itself when none is given.
        nearest: True if it searches for the nearest misclassified point, so that without one the input comes back.
        ordered: whether it goes from point to point and stops at the first success, wherever that is.
        whole: whether its inputs must be 8-bit images.
        labelled: whether labels and targets say where it goes.
    """

    attack: Attack
    draws: bool = True
    climbs: Score | None = cross_entropy
    longer: Attack | None = None
    bytewise: Attack | None = None
    passes_before: int = 0
    picks: bool = False
    nearest: bool = False
    ordered: bool = True
    whole: bool = False
    labelled: bool = True

    def __repr__(self) -> str:
        return repr(self.attack)

    def suited(self, x: Tensor) -> Tensor:
        """Inputs in [0, 1] as the attack takes them."""
        return (BYTE * x).round() / BYTE if self.whole else x

    def at(self, eps: float | tuple[float, ...]) -> Attack:
        """The attack with another budget, or one per example."""
        return _changed(self.attack, lambda _, v: replace(v, eps=eps) if isinstance(v, ThreatModel) else v)

    def in_bytes(self) -> Attack:
        """The attack on inputs in 0..255."""

        def change(name: str, value: object) -> object:
            if isinstance(value, ThreatModel):
                assert isinstance(value.eps, float)
                return replace(value, eps=value.eps * BYTE, bounds=(0, BYTE))
            return value * BYTE if name == "step_size" and isinstance(value, float) else value

        return self.bytewise or _changed(self.attack, change)


def _changed(attack: Attack, change: Callable[[str, object], object]) -> Attack:
    """The same attack with some fields changed, through wrappers."""
    plain: object = attack
    assert is_dataclass(plain)
    assert not isinstance(plain, type)
    new: dict[str, object] = {}
    for field in fields(plain):
        value = getattr(attack, field.name)
        if field.name == "attack":
            new[field.name] = _changed(value, change)
        elif field.name == "attacks":
            new[field.name] = tuple(_changed(one, change) for one in value)
        else:
            new[field.name] = change(field.name, value)
    return cast("Attack", replace(plain, **new))


def _fixed(attack: Attack, longer: Attack | None = None, **more: object) -> Row:
    """An attack that starts at the input and draws nothing."""
    return replace(Row(attack, draws=False, longer=longer), **more)  # type: ignore[arg-type] # fields of a row


def _unlabelled(attack: Attack, bytewise: Attack | None = None) -> Row:
    """An attack that does not ask for labels."""
    return Row(attack, climbs=None, bytewise=bytewise, ordered=False, labelled=False)


IN_BYTES, BALL_IN_BYTES = ThreatModel(Linf(), 0.1 * BYTE, (0, BYTE)), ThreatModel(L2(), 0.5 * BYTE, (0, BYTE))
TINY = 1e-8 / BYTE
"""Constant that optimizers add to the size of gradients: in bytes those are smaller by 255, and moves larger."""


def _by(optimizer: Optimizer, bytewise: Optimizer, steps: int, longer: int | None = None) -> Row:
    """PGD by an optimizer and its like on inputs in 0..255, from a random start."""
    more = None if longer is None else OptimizerPGD(LINF, optimizer, longer)
    other = OptimizerPGD(IN_BYTES, bytewise, steps)
    return Row(OptimizerPGD(LINF, optimizer, steps), longer=more, bytewise=other)


def _nadam(lr: float, eps: float) -> TorchOptimizer:
    return TorchOptimizer(torch.optim.NAdam, {"lr": lr, "eps": eps})


class Smooth(nn.Module):
    """A small smooth network for images of one channel and any size, with random weights."""

    def __init__(self, classes: int = 4, width: int = 6) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, width, 3, stride=2, padding=1)
        self.second = nn.Conv2d(width, 8, 3, padding=1)
        self.last = nn.Linear(8, classes)
        generator = torch.Generator().manual_seed(5)
        for parameter in self.parameters():
            parameter.data = 0.8 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64)

    def forward(self, x: Tensor) -> Tensor:
        hidden = torch.tanh(self.second(nn.functional.softplus(self.first(x))))
        return cast("Tensor", 3 * self.last(hidden.mean(dim=(2, 3))))


def _another(x: Tensor) -> Tensor:
    """A surrogate for inputs of any shape: like the model for its pictures, else ten waves; in any precision."""
    if x.shape[1:] == (1, 6, 8):
        return cast("Tensor", Smooth()(0.9 * x.double()).to(x.dtype))
    flat = x.flatten(1).double()
    weight = torch.sin(torch.arange(1.0, 11.0).outer(torch.arange(1.0, flat.shape[1] + 1))).double()
    return (flat @ weight.T).to(x.dtype)


def _another_in_bytes(x: Tensor) -> Tensor:
    return _another(x / BYTE)


_IN_BYTES = PGD(IN_BYTES, 4)

ROWS = [
    _fixed(FGSM(LINF)),
    _fixed(FGSM(BALL, score=margin)),
    Row(FGSM(LINF, 0.125, random_start=True)),
    _fixed(BIM(LINF, 4, 0.02), BIM(LINF, 9, 0.02)),
    _fixed(BIM(CROSS, 4)),
    Row(PGD(LINF, 5)),
    Row(PGD(LINF, 3, 0.03, score=dlr), climbs=dlr, longer=PGD(LINF, 8, 0.03, score=dlr)),
    Row(PGD(BALL, 5, 0.1), longer=PGD(BALL, 12, 0.1)),
    Row(PGD(CROSS, 5)),
    _fixed(PGD(BALL, 4, random_start=False)),
    _fixed(MIFGSM(LINF, 4, 0.03), MIFGSM(LINF, 7, 0.03)),
    _fixed(MIFGSM(CROSS, 4, decay=0.5)),
    Row(OptimizerPGD(LINF, steps=5), bytewise=OptimizerPGD(IN_BYTES, Adam(0.01 * BYTE, eps=TINY), 5)),
    _fixed(
        OptimizerPGD(BALL, Adam(0.05), 3, random_start=False),
        OptimizerPGD(BALL, Adam(0.05), 9, random_start=False),
        bytewise=OptimizerPGD(BALL_IN_BYTES, Adam(0.05 * BYTE, eps=TINY), 3, random_start=False),
    ),
    _by(SGD(0.3, 0.5), SGD(0.3 * BYTE**2, 0.5), 4, 9),
    _by(RMSprop(0.02), RMSprop(0.02 * BYTE, eps=TINY), 3, 6),
    _by(Adagrad(0.05), Adagrad(0.05 * BYTE, eps=1e-10 / BYTE), 4, 6),
    _by(_nadam(0.02, 1e-8), _nadam(0.02 * BYTE, TINY), 4, 9),
    Row(RandomNoise(LINF), climbs=None),
    Row(RandomNoise(CROSS), climbs=None),
    Row(APGD(LINF, 8)),
    Row(APGD(BALL, 8, score=dlr), climbs=dlr),
    Row(APGD(CROSS, 10), climbs=None, ordered=False),  # begins outside the ball
    Row(APGDT(LINF, 6, 2), climbs=None, passes_before=1, ordered=False),  # goes for several classes at once
    Row(APGDT(BALL, 4, 9), climbs=None, passes_before=1, ordered=False),
    _fixed(FAB(LINF, 6), climbs=None, nearest=True),
    Row(FAB(BALL, 5, random_start=True), climbs=None, nearest=True),
    _fixed(FABT(CROSS, 5, 2), climbs=None, nearest=True, passes_before=1, ordered=False),
    Row(Square(LINF, 15), climbs=margin, longer=Square(LINF, 40)),
    Row(Square(BALL, 15), climbs=margin, longer=Square(BALL, 40)),
    Row(Square(CROSS, 15), climbs=margin, longer=Square(CROSS, 40)),
    Row(Restarts(PGD(LINF, 3), 3), climbs=None),
    Row(Restarts(RandomNoise(BALL), 4), climbs=None),
    Row(Restarts(Restarts(RandomNoise(LINF), 2), 2), climbs=None),
    Row(WorstOf((FGSM(LINF), PGD(LINF, 4))), climbs=None),
    Row(WorstOf((Restarts(PGD(BALL, 3), 2), MIFGSM(BALL, 2))), climbs=None),
    Row(
        AutoAttack(("apgd-ce", "square"), (APGD(LINF, 4), Square(LINF, 6))), climbs=None, passes_before=1, ordered=False
    ),
    Row(AutoAttack(("apgd-t", "fab-t"), (APGDT(BALL, 3), FABT(BALL, 3))), climbs=None, passes_before=1, ordered=False),
    Row(EOT(PGD(LINF, 3), 2), climbs=None, ordered=False),  # passes each point twice
    Row(Uint8(PGD(LINF, 4)), climbs=None, passes_before=1, ordered=False, whole=True),
    Row(Uint8(Restarts(PGD(BALL, 3), 2)), climbs=None, passes_before=1, ordered=False, whole=True),
    _unlabelled(VirtualAdversarial(BALL, 2, xi=0.01), VirtualAdversarial(BALL_IN_BYTES, 2, xi=0.01 * BYTE)),
    _unlabelled(VirtualAdversarial(LINF)),
    Row(StraightThrough(PGD(LINF, 4))),
    Row(
        Transfer(PGD(LINF, 4), _another),
        climbs=None,
        bytewise=Transfer(_IN_BYTES, _another_in_bytes),
        passes_before=1,
        ordered=False,
    ),
    Row(Targeted(PGD(LINF, 4)), passes_before=1, picks=True),
    _fixed(Targeted(BIM(BALL, 3), "least_likely"), passes_before=1, picks=True),
]
assert len({repr(row) for row in ROWS}) == len(ROWS)

QUICK = (FGSM, PGD, OptimizerPGD, RandomNoise, APGD, FAB, Square, AutoAttack, Uint8, VirtualAdversarial, Targeted)
"""One attack of each kind of search; its first row that does what a property is about is in ``make quick``."""


def marked(rows: list[Row]) -> list[ParameterSet]:
    """The rows as parameters of a fixture, slow unless they are in ``make quick``."""
    first = {type(row.attack): row for row in reversed(rows)}
    quick = [first[kind] for kind in QUICK if kind in first]
    return [pytest.param(row, id=repr(row), marks=() if row in quick else pytest.mark.slow) for row in rows]


@pytest.fixture(params=marked(ROWS))
def row(request: pytest.FixtureRequest) -> Row:
    """A row of the table."""
    return cast("Row", request.param)


@pytest.fixture(params=marked([row for row in ROWS if row.labelled]))
def directed(request: pytest.FixtureRequest) -> Row:
    """A row of those that go where labels and targets say."""
    return cast("Row", request.param)


@pytest.fixture(params=marked([row for row in ROWS if row.longer and row.climbs]))
def growing(request: pytest.FixtureRequest) -> Row:
    """A row of those whose steps do not depend on their number."""
    return cast("Row", request.param)


@pytest.fixture(params=marked([row for row in ROWS if row.ordered and not row.picks]))
def direct(request: pytest.FixtureRequest) -> Row:
    """A row of those that go for any wrong class from the first point on."""
    return cast("Row", request.param)


@pytest.fixture(params=marked([row for row in ROWS if row.draws]))
def drawing(request: pytest.FixtureRequest) -> Row:
    """A row of those that draw random numbers."""
    return cast("Row", request.param)


@pytest.fixture(params=marked([row for row in ROWS if not row.draws]))
def still(request: pytest.FixtureRequest) -> Row:
    """A row of those that start at the input and draw nothing."""
    return cast("Row", request.param)


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@dataclass(frozen=True)
class Case:
    """A model in float64 and examples, of which the model gets one wrong and the attacks some more."""

    model: Model
    x: Tensor
    y: Tensor
    target: Tensor
    ids: Tensor

    def under(self, attack: Attack, *, target: Tensor | None = None, stop: Stop = "success", seed: int = 0) -> Tensor:
        """The answer of an attack."""
        return attack(self.model, self.x, self.y, target=target, stop=stop, seed=seed, ids=self.ids)

    def take(self, rows: Tensor) -> Case:
        """Some of the examples."""
        return Case(self.model, self.x[rows], self.y[rows], self.target[rows], self.ids[rows])

    def to(self, dtype: torch.dtype) -> Case:
        """In another precision."""
        assert isinstance(self.model, nn.Module)
        return replace(self, model=self.model.to(dtype), x=self.x.to(dtype))


@pytest.fixture
def case(request: pytest.FixtureRequest) -> Case:
    """Seven pictures of 6x8 pixels."""
    rows = [request.getfixturevalue(name) for name in ("row", "directed", "drawing") if name in request.fixturenames]
    model = Smooth().eval()
    x = torch.rand(7, 1, 6, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    x = (1.4 * x - 0.2).clamp(0, 1)
    for row in rows:
        x = row.suited(x)
    y = model(x).argmax(dim=1)
    y[2] = (y[2] + 1) % 4
    return Case(model, x, y, (y + torch.tensor([1, 2, 3, 1, 2, 3, 1])) % 4, torch.tensor([11, 3, 500, 2, 0, 77, 8]))
