"""Faults that users reported of published attack libraries, none of which may happen here; each test says where.

Others are tested elsewhere: Square on images that are not square, signals and rows of tables (auto-attack #95, ART
#1244, #288, #297) in test_square.py, FAB and targets for two classes in test_fab.py and test_apgd.py, modes and
statistics (foolbox #74, torchattacks #21) and seeds (auto-attack #54) in the property table, images that are saved
(foolbox #423, auto-attack #44) in test_uint8.py, vanishing virtual adversarial gradients (foolbox #437) in
test_virtual.py, a wrong L2 step (cleverhans #1175) in test_linear_optima.py.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import APGD, APGDT, FAB, FABT, FGSM, PGD, AutoAttack, Restarts, Square, autoattack
from robustlab.attacks.suite import Version
from robustlab.core import L1, L2, Attack, Linf, Norm, Score, ThreatModel, Twin, cross_entropy, dlr, margin

NORMS: list[Norm] = [Linf(), L2(), L1()]
EPS = {"Linf": 0.3, "L2": 1.0, "L1": 3.0}
VERSIONS: list[Version] = ["standard", "plus", "rand", "quick"]


def network(classes: int, *shape: int, scale: float = 1.0) -> nn.Sequential:
    values = int(torch.tensor(shape).prod())
    model = nn.Sequential(nn.Flatten(), nn.Linear(values, 24), nn.Tanh(), nn.Linear(24, classes)).eval()
    generator = torch.Generator().manual_seed(classes)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
        for parameter in model[3].parameters():
            parameter.mul_(scale)
    return model


def labelled(model: nn.Module, count: int, *shape: int) -> tuple[Tensor, Tensor]:
    x = torch.rand(count, *shape, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        return x, model(x).argmax(1)


def impatient(attack: Attack) -> Attack:
    """The same attack with few steps and queries, through suites and wrappers."""
    short: dict[str, object] = {}
    for field in fields(attack):  # type: ignore[arg-type] # all of them are dataclasses
        value = getattr(attack, field.name)
        if field.name in ("steps", "queries", "draws", "count"):
            short[field.name] = min(value, {"steps": 8, "queries": 30, "draws": 2, "count": 2}[field.name])
        elif field.name == "attack":
            short[field.name] = impatient(value)
        elif field.name == "attacks":
            short[field.name] = tuple(map(impatient, value))
    return replace(attack, **short)  # type: ignore[type-var,return-value,unused-ignore]


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(3, 4, 6), (2, 9), (7,)], ids=["picture", "signal", "row"])
@pytest.mark.parametrize("classes", [2, 3])
@pytest.mark.parametrize("norm", NORMS, ids=str)
@pytest.mark.parametrize("version", VERSIONS)
def test_every_version_of_the_suite_takes_two_and_three_classes(
    version: Version, norm: Norm, classes: int, shape: tuple[int, ...]
) -> None:
    """auto-attack #52, #70, #76, #79, #110, torchattacks #152, ART #2399: DLR and nine targets need four classes."""
    model = network(classes, *shape)
    x, y = labelled(model, 12, *shape)
    threat = ThreatModel(norm, EPS[str(norm)])
    x_adv = impatient(autoattack(threat, version))(model, x, y)
    assert threat.contains(x, x_adv).all()
    assert (model(x_adv).argmax(1) != y).sum() >= 3


@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_dlr_alone_is_as_strong_as_cross_entropy_with_two_classes(norm: Norm) -> None:
    """The published quotient is constant with two classes: its gradient is zero, and the attack goes nowhere."""
    model = network(2, 12)
    x, y = labelled(model, 100, 12)
    threat = ThreatModel(norm, EPS[str(norm)])
    fooled = [int((model(APGD(threat, 20, score=s)(model, x, y)).argmax(1) != y).sum()) for s in (dlr, cross_entropy)]
    assert fooled[0] >= fooled[1] - 2 > 10


@pytest.fixture
def steep() -> tuple[nn.Module, Tensor, Tensor]:
    """Logits of some thousands: in float32 the probability of the label is 1, and its gradient 0."""
    model = network(5, 12, scale=1e4)
    x, y = labelled(model, 80, 12)
    z = model(x).detach()
    sure = (z.gather(1, y[:, None]) - z).scatter(1, y[:, None], torch.inf).amin(1) > 200
    return model, x[sure], y[sure]


