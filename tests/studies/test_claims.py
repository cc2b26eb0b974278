"""Claims without their experiments: units on disk, resuming, definitions, verdicts, pages."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, make_dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from robustlab.core import Metrics, RunError
from robustlab.runs import Progress
from robustlab.studies import CLAIMS, FULL, QUICK, Arm, Claim, Effect, Term, known, reproduce
from robustlab.studies.claim_engine import pretraining, table
from robustlab.studies.claim_engine.claim import LONGEST
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.network import Balanced, Network, Sampled, Site, Trained
from robustlab.studies.claim_engine.outcome import outcome
from robustlab.studies.claim_engine.record import PUBLISHED
from robustlab.studies.claims.networks import Maxout, linear, maxout
from robustlab.training import standard


@dataclass(frozen=True)
class Scored:
    """Scores: networks of one epoch get less than those of two, and every seed a little more."""

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        assert isinstance(model, nn.Linear)
        return {"score": 0.1 * model.out_features + 0.001 * lab.seed}


CLAIM = Claim(
    name="more-epochs",
    statement="Two epochs are better than one.",
    paper="nobody",
    published="0.2 to 0.1",
    ours="the same",
    arms=(Arm("one", Network(standard(), epochs=1)), Arm("two", Network(standard(), epochs=2))),
    measures=(Scored(),),
    effects=(Effect("score of two epochs over one", Term("two", "score"), Term("one", "score"), smallest=0.05),),
    minutes=1,
)


@dataclass
class Bench:
    """Counts trainings, and stops at a given one."""

    trained: int = 0
    stop_at: int = -1

    def train(self, lab: Lab, network: Network) -> Trained:
        if self.trained == self.stop_at:
            raise KeyboardInterrupt
        self.trained += 1
        lab.report(Progress("train", 1, 2, detail="epoch 1"))
        model = nn.Linear(1, network.epochs)
        return Trained(model, model, 2.0)


@pytest.fixture
def bench(monkeypatch: pytest.MonkeyPatch) -> Bench:
    """One claim, whose networks need no training."""
    made = Bench()
    use(monkeypatch, CLAIM)
    monkeypatch.setattr(Lab, "trained", lambda lab, network: made.train(lab, network))
    return made


def use(monkeypatch: pytest.MonkeyPatch, claim: Claim) -> None:
    """The only claim."""
    monkeypatch.setattr(import_module("robustlab.studies.reproduce"), "CLAIMS", (claim,))


def test_claim_is_reproduced_over_seeds_and_every_unit_is_on_disk(tmp_path: Path, bench: Bench) -> None:
    (found,) = reproduce(out=tmp_path)
    assert (found.verdict, found.seeds, bench.trained) == ("reproduced", (0, 1, 2), 6)
    (effect,) = found.effects
    assert effect.values == pytest.approx([0.1] * 3)
    assert (effect.mean, effect.low, effect.high) == pytest.approx((0.1, 0.1, 0.1))
    assert sorted(p.name for p in (tmp_path / "more-epochs").iterdir()) == [
        f"{arm}-{seed}.json" for arm in ("one", "two") for seed in range(3)
    ]
    unit = json.loads((tmp_path / "more-epochs" / "two-1.json").read_text())
    assert unit["metrics"] == pytest.approx({"training_seconds": 2.0, "score": 0.201})
    assert (unit["arm"], unit["seed"], unit["training_seconds"]) == ("two", 1, 2.0)
    assert unit["command"] == "robustlab reproduce more-epochs"
    assert unit["versions"]["torch"] == torch.__version__
    assert unit["definition"] == CLAIM.definition(CLAIM.arms[1], FULL)
    assert found.seconds >= 12.0


def test_finished_work_is_not_repeated_after_a_stop(tmp_path: Path, bench: Bench) -> None:
    bench.stop_at = 3
    with pytest.raises(KeyboardInterrupt):
        reproduce(out=tmp_path)
    bench.stop_at = -1
    seen = list[Progress]()
    (found,) = reproduce(out=tmp_path, progress=seen.append)
    assert bench.trained == 6
    assert [(at.done, at.total) for at in seen if at.task == "done before"] == [(1, 6), (2, 6), (3, 6)]
    assert [at.part.split(", ")[1:] for at in seen if at.task == "train"] == [
        ["two", "seed 1"],
        ["one", "seed 2"],
        ["two", "seed 2"],
    ]
    assert found.verdict == "reproduced"


def test_moved_bar_or_changed_experiment_invalidates_results_but_other_words_do_not(
    tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    reproduce(out=tmp_path)
    (effect,) = CLAIM.effects
    use(monkeypatch, replace(CLAIM, statement="Said better.", effects=(replace(effect, what="score"),)))
    reproduce(out=tmp_path)
    assert bench.trained == 6
    use(monkeypatch, moved := replace(CLAIM, effects=(replace(effect, smallest=0.09),)))
    assert outcome(moved, tmp_path).seeds == ()
    reproduce(out=tmp_path)
    assert bench.trained == 12
    longer = Arm("two", Network(standard(), epochs=2, batch_size=64))
    use(monkeypatch, replace(moved, arms=(moved.arms[0], longer)))
    reproduce(out=tmp_path)
    assert bench.trained == 15, "one arm of three seeds"


def test_effect_below_the_bar_is_not_reproduced(tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, replace(CLAIM, effects=(replace(CLAIM.effects[0], smallest=0.11),)))
    assert reproduce(out=tmp_path)[0].verdict == "not reproduced"
    assert bench.trained == 6


def test_too_few_seeds_are_no_evidence_and_more_are_added(tmp_path: Path, bench: Bench) -> None:
    assert reproduce(out=tmp_path, seeds=2)[0].verdict == "not enough evidence"
    (found,) = reproduce(out=tmp_path, seeds=4)
    assert (found.verdict, found.seeds, bench.trained) == ("reproduced", (0, 1, 2, 3), 8)


def test_dry_run_has_a_folder_of_its_own_and_no_verdict(tmp_path: Path, bench: Bench) -> None:
    (found,) = reproduce(out=tmp_path, budget=QUICK, seeds=1)
    assert found.budget == QUICK
    assert (tmp_path / "quick" / "more-epochs" / "one-0.json").exists()
    assert known(out=tmp_path)[0].seeds == ()
    reproduce(out=tmp_path, seeds=1)
    assert bench.trained == 4


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "is no result of a claim"),
        ('{"seed": 0}', "is no result of a claim"),
        (None, "is the result of another unit"),
    ],
)
def test_damaged_results_are_named_and_not_overwritten(
    text: str | None, said: str, tmp_path: Path, bench: Bench
) -> None:
    reproduce(out=tmp_path, seeds=1)
    folder = tmp_path / "more-epochs"
    path = folder / "one-0.json"
    path.write_text((folder / "two-0.json").read_text() if text is None else text)
    with pytest.raises(RunError, match=f"one-0.json {said}.*remove it"):
        reproduce(out=tmp_path, seeds=1)
    assert bench.trained == 2


def test_directory_that_cannot_be_written_is_a_clear_error(tmp_path: Path, bench: Bench) -> None:
    (tmp_path / "more-epochs").write_text("a file in the way")
    with pytest.raises(RunError, match="cannot be written"):
        reproduce(out=tmp_path, seeds=1)
    assert bench.trained == 1


def test_wrong_use_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no claim is called 'magic': there are fgsm-fools-linear-and-maxout, "):
        reproduce(["magic"], out=tmp_path)
    with pytest.raises(ValueError, match="at least one seed is needed, for a verdict 3, got 0"):
        reproduce(out=tmp_path, seeds=0)


def test_ratios_are_averaged_by_their_logarithms(tmp_path: Path, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    use(monkeypatch, replace(CLAIM, effects=(replace(CLAIM.effects[0], smallest=1.5, ratio=True),)))
    (found,) = reproduce(out=tmp_path)
    (effect,) = found.effects
    assert effect.values == pytest.approx([0.2 / 0.1, 0.201 / 0.101, 0.202 / 0.102])
    assert effect.mean == pytest.approx((0.2 / 0.1 * 0.201 / 0.101 * 0.202 / 0.102) ** (1 / 3))
    assert 1.5 < effect.low < effect.mean < effect.high
    assert found.verdict == "reproduced"
    assert table.found(effect) == f"{effect.mean:.3g}x [{effect.low:.3g}x, {effect.high:.3g}x]"
    assert bench.trained == 6


def test_number_that_was_not_measured_is_no_evidence() -> None:
    effect = Effect("a ratio", Term("a", "x"), Term("b", "x"), smallest=2.0, ratio=True)
    assert str(effect.value({"a": {"x": 1.0}})) == "nan"
    assert str(effect.value({"a": {"x": 1.0}, "b": {"x": 0.0}})) == "nan"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"seeds": 2}, "a verdict needs 3 seeds or more, got 2"),
        ({"effects": ()}, "a claim needs at least one effect"),
        ({"name": "No Name"}, "need names of small letters"),
        ({"arms": (CLAIM.arms[0], CLAIM.arms[0])}, "all different"),
        ({"arms": CLAIM.arms[:1]}, "'score of two epochs over one' names two, not an arm"),
        ({"effects": (replace(CLAIM.effects[0], smallest=0.0, ratio=True),)}, "smallest ratio must be positive"),
        ({"minutes": 2 * LONGEST + 1}, "2 arms would take 61 minutes a seed"),
    ],
)
def test_claims_that_could_not_be_judged_are_refused(change: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(CLAIM, **change)  # type: ignore[arg-type]  # wrong on purpose


def test_outcome_as_json_and_page(tmp_path: Path, bench: Bench) -> None:
    (before,) = known(out=tmp_path)
    assert table.state(before) == table.NOT_RUN
    (found,) = reproduce(out=tmp_path)
    said = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert (said["claim"], said["verdict"], said["seeds"]) == ("more-epochs", "reproduced", [0, 1, 2])
    assert said["effects"][0]["mean"] == pytest.approx(0.1)
    page = table.page([found])
    assert "| [more-epochs](#more-epochs) | Two epochs are better than one. | 0.2 to 0.1 | +0.100 [" in page
    assert "| score of two epochs over one +0.050 or more | +0.100 [+0.100, +0.100] | reproduced |" in page
    assert "| two | 2.000 | 0.201 |" in page
    assert bench.trained == 6


def test_definitions_hold_no_addresses_of_this_process() -> None:
    from robustlab.studies.claim_engine.definition import described

    assert " at 0x" in repr(rows_of)
    assert described(rows_of, 1) == "<function rows_of>\n1"
    assert " at 0x" not in described(*CLAIMS)


def test_definition_stays_when_a_class_gets_another_argument_with_a_default() -> None:
    from robustlab.studies.claim_engine.definition import described

    before = make_dataclass("Recipe", [("eps", float)], frozen=True)
    more: list[tuple[str, type, Any]] = [
        ("warmup", float, field(default=0.0)),
        ("steps", tuple, field(default_factory=tuple)),
    ]
    after = make_dataclass("Recipe", [("eps", float), *more], frozen=True)
    inside = make_dataclass("Network", [("recipe", object)], frozen=True)
    assert described(inside(before(0.1))) == described(inside(after(0.1))) == "Network(recipe=Recipe(eps=0.1))"
    assert described((inside(after(0.1, 0.3)),)) == "(Network(recipe=Recipe(eps=0.1, warmup=0.3)))"
    assert described(partial(inside, recipe=after(0.1, 0.0, (1,)))).endswith("recipe=Recipe(eps=0.1, steps=(1)))")


def test_page_of_the_guide_is_that_of_the_results() -> None:
    page = Path(__file__).parents[2] / "docs" / "guide" / "claims.md"
    assert page.read_text(encoding="utf-8") == table.page(known()), "write it anew: python docs/make_claims.py"


def test_tables_of_the_page_on_pretraining_are_those_of_the_results() -> None:
    stored = (Path(__file__).parents[2] / "docs" / "guide" / "pretraining.md").read_text(encoding="utf-8")
    assert stored == pretraining.filled(stored, known()), "write it anew: python docs/make_claims.py"
    assert all(f"<!-- {name} -->" in stored for name in pretraining.TABLES)
    with pytest.raises(ValueError, match="no table is called 'other'; there are natural, attacked, digits, small"):
        pretraining.filled("<!-- other -->\n<!-- end -->\n", ())


def test_rows_of_the_page_on_pretraining_are_arms_of_claims() -> None:
    rows = {(row.claim, row.arm) for wanted in pretraining.TABLES.values() for row in wanted.rows}
    assert rows <= {(claim.name, arm.name) for claim in CLAIMS for arm in claim.arms}


def test_every_result_that_comes_with_the_package_counts() -> None:
    files = set(PUBLISHED.rglob("*.json"))
    counted = {
        PUBLISHED / unit.claim / f"{unit.arm}-{unit.seed}.json"
        for claim in CLAIMS
        for unit in outcome(claim, PUBLISHED).units
    }
    assert files == counted, "a definition has changed: compute these anew, or remove them"


@pytest.mark.usefixtures("tiny")
def test_samples_of_training_data_are_disjoint_from_held_out_images(tmp_path: Path) -> None:
    lab = Lab(tmp_path, seed=3)
    chosen = Sampled(100)
    inside, outside = chosen.examples(lab), chosen.held_out(lab)
    assert len(inside) == 100
    assert not set(rows_of(inside)) & set(rows_of(outside))
    assert rows_of(inside) != rows_of(chosen.examples(replace(lab, seed=4)))
    with pytest.raises(ValueError, match="choose fewer, so that some can be held out"):
        Sampled().held_out(lab)


@pytest.mark.usefixtures("tiny")
def test_balanced_samples_have_as_many_of_each_class(tmp_path: Path) -> None:
    found = Balanced(7).examples(Lab(tmp_path, seed=0))
    y = found.batch(torch.arange(len(found))).y
    assert torch.bincount(y).tolist() == [7] * 10


def rows_of(part: object) -> list[int]:
    """Numbers in the whole data set."""
    rows = getattr(part, "rows")  # noqa: B009 -- of a part, which has them
    assert isinstance(rows, torch.Tensor)
    return [int(row) for row in rows]


def test_maxout_is_the_largest_of_its_pieces() -> None:
    unit = Maxout(1, 2, 2)
    with torch.no_grad():
        unit.linear.weight.copy_(torch.tensor([[1.0], [-1.0], [2.0], [0.0]]))
        unit.linear.bias.copy_(torch.tensor([0.0, 0.0, 0.0, 1.0]))
    assert unit(torch.tensor([[-3.0], [2.0]])).tolist() == [[3.0, 1.0], [2.0, 4.0]]
    assert maxout()(torch.rand(2, 1, 28, 28)).shape == linear()(torch.rand(2, 1, 28, 28)).shape == (2, 10)


def test_new_networks_leave_the_precision_open_and_results_of_bf16_are_found_still() -> None:
    from robustlab.studies.claim_engine.definition import described

    fresh = Network(standard())
    assert fresh.precision == "auto"
    assert described(fresh) == "Network(recipe=Standard(), precision='auto')"
    assert described(replace(fresh, precision="bf16")) == "Network(recipe=Standard())"
    assert described(replace(fresh, precision="fp32")) == "Network(recipe=Standard(), precision='fp32')"
