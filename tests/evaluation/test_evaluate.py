from __future__ import annotations

import copy
import json
import random
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import FGSM, PGD, RandomNoise, Restarts, Targeted, WorstOf
from robustlab.core import Attack, Linf, Stop, ThreatModel, subset
from robustlab.core.types import Model
from robustlab.evaluation import WORST, Evaluation, Settings, evaluate
from robustlab.runs import tensors as files

if TYPE_CHECKING:
    from tests.evaluation.conftest import Digits, Moved, Points, Threshold

QUIET = Settings(doctor=False)
THREAT = ThreatModel(Linf(), 0.1)


def distances(data: Points, ids: Tensor) -> Tensor:
    return (data.batch(ids).x[:, 0].double() - 0.5).abs()


def test_the_numbers_are_those_of_the_closed_form(points: type[Points], threshold: Threshold) -> None:
    ids = torch.arange(500)
    got = evaluate(threshold, points(500), attacks=[FGSM(THREAT)], eps=[0.05, 0.2], settings=QUIET)
    assert (got.clean.accuracy.count, got.clean.accuracy.n) == (500, 500)
    for eps in (0.05, 0.2):
        result = got.result("FGSM", eps)
        fooled = int((distances(points(1000), ids) < eps).sum())
        assert result.robust.count == 500 - fooled
        assert (result.success.count, result.success.n) == (fooled, 500)
        assert result.sizes.n == fooled
        assert sum(c.n for c in result.per_class) == 500
        assert sum(c.robust for c in result.per_class) == result.robust.count
        assert sum(n for true, predicted, n in result.confusion.cells if true != predicted) == fooled
    small, large = got.results
    assert (small.reused, large.reused) == (0, small.success.count)
    assert large.attacked == 500 - small.success.count
    assert large.sizes.linf.max <= 0.2
    assert small.queries.backward == 1


def test_what_the_model_gets_wrong_is_not_attacked(threshold: Threshold) -> None:
    x = torch.tensor([[0.8], [0.45], [0.7], [0.9]])
    y = torch.tensor([0, 0, 1, 1])  # the first is labelled against the model
    got = evaluate(threshold, (x, y), attacks=[PGD(THREAT)], settings=QUIET)
    result = got.results[0]
    assert (got.clean.accuracy.count, result.attacked) == (3, 3)
    assert (result.success.count, result.success.n) == (1, 3)
    assert (result.robust.count, result.robust.n) == (2, 4)
    assert result.confusion.cells == ((0, 1, 2), (1, 1, 2))
    assert got.clean.confusion.cells == ((0, 0, 1), (0, 1, 1), (1, 1, 2))


def test_a_sample_is_the_one_that_core_draws(points: type[Points], threshold: Threshold) -> None:
    got = evaluate(threshold, points(1000), attacks=[FGSM(THREAT)], n=60, settings=Settings(doctor=False, seed=3))
    ids = subset(1000, 60, 3)
    assert got.results[0].robust.count == int((distances(points(1000), ids) >= 0.1).sum())
    assert (got.data.n, got.data.population) == (60, 1000)
    assert "simple random sample" in got.data.drawn
    assert "seed 3" in got.data.drawn


@pytest.mark.slow
def test_memory_does_not_grow_with_the_number_of_examples(points: type[Points], threshold: Threshold) -> None:
    data = points(5000)
    evaluate(threshold, data, attacks=[FGSM(THREAT)], settings=QUIET)
    assert data.largest <= 128


@pytest.mark.slow
@pytest.mark.parametrize("attack", [PGD(THREAT, 5), RandomNoise(THREAT), Restarts(RandomNoise(THREAT), 3)])
def test_the_batch_size_does_not_matter(attack: PGD, digits: Digits, standard: nn.Module) -> None:
    wide = standard.double()
    results = [
        evaluate(wide, digits.test, attacks=[attack], n=100, settings=Settings(doctor=False, batch_size=size)).results[
            0
        ]
        for size in (7, 100)
    ]
    standard.float()
    assert results[0].robust == results[1].robust
    assert results[0].sizes.l2.mean == pytest.approx(results[1].sizes.l2.mean)


