"""Optimizers as attackers: closed forms, honest tuning, resuming, statistics, pages."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from importlib import import_module
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import PGD
from robustlab.core import Attack, Examples, Linf, RunError, ThreatModel
from robustlab.data import InMemory, parts
from robustlab.runs import Progress
from robustlab.studies import FULL
from robustlab.studies.sweep import RULES, Given, Spend, attackers, fooled_after
from robustlab.studies.sweep.outcome import Attackers, Swept, cost, left, spent
from robustlab.studies.sweep.rates import explored, near_best
from robustlab.studies.sweep.unit import MissingError, published

EPS = 0.05
SMALL = Spend(FULL, (2, 8), tuning=40, images=30, widen=3)
DRIVER = import_module("robustlab.studies.sweep.attackers")


class Halves(nn.Module):
    """Two classes, linear: class 1 where w.(x - 1/2) > 0."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(12, 2)
        w = torch.linspace(-1.0, 1.3, 12)
        with torch.no_grad():
            self.linear.weight.copy_(torch.stack([-w, w]))
            self.linear.bias.copy_(torch.stack([w.sum(), -w.sum()]) / 2)

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.linear(x)
        return logits

    def ahead(self, x: Tensor, y: Tensor) -> Tensor:
        """Margin of the right class."""
        logits = self.forward(x).detach()
        return (logits[:, 1] - logits[:, 0]) * (2 * y - 1)

    def reach(self, step: float) -> float:
        """Loss of margin by a step of this length along the sign: its length times the L1 norm of the gradient."""
        return step * float((self.linear.weight[1] - self.linear.weight[0]).detach().abs().sum())


def points() -> InMemory:
    """Points far enough from the bounds, a tenth of them with the wrong label."""
    generator = torch.Generator().manual_seed(0)
    x = 0.5 + 0.6 * (torch.rand(160, 12, generator=generator) - 0.5)
    y = Halves()(x).argmax(dim=1)
    y[::10] = 1 - y[::10]
    return InMemory("points", ("0", "1"), x, y)


def linear() -> Given:
    return Given("halves", ThreatModel(Linf(), EPS), Halves(), points())


@pytest.fixture
def subject() -> Given:
    """A linear model."""
    return linear()


def swept(subject: Given, out: Path, spend: Spend = SMALL) -> Attackers:
    return attackers(subject, out=out, seeds=2, spend=spend, device="cpu")


class Whole(NamedTuple):
    """A sweep of the linear model that nothing stopped."""

    found: Attackers
    folder: Path


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Whole:
    folder = tmp_path_factory.mktemp("whole")
    return Whole(swept(linear(), folder), folder)


def test_every_rule_reaches_the_optimum_on_a_linear_model(whole: Whole) -> None:
    found, model = whole.found, Halves()
    reported = list(parts(points(), {"tuning": 40 / 160, "1": 30 / 160, "2": 30 / 160}).values())[1:]
    x, y = points().batch(torch.cat([part.rows for part in reported]))[:2]
    expected = int((model.ahead(x, y) > model.reach(EPS)).sum())
    assert 5 < expected < 40
    assert {one.rule: one.robust(8).count for one in found.swept} == dict.fromkeys(
        (rule.name for rule in RULES), expected
    )
    assert found.clean.count == int((model.ahead(x, y) > 0).sum()) < found.n == 60
    assert found.corrected(8) == {rule.name: 1.0 for rule in RULES[1:]}
    assert found.lowest == expected / 60


def test_passes_are_two_for_each_step_and_one_to_see() -> None:
    model, data = Halves(), points()
    step = EPS / 5
    attack = PGD(ThreatModel(Linf(), EPS), steps=5, step_size=step, random_start=False)
    ids = torch.arange(60)
    x, y = data.batch(ids)[:2]
    needed = torch.ceil(model.ahead(x, y) / model.reach(step)).long().tolist()
    expected = [0 if k <= 0 else 2 * k + 1 if k <= 5 else -1 for k in needed]
    assert {0, 3, 11, -1} <= set(expected)
    assert fooled_after(attack, model, data, ids, seed=0, steps=5) == expected


