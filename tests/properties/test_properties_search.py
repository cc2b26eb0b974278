"""Results of a search: the first success, else the best point; more effort never hurts; the model decides."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor

from robustlab.attacks import Restarts, threat_of
from robustlab.core import Model, Stop, Twin, margin, search_twin

if TYPE_CHECKING:
    from tests.properties.conftest import Case, Row


@dataclass
class Recorder:
    """A model that records every point of its inputs, one example at a time."""

    model: Model
    points: list[Tensor] = field(default_factory=list)

    def __call__(self, x: Tensor) -> Tensor:
        self.points += [point[None].clone() for point in x.detach()]
        logits: Tensor = self.model(x)
        return logits


def goal_of(row: Row, case: Case) -> Tensor | None:
    """The target that the attack picks for itself, if it does."""
    pick = getattr(row.attack, "targets", None)
    return pick(case.model, case.x, case.y, ids=case.ids) if row.picks and callable(pick) else None


@pytest.mark.parametrize(("given", "some"), [(False, (0, 1, 2, 3)), (True, (4, 5, 6))], ids=["untargeted", "targeted"])
def test_the_first_success_comes_back_else_the_best_point_seen(
    directed: Row, case: Case, *, given: bool, some: tuple[int, ...]
) -> None:
    threat = threat_of(directed.attack)
    for i in some:
        one = case.take(torch.tensor([i]))
        goal = one.target if given else goal_of(directed, one)
        recorder = Recorder(one.model)
        x_adv = directed.attack(recorder, one.x, one.y, target=one.target if given else None, ids=one.ids)
        points = torch.cat(
            recorder.points[directed.passes_before if directed.ordered and not (given and directed.picks) else 0 :]
        )
        points = points[threat.contains(one.x.expand(len(points), -1, -1, -1), points)]
        logits = one.model(points).detach()
        finished = logits.argmax(1) != one.y if goal is None else logits.argmax(1) == goal
        if finished.any() and directed.ordered:
            assert torch.equal(x_adv[0], points[finished.int().argmax()])
        elif finished.any():
            assert (points[finished] == x_adv).flatten(1).all(dim=1).any()
        elif directed.climbs:
            score = directed.climbs(logits, one.y.expand(len(points)))
            score = score if goal is None else -directed.climbs(logits, goal.expand(len(points)))
            assert torch.equal(x_adv[0], points[score.argmax()])
            assert score.max() >= score[0]


@pytest.mark.parametrize("given", [False, True], ids=["untargeted", "targeted"])
def test_more_restarts_never_lower_the_margin(directed: Row, case: Case, *, given: bool) -> None:
    target = case.target if given else goal_of(directed, case)
    sign, label = (1, case.y) if target is None else (-1, target)
    margins = [
        sign * margin(case.model(case.under(Restarts(directed.attack, count), target=target)), label)
        for count in (1, 3)
    ]
    fewer, more = margins
    assert ((more >= fewer - 1e-9) | (fewer > 0)).all()
    assert ((more > 0) | (fewer <= 0)).all()


def test_more_steps_never_lower_the_score(growing: Row, case: Case) -> None:
    assert growing.longer
    assert growing.climbs
    short, long = case.under(growing.attack), case.under(growing.longer)
    fooled = case.model(short).argmax(1) != case.y
    assert torch.equal(short[fooled], long[fooled])
    before, after = (growing.climbs(case.model(x), case.y) for x in (short, long))
    assert (after >= before - 1e-9)[~fooled].all()
    assert (after > before + 1e-9).any()


@pytest.mark.parametrize("stop", ["success", "never"])
def test_attacks_make_models_worse(row: Row, case: Case, stop: Stop) -> None:
    x_adv = case.under(row.attack, stop=stop)
    if row.picks:
        goal = goal_of(row, case)
        assert goal is not None
        gain = margin(case.model(case.x), goal) - margin(case.model(x_adv), goal)
    else:
        gain = margin(case.model(x_adv), case.y) - margin(case.model(case.x), case.y)
    assert gain.max() > 0
    assert "RandomNoise" in repr(row) or not row.labelled or gain.sum() > 0


@pytest.mark.parametrize("stop", ["success", "never"])
def test_with_a_target_only_the_target_is_a_success(directed: Row, case: Case, stop: Stop) -> None:
    x_adv = case.under(directed.attack, target=case.target, stop=stop)
    gain = margin(case.model(case.x), case.target) - margin(case.model(x_adv), case.target)
    assert gain.max() > 0
    assert "RandomNoise" in repr(directed) or gain.sum() > 0


def test_what_is_wrong_already_comes_back_as_it_is_where_the_search_starts_there(still: Row, case: Case) -> None:
    goal = goal_of(still, case)
    wrong = case if goal is None else replace(case, x=case.under(still.attack, stop="never"))
    finished = wrong.model(wrong.x).argmax(1) != case.y if goal is None else wrong.model(wrong.x).argmax(1) == goal
    x_adv = wrong.under(still.attack, target=goal)
    assert torch.equal(x_adv[finished], wrong.x[finished])
    assert not torch.equal(x_adv[~finished], wrong.x[~finished])


@pytest.mark.parametrize("stop", ["success", "never"])
def test_a_twin_as_the_model_gives_the_same_answer(row: Row, case: Case, stop: Stop) -> None:
    twin = search_twin(case.model, case.x)
    assert twin.distinct
    given = replace(case, model=twin)
    assert torch.equal(given.under(row.attack, stop=stop), case.under(row.attack, stop=stop))
    assert twin.passes.forward > 0 or stop == "never"


def test_a_function_is_attacked_like_a_module(row: Row, case: Case) -> None:
    function = replace(case, model=lambda x: case.model(x))
    assert torch.allclose(function.under(row.attack), case.under(row.attack), rtol=0, atol=1e-9)


@dataclass(frozen=True)
class Biased:
    """A model with something added to its logits."""

    model: Model
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        logits: Tensor = self.model(x) + self.bias
        return logits


def test_a_search_model_cannot_declare_success(row: Row, case: Case) -> None:
    y = torch.zeros_like(case.y)
    robust, fooled = (Biased(case.model, torch.tensor([bias, 0.0, 0.0, 0.0])) for bias in (60.0, -60.0))
    efforts = []
    for search in (robust, fooled):
        twin = Twin(robust, search)
        x_adv = row.attack(twin, case.x, y, ids=case.ids)
        assert (robust(x_adv).argmax(1) == y).all()
        efforts.append(twin.passes.backward)
    assert efforts[0] == efforts[1]


def test_a_search_in_bfloat16_finds_what_fools_the_model_itself(row: Row, case: Case) -> None:
    case = case.to(torch.float32)
    twin = search_twin(case.model, case.x, dtype=torch.bfloat16)
    assert twin.distinct
    logits = case.model(replace(case, model=twin).under(row.attack))
    fooled = logits.argmax(1) != case.y
    exact = case.model(case.under(row.attack)).argmax(1) != case.y
    assert fooled.sum() >= exact.sum() // 2


def test_finished_examples_cost_nothing(direct: Row, case: Case) -> None:
    twin = Twin(case.model, case.model)
    wrong = replace(case, model=twin, y=(case.model(case.x).argmax(1) + 1) % 4)
    wrong.under(direct.attack)
    assert twin.passes.forward + twin.passes.backward <= 5 * len(case.x)