@pytest.mark.slow
def test_the_curve_falls_and_says_what_it_reused(digits: Digits, standard: nn.Module) -> None:
    budgets = [0.2, 0.05, 0.1]
    got = evaluate(standard, digits.test, attacks=[FGSM(THREAT), PGD(THREAT)], eps=budgets, n=200, settings=QUIET)
    assert [c.attack for c in got.curves] == ["FGSM", "PGD-10", WORST]
    for curve in got.curves:
        values = [p.robust.value for p in curve.points]
        assert [p.eps for p in curve.points] == [0.0, 0.05, 0.1, 0.2]
        assert values == sorted(values, reverse=True)
        assert values[0] == got.clean.accuracy.value
    found = got.curves[1].points
    assert [p.reused for p in found[1:]] == [0, *(r.success.count for r in got.results[3:5])]
    again = found[-1].recheck
    assert again is not None
    assert 0 < again.n <= found[-1].reused
    assert found[1].recheck is None


def test_the_worst_case_is_per_example(threshold: Threshold, moved: type[Moved]) -> None:
    x = torch.tensor([[0.46], [0.44], [0.7]])
    up, down = moved(0.05, 0.06), moved(-0.05, 0.06)
    y = torch.tensor([0, 0, 1])
    got = evaluate(threshold, (x, y), attacks={"up": up, "down": down, "more": moved(0.06, 0.06)}, settings=QUIET)
    assert [r.robust.count for r in got.results] == [2, 3, 2]
    assert got.worst[0].robust.count == 2
    assert got.worst[0].attacks == ("up", "down", "more")
    other = evaluate(threshold, (x, y), attacks={"up": up, "down": moved(-0.25, 0.3)}, settings=QUIET)
    assert [(w.eps, w.robust.count) for w in other.worst] == [(0.06, 2), (0.3, 2)]


@dataclass(frozen=True)
class OnlySmall:
    """A stand-in for an attack that fails where it has more room."""

    threat: ThreatModel

    def __call__(
        self,
        model: Model,
        x: Tensor,
        y: Tensor,
        *,
        target: Tensor | None = None,
        stop: Stop = "success",
        seed: int = 0,
        ids: Tensor | None = None,
    ) -> Tensor:
        del model, target, stop, seed, ids
        eps = self.threat.eps
        assert isinstance(eps, float)
        move = 0.9 * eps if eps < 0.15 else 0.0
        return (x + move * (1 - 2 * y[:, None])).clamp(0, 1)