@pytest.mark.slow
def test_finished_work_is_not_repeated_after_a_stop(
    subject: Given, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls, stop_at, original = list[int](), [11], fooled_after

    def counted(
        attack: Attack, model: nn.Module, examples: Examples, ids: Tensor, *, seed: int, steps: int
    ) -> list[int]:
        if len(calls) == stop_at[0]:
            raise KeyboardInterrupt
        calls.append(seed)
        return original(attack, model, examples, ids, seed=seed, steps=steps)

    monkeypatch.setattr(DRIVER, "fooled_after", counted)
    with pytest.raises(KeyboardInterrupt):
        swept(subject, tmp_path / "parts")
    assert len(list((tmp_path / "parts" / "attackers-halves").iterdir())) == 11
    calls.clear()
    stop_at[0] = -1
    seen = list[Progress]()
    again = attackers(subject, out=tmp_path / "parts", seeds=2, spend=SMALL, device="cpu", progress=seen.append)
    files = list((whole.folder / "attackers-halves").iterdir())
    assert len(calls) == len(files) - 11
    assert {one.rule: (one.tuning, one.reported) for one in again.swept} == {
        one.rule: (one.tuning, one.reported) for one in whole.found.swept
    }
    assert seen[-1].done == len(files) - 1
    assert all(at.total is not None and at.total >= at.done for at in seen)


@pytest.mark.slow
def test_rates_are_chosen_without_the_images_that_are_reported(
    subject: Given, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    used, original = dict[int, set[int]](), fooled_after

    def watched(
        attack: Attack, model: nn.Module, examples: Examples, ids: Tensor, *, seed: int, steps: int
    ) -> list[int]:
        used.setdefault(seed, set()).update(examples.rows[ids].tolist())  # type: ignore[attr-defined]  # a part
        return original(attack, model, examples, ids, seed=seed, steps=steps) if not seed else [-1] * len(ids)

    monkeypatch.setattr(DRIVER, "fooled_after", watched)
    after = swept(subject, tmp_path / "after")
    assert [one.chosen for one in after.swept] == [one.chosen for one in whole.found.swept]
    assert after.swept[0].robust(8).value == 1.0, "other numbers are reported"
    assert [len(used[seed]) for seed in (0, 1, 2)] == [40, 30, 30]
    assert not used[0] & used[1]
    assert not used[0] & used[2]
    assert not used[1] & used[2]


@pytest.mark.slow
def test_another_model_threat_or_sample_is_another_run(subject: Given, whole: Whole, tmp_path: Path) -> None:
    first = whole.found
    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True)
    other = Halves()
    with torch.no_grad():
        other.linear.weight.mul_(torch.linspace(0.2, 1.0, 12))
    second = swept(Given("halves", subject.threat, other, subject.examples), tmp_path)
    assert second.clean.count != first.clean.count
    third = swept(replace(subject, threat=ThreatModel(Linf(), 0.02)), tmp_path)
    assert third.lowest > first.lowest


@pytest.mark.parametrize(
    ("seeds", "said"),
    [
        (0, "at least one seed is needed, got 0"),
        (5, "190 images are needed, 40 to choose rates by and 5 times 30 to report on, but points has 160"),
    ],
)
def test_wrong_use_is_refused(seeds: int, said: str, subject: Given, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=said):
        attackers(subject, out=tmp_path, spend=SMALL, seeds=seeds, device="cpu")


def test_subjects_that_cannot_be_attacked_are_refused(subject: Given, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs one eps > 0"):
        swept(replace(subject, threat=ThreatModel(Linf(), 0.0)), tmp_path)
    wrong = Halves()
    with torch.no_grad():
        wrong.linear.weight.mul_(-1)
        wrong.linear.bias.mul_(-1)
    x, y = points().batch((Halves().ahead(points().x, points().y) > 0).nonzero()[:, 0])[:2]
    few = replace(SMALL, tuning=30, images=20)
    with pytest.raises(ValueError, match="halves gets none of 30 images right"):
        swept(replace(subject, model=wrong, examples=InMemory("right", ("0", "1"), x, y)), tmp_path, few)
    with pytest.raises(ValueError, match="steps must be at least 1 and rising"):
        replace(SMALL, budgets=(5, 2))
    with pytest.raises(ValueError, match="at least one image"):
        replace(SMALL, tuning=0)


def test_damaged_result_is_named(subject: Given, whole: Whole, tmp_path: Path) -> None:
    shutil.copytree(whole.folder, tmp_path, dirs_exist_ok=True)
    path = next((tmp_path / "attackers-halves").glob("tuning-adam-*"))
    path.write_text("{")
    with pytest.raises(RunError, match=f"{path.name} is no result of a sweep.*remove it"):
        swept(subject, tmp_path)


def test_search_goes_on_beyond_an_end_that_is_best_and_stops_in_the_end() -> None:
    def bowl(place: int) -> int:
        return abs(place - 7)

    found = explored(range(3), bowl, is_open=lambda tried, end: tried[end] == min(tried.values()), most=9)
    assert list(found) == [0, 1, 2, 3, 4, 5, 6, 7, 8], "one beyond the best"
    few = explored(range(3), bowl, is_open=lambda tried, end: tried[end] == min(tried.values()), most=2)
    assert list(few) == [0, 1, 2, 3, 4]


def test_working_rates_are_one_row_about_the_best() -> None:
    errors = {0.1: 0.20, 1.0: 0.29, 10.0: 0.21, 100.0: 0.20, 1000.0: 0.22, 1e4: 0.23}
    assert near_best(errors, 100.0, 0.02) == (10.0, 1000.0)


def made(rule: str, passes: tuple[int, ...]) -> Swept:
    return Swept(rule, rule, {0.1: passes}, {1: 0.1, 2: 0.1}, {0.1: passes}, open_end=True, seconds=1.0)


def test_numbers_of_a_sweep_by_hand() -> None:
    sign, other = made("sign", (0, 1, 3, 5, -1, -1, -1, -1)), made("adam", (0, 3, 3, 3, 3, 5, 5, -1))
    found = Attackers("model", "Linf eps 0.1", 8, 8, 1, (sign, other))
    assert (cost(0), cost(2)) == (1, 5)
    assert sign.course() == (6 / 8, 5 / 8, 4 / 8)
    assert other.course() == (7 / 8, 3 / 8, 1 / 8)
    assert other.spent() == (3 * 4 + 5 * 3) / 7
    assert (sign.until_success(), other.until_success()) == (3.0, (3 * 4 + 5 * 2) / 6)
    assert spent(other.reported[0.1], 1) == 3.0
    assert math.isnan(spent((0, 0), 2))
    assert (left((0, 3, -1), 1), left((0, 3, -1), 0)) == (1 / 3, 2 / 3)
    assert (found.lowest, sign.passes_to(0.5), sign.passes_to(0.49), other.passes_to(1.0)) == (1 / 8, 5, None, 1)
    at = found.compared(other, 2)
    assert (at.difference, at.only_sign, at.only_rule, at.p_value) == (-3 / 8, 3, 0, 0.25)
    assert found.corrected(2) == {"adam": 0.25}
    assert found.clean.count == 7
    told = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert told["rules"][1]["steps"]["2"]["robust"]["count"] == 1


def test_complete_sweeps_are_taken_over_and_found_again(
    subject: Given, whole: Whole, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish = import_module("robustlab.studies.sweep.publish")
    monkeypatch.setattr(publish, "SUBJECTS", (subject,))
    monkeypatch.setattr(publish, "REGIMES", ())
    monkeypatch.setattr(publish, "SEEDS", 2)
    monkeypatch.setattr(publish, "Spend", lambda: SMALL)
    assert publish.take_over(whole.folder, tmp_path / "kept") == ["attackers-halves"]
    sweep = DRIVER.Sweep(subject, SMALL, 2, DRIVER.Lab(Path(), 0))
    assert sweep.done(published("attackers-halves", tmp_path / "kept")) == whole.found
    assert publish.take_over(tmp_path / "nothing", tmp_path / "kept") == []
    with pytest.raises(MissingError, match="has no result tuning-sign-"):
        sweep.done(published("attackers-other", tmp_path / "kept"))
    (tmp_path / "kept" / "attackers-halves.json").write_text("[{}]")
    with pytest.raises(RunError, match="holds no results of a sweep"):
        published("attackers-halves", tmp_path / "kept")


@pytest.mark.slow
def test_page_of_the_guide_is_that_of_the_results() -> None:
    from robustlab.studies.sweep.page import page

    stored = Path(__file__).parents[2] / "docs" / "guide" / "optimizers.md"
    assert stored.read_text(encoding="utf-8") == page(), "write it anew: python docs/make_optimizers.py"