def test_gradients_of_cross_entropy_underflow_and_fgsm_does_not_move(steep: tuple[nn.Module, Tensor, Tensor]) -> None:
    """cleverhans #350: nearly half of the examples came back unchanged, and counted as robust."""
    model, x, y = steep
    x_in = x.clone().requires_grad_()
    cross_entropy(model(x_in), y).sum().backward()
    assert x_in.grad is not None
    assert not x_in.grad.any()
    assert len(x) > 40
    threat = ThreatModel(Linf(), 0.2)
    assert torch.equal(FGSM(threat)(model, x, y), x)
    assert (model(FGSM(threat, score=margin)(model, x, y)).argmax(1) != y).float().mean() > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("norm", NORMS, ids=str)
def test_where_cross_entropy_underflows_the_others_find_what_there_is(
    norm: Norm, steep: tuple[nn.Module, Tensor, Tensor]
) -> None:
    """The same model divided by 10,000 shows what an attack can find."""
    model, x, y = steep
    threat = ThreatModel(norm, EPS[str(norm)] / 3)

    def fooled(attack: Attack, subject: Callable[[Tensor], Tensor] = model) -> int:
        return int((model(attack(subject, x, y)).argmax(1) != y).sum())

    there = fooled(APGD(threat, 30, score=margin), lambda x: model(x) / 1e4)
    suite = AutoAttack(("apgd-ce", "apgd-t"), (APGD(threat, 10), APGDT(threat, 30)))
    assert there > 20
    assert fooled(PGD(threat, 30, random_start=False)) == 0
    assert fooled(APGD(threat, 30)) < 0.8 * there
    others: list[Attack] = [APGD(threat, 30, score=dlr), APGD(threat, 30, score=margin), APGDT(threat, 30), suite]
    for attack in (*others, FAB(threat, 20), FABT(threat, 20)):
        assert fooled(attack) >= 0.9 * there
    assert fooled(Square(threat, 300)) > 0.5 * there


def test_probabilities_in_place_of_logits_do_not_hide_a_model_from_the_suite() -> None:
    """foolbox #108: on probabilities the success of an attack was 0.48 instead of 0.78."""
    model = network(5, 12, scale=20.0)
    x, y = labelled(model, 100, 12)

    def probabilities(x: Tensor) -> Tensor:
        logits: Tensor = model(x)
        return logits.softmax(1)

    threat = ThreatModel(Linf(), 0.1)
    suite = AutoAttack(("apgd-t", "fab-t", "square"), (APGDT(threat, 20), FABT(threat, 10), Square(threat, 200)))
    plain, hidden, through = (
        int((model(attack(subject, x, y)).argmax(1) != y).sum())
        for attack, subject in (
            (PGD(threat, 20, score=margin), model),
            (PGD(threat, 20), probabilities),
            (suite, probabilities),
        )
    )
    assert hidden < 0.9 * plain
    assert through >= 0.95 * plain


@pytest.mark.parametrize("kind", [APGDT, FABT])
def test_the_cost_of_targets_does_not_grow_with_the_classes(kind: type[APGDT] | type[FABT]) -> None:
    """auto-attack #18: far too slow with many classes."""
    costs = []
    for classes in (10, 300):
        model = network(classes, 12)
        x, y = labelled(model, 6, 12)
        twin = Twin(model, model)
        kind(ThreatModel(Linf(), 1e-6), 4)(twin, x, y)
        costs.append((twin.passes.forward, twin.passes.backward))
    assert costs[0] == costs[1]


@pytest.mark.parametrize("score", [cross_entropy, dlr, margin], ids=repr)
def test_success_is_decided_by_the_model_on_the_result(score: Score) -> None:
    """foolbox #632 and #674: results before clipping, and success that the predictions do not bear out."""
    model = network(4, 12)
    x, y = labelled(model, 60, 12)
    x = x.round(decimals=1)
    y, threat = model(x).argmax(1), ThreatModel(Linf(), 0.1)
    seen: list[Tensor] = []

    def recorded(x: Tensor) -> Tensor:
        seen.append(x.detach().clone())
        logits: Tensor = model(x)
        return logits

    x_adv = Restarts(PGD(threat, 6, score=score), 2)(recorded, x, y)
    assert all(bool(((points >= 0) & (points <= 1)).all()) for points in seen)
    stayed = model(x_adv).argmax(1) == y
    assert 5 < stayed.sum() < 55
    points = [p for p in seen if len(p) == len(x)]
    assert not any(bool((model(p).argmax(1) != y)[stayed].any()) for p in points)