def test_a_curve_that_hides_a_fault_is_found_out(points: type[Points], threshold: Threshold) -> None:
    attack = OnlySmall(THREAT)
    got = evaluate(threshold, points(400), attacks={"odd": attack}, eps=[0.1, 0.2], settings=QUIET)
    point = got.curves[0].points[2]
    assert point.reused == got.results[0].success.count > 32
    assert point.recheck is not None
    assert (point.recheck.n, point.recheck.disagreements) == (max(32, -(-point.reused // 10)),) * 2
    (finding,) = got.findings
    assert (finding.code, finding.severity) == ("reuse-disagrees", "warning")
    assert finding.evidence["disagreements"] == point.recheck.n


def test_x_adv_that_breaks_the_budget_is_refused(threshold: Threshold, moved: type[Moved]) -> None:
    x, y = torch.tensor([[0.3], [0.4], [0.45]]), torch.tensor([0, 0, 0])
    got = evaluate(threshold, (x, y), attacks={"greedy": moved(0.25, 0.2)}, settings=QUIET)
    result = got.results[0]
    assert (result.outside, result.success.count, result.robust.count) == (3, 0, 3)
    assert result.confusion.cells == ((0, 0, 3),)
    assert [f.code for f in got.findings] == ["outside-budget"]
    beyond = evaluate(threshold, (x, y), attacks={"greedy": moved(-0.35, 0.4)}, settings=QUIET)
    assert beyond.results[0].outside == 1  # 0.3 - 0.35 is out of bounds


def test_an_attack_of_another_shape_is_refused(points: type[Points], threshold: Threshold) -> None:
    @dataclass(frozen=True)
    class Flat:
        threat: ThreatModel

        def __call__(self, model: Model, x: Tensor, y: Tensor, **_: object) -> Tensor:
            del model, y
            return x[:1]

    with pytest.raises(ValueError, match=r"the attack returned \(1, 1\) for inputs \(10, 1\)"):
        evaluate(threshold, points(10), attacks={"flat": Flat(THREAT)}, settings=QUIET)


class Blind(nn.Module):
    """Gives NaN for inputs in a band beside the threshold, as a detector might."""

    def __init__(self, inner: nn.Module, low: float, high: float) -> None:
        super().__init__()
        self.inner, self.low, self.high = inner, low, high

    def forward(self, x: Tensor) -> Tensor:
        band = (x[:, :1] > self.low) & (x[:, :1] < self.high)
        return torch.where(band, torch.full_like(x, torch.nan), self.inner(x))


@pytest.mark.parametrize("attack", [FGSM(THREAT), PGD(THREAT, 5), Restarts(PGD(THREAT, 3), 2)], ids=repr)
def test_nan_at_adversarial_points_never_counts_as_robust(attack: PGD, threshold: Threshold) -> None:
    x = torch.linspace(0.35, 0.49, 15)[:, None]
    y = torch.zeros(15, dtype=torch.int64)
    blind = evaluate(Blind(threshold, 0.495, 1.0), (x, y), attacks=[attack], settings=QUIET)
    plain = evaluate(threshold, (x, y), attacks=[attack], settings=QUIET)
    assert blind.clean.nonfinite == 0
    assert blind.results[0].robust.count <= plain.results[0].robust.count
    assert blind.results[0].nonfinite > 0
    serious = [f for f in blind.findings if f.severity == "serious"]
    assert [f.code for f in serious] == ["nan-under-attack"]
    assert serious[0].evidence["nan"] == blind.results[0].nonfinite


def test_nan_on_clean_inputs_counts_as_wrong_and_is_found(threshold: Threshold) -> None:
    x, y = torch.tensor([[0.05], [0.2], [0.45], [0.9]]), torch.tensor([0, 0, 0, 1])
    got = evaluate(Blind(threshold, 0.15, 0.25), (x, y), attacks=[FGSM(THREAT)], settings=QUIET)
    assert (got.clean.accuracy.count, got.clean.nonfinite) == (3, 1)
    assert (0, -1, 1) in got.clean.confusion.cells
    assert [f.code for f in got.findings] == ["nan-logits"]


def test_minus_infinity_is_a_class_that_cannot_be(points: type[Points], threshold: Threshold) -> None:
    def masked(x: Tensor) -> Tensor:
        return torch.cat([threshold(x), torch.full((len(x), 1), -torch.inf)], dim=1)

    got = evaluate(masked, points(50), attacks=[FGSM(THREAT)], settings=QUIET)
    assert got.clean.nonfinite == 0
    assert got.results[0].nonfinite == 0


def test_stages_and_restarts_are_recorded_row_by_row(
    readable: Path, points: type[Points], threshold: Threshold
) -> None:
    parts = WorstOf((FGSM(THREAT), Restarts(RandomNoise(THREAT), 2)))
    plain = evaluate(threshold, points(300), attacks=[FGSM(THREAT)], settings=QUIET)
    got = evaluate(threshold, points(300), attacks=[parts], out=readable, settings=QUIET)
    result, fooled = got.results[0], plain.results[0].success.count
    assert [s.stage for s in result.stages] == ["FGSM", "RandomNoise, restart 1", "RandomNoise, restart 2"]
    assert [(s.attacked, s.fooled) for s in result.stages] == [(300, fooled), (300 - fooled, 0), (300 - fooled, 0)]
    assert (result.robust.count, result.attacked) == (300 - fooled, 300)
    database = sqlite3.connect(readable / "outcomes.sqlite")
    found = database.execute("SELECT stage, restart, count(*) FROM outcomes GROUP BY stage, restart").fetchall()
    database.close()
    assert found == [(0, 0, 300), (1, 0, 300 - fooled), (1, 1, 300 - fooled)]


@pytest.mark.parametrize("wrap", [lambda a: Restarts(a, 3), lambda a: WorstOf((FGSM(a.threat), Restarts(a, 3)))])
def test_parts_run_one_by_one_find_what_the_whole_finds(
    wrap: Callable[[PGD], Attack], digits: Digits, standard: nn.Module, readable: Path
) -> None:
    attack = wrap(PGD(ThreatModel(Linf(), 0.08), 3))
    settings = Settings(doctor=False, batch_size=150)
    got = evaluate(standard, digits.test, attacks=[attack], n=150, out=readable, settings=settings)
    ids = subset(len(digits.y_test), 150)
    with torch.no_grad():
        ids = ids[standard(digits.x_test[ids]).argmax(1) == digits.y_test[ids]]
    x, y = digits.x_test[ids], digits.y_test[ids]
    whole = dict(zip(ids.tolist(), attack(standard, x, y, ids=ids), strict=True))
    database = sqlite3.connect(readable / "outcomes.sqlite")
    query = "SELECT id, file FROM outcomes JOIN batches USING (attack, stage, restart, batch) WHERE fooled AND restart"
    late = database.execute(query).fetchall()
    database.close()
    assert len(late) == sum(s.fooled for s in got.results[0].stages[1:] if "restart 1" not in s.stage) > 0
    for number, file in late:
        torch.testing.assert_close(files.read_row(readable / file, number), whole[number])


def test_targets_are_recorded_and_counted(digits: Digits, standard: nn.Module) -> None:
    attack = Targeted(PGD(THREAT, 20), "next")
    got = evaluate(standard, digits.test, attacks=[attack], eps=[0.1, 0.3], n=100, settings=QUIET)
    small, large = got.results
    assert got.attacks[0].targeted
    assert small.target_reached is not None
    assert large.target_reached is not None
    assert 0 < small.target_reached.count < large.target_reached.count <= large.success.count
    assert large.reused == small.target_reached.count
    moves = [(p - t) % 10 == 1 for t, p, n in large.confusion.cells for _ in range(n) if t != p]
    assert sum(moves) >= large.target_reached.count
    assert all(item.target == (item.label + 1) % 10 for item in got.gallery)


def test_the_model_and_the_world_are_left_as_they_were(digits: Digits, with_norm: nn.Module) -> None:
    model = with_norm.train()
    model[3].eval()  # type: ignore[index]  # a Sequential
    next(model.parameters()).grad = torch.ones_like(next(model.parameters()))
    modes = [part.training for part in model.modules()]
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002 -- the legacy state is what must not move
    torch.manual_seed(1)
    expected = (random.random(), float(np.random.rand()), float(torch.rand(())))  # noqa: NPY002
    random.seed(1)
    np.random.seed(1)  # noqa: NPY002
    torch.manual_seed(1)
    got = evaluate(model, digits.test, attacks=[PGD(THREAT, 3)], n=40)
    assert (random.random(), float(np.random.rand()), float(torch.rand(()))) == expected  # noqa: NPY002
    assert [part.training for part in model.modules()] == modes
    assert all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())
    assert torch.equal(next(model.parameters()).grad, torch.ones_like(next(model.parameters())))  # type: ignore[arg-type]
    next(model.parameters()).grad = None
    assert got.clean.accuracy.value > 0.8
    assert [f.code for f in got.findings] == ["training-mode"]
    model.eval()


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_a_model_is_asked_in_its_own_precision(dtype: torch.dtype, digits: Digits) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10)).to(dtype)
    got = evaluate(model, digits.test, attacks=[PGD(THREAT, 2)], n=40, settings=QUIET)
    assert got.model.dtype == got.run.dtype == str(dtype).removeprefix("torch.")
    assert got.results[0].outside == 0


def test_the_manifest_says_what_is_needed_to_run_it_again(readable: Path, digits: Digits, standard: nn.Module) -> None:
    settings = Settings(seed=5, batch_size=50, name="mine", command="as typed")
    got = evaluate(standard, digits.test, attacks=[FGSM(THREAT)], n=60, out=readable, settings=settings)
    manifest = json.loads((readable / "manifest.json").read_text())
    assert manifest["run"]["command"] == "as typed"
    assert {"robustlab", "torch", "python"} <= set(manifest["run"]["versions"])
    assert (manifest["run"]["seed"], manifest["run"]["batch_size"], manifest["run"]["threads"]) == (5, 50, 1)
    assert manifest["model"] == {**manifest["model"], "name": "mine", "classes": 10}
    assert manifest["model"]["parameters"] == sum(p.numel() for p in standard.parameters())
    assert manifest["attacks"][0]["repr"] == repr(FGSM(THREAT))
    assert got.run.seconds > 0
    written = Evaluation.from_json(json.loads((readable / "report.json").read_text()))
    assert written.to_json() == got.to_json()
    assert sorted(p.name for p in readable.iterdir() if p.name != ".lock") == [
        "adversarial",
        "manifest.json",
        "outcomes.sqlite",
        "report.json",
    ]


def test_hashes_follow_content(digits: Digits, standard: nn.Module) -> None:
    x, y = digits.x_test[:40].clone(), digits.y_test[:40]
    first = evaluate(standard, (x, y), attacks=[FGSM(THREAT)], settings=QUIET)
    again = evaluate(standard, (x, y), attacks=[FGSM(THREAT)], settings=Settings(doctor=False, batch_size=7))
    assert (first.data.sha256, first.model.sha256) == (again.data.sha256, again.model.sha256)
    x[39, 0, 7, 7] = 0.5
    assert evaluate(standard, (x, y), attacks=[FGSM(THREAT)], settings=QUIET).data.sha256 != first.data.sha256
    with torch.no_grad():
        next(standard.parameters())[0, 0, 0, 0] += 1e-3
    changed = evaluate(standard, digits.test, attacks=[FGSM(THREAT)], n=40, settings=QUIET).model.sha256
    with torch.no_grad():
        next(standard.parameters())[0, 0, 0, 0] -= 1e-3
    assert changed != first.model.sha256


def test_a_temporary_run_leaves_nothing_behind(points: type[Points], threshold: Threshold) -> None:
    got = evaluate(threshold, points(100), attacks=[FGSM(THREAT)], settings=QUIET)
    home = got.directory
    assert home is not None
    assert (home / "report.json").exists()
    del got
    assert not home.exists()


@pytest.mark.parametrize(("here", "elsewhere"), [(True, False), (False, True)])
def test_a_search_left_open_is_the_faster_one_and_stays_it_elsewhere(
    digits: Digits, standard: nn.Module, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, here: bool, elsewhere: bool
) -> None:
    settings, wanted = Settings(doctor=False, search_dtype="auto"), "bfloat16" if here else "float32"
    for faster in (here, elsewhere):
        monkeypatch.setattr("robustlab.evaluation.subject.bf16_is_faster", lambda _, faster=faster: faster)
        got = evaluate(standard, digits.test, attacks=[FGSM(THREAT)], n=20, settings=settings, out=tmp_path)
        assert got.run.search_dtype == wanted
        (tmp_path / "report.json").unlink()
    narrow = copy.deepcopy(standard).to(torch.float64)
    got = evaluate(narrow, digits.test, attacks=[FGSM(THREAT)], n=20, settings=settings)
    assert got.run.search_dtype == "float64", "only what is in float32 may be searched in less"
    with pytest.raises(ValueError, match=r"search_dtype must be a torch\.dtype.* auto.* or None, got 'bf16'"):
        Settings(search_dtype="bf16")  # type: ignore[arg-type]


def test_a_search_in_low_precision_is_judged_in_full(digits: Digits, standard: nn.Module) -> None:
    settings = Settings(doctor=False, search_dtype=torch.bfloat16)
    got = evaluate(standard, digits.test, attacks=[PGD(THREAT, 10)], n=100, settings=settings)
    full = evaluate(standard, digits.test, attacks=[PGD(THREAT, 10)], n=100, settings=QUIET)
    assert (got.run.dtype, got.run.search_dtype) == ("float32", "bfloat16")
    assert abs(got.results[0].robust.count - full.results[0].robust.count) <= 5
