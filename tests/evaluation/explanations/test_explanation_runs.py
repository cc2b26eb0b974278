"""Run directories of explanations: read again, resumed, refused, and whole whatever happens."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
from explained import METHODS, WHOLE, explained, images, network  # type: ignore[import-not-found]
from torch import Tensor, nn

from robustlab.core import RunError
from robustlab.core.finding import Finding
from robustlab.evaluation import (
    ExplanationPlan,
    ExplanationSettings,
    Progress,
    explained_pictures,
    is_explanation_run,
    read_attacked,
    read_corruptions,
    read_explanations,
    read_maps,
    read_run,
    read_texts,
)
from robustlab.explain import NUMBERS, Case, Gradient, NumberSpec, explain, map_stability, measure
from robustlab.explain.checks import CheckOutcome, CheckSubject
from robustlab.explain.numbers import Subject

HERE = Path(__file__).parent


def test_maps_on_disk_are_those_of_the_call(tmp_path: Path) -> None:
    x, y = images()
    result = explained(out=tmp_path)
    for model, net in enumerate((network(), network(1))):
        ids, maps = read_maps(result, "gradient", model=model)
        assert ids.tolist() == list(range(10))
        own = explain("gradient", net, x, y)
        assert torch.allclose(maps.values, own.values, rtol=1e-5, atol=1e-7)
        assert torch.equal(maps.target, y)
    assert torch.allclose(explained_pictures(result), x[[p.id for p in result.pictures]], atol=0.5 / 255 + 1e-6)
    right = [int((net(x).argmax(1) == y).sum()) for net in (network(), network(1))]
    assert [one.count for one in result.accuracy] == right
    assert right[0] == 10 > right[1]


def test_the_explained_class_is_the_label_or_the_prediction(tmp_path: Path) -> None:
    x, y = images()
    result = explained(out=tmp_path, how={"target": "prediction"})
    assert torch.equal(read_maps(result, "gradient", model=1)[1].target, network(1)(x).argmax(1))
    assert not torch.equal(read_maps(result, "gradient", model=1)[1].target, y)


@pytest.mark.slow
def test_a_finished_run_is_read_and_not_computed_again(tmp_path: Path) -> None:
    told: list[Progress] = []
    first = explained(out=tmp_path, how={"progress": told.append})
    shares = [at.fraction for at in told]
    assert shares == sorted(shares)
    assert shares[-1] == 1
    told.clear()
    again = explained(out=tmp_path, how={"progress": told.append})
    assert told == []
    assert again == first == read_explanations(tmp_path)
    assert is_explanation_run(tmp_path)


def changed(path: Path) -> None:
    """Another file of the same shape: one byte in its middle differs."""
    content = bytearray(path.read_bytes())
    content[-40] ^= 1
    path.write_bytes(content)


def swapped(path: Path) -> None:
    """The sound file of another batch."""
    path.write_bytes(path.with_name(path.name.replace("00001", "00000")).read_bytes())


@pytest.mark.slow
@pytest.mark.parametrize("fault", [changed, swapped, Path.unlink])
@pytest.mark.parametrize("name", ["maps/1-gradient-00001.safetensors", "numbers/0-00001.safetensors"])
def test_a_damaged_file_is_made_anew(fault: Callable[[Path], None], name: str, tmp_path: Path) -> None:
    first, told = explained(out=tmp_path), list[Progress]()
    maps = read_maps(first, "gradient", model=1)[1].values
    fault(tmp_path / name)
    again = explained(out=tmp_path, how={"progress": told.append})
    assert len(told) == 1
    assert torch.equal(read_maps(again, "gradient", model=1)[1].values, maps)
    assert again.accuracy == first.accuracy
    assert again.run.sessions == 2


@pytest.mark.slow
def test_damage_is_told_by_readers_and_a_changed_result_is_drawn_anew(tmp_path: Path) -> None:
    first = explained(out=tmp_path)
    changed(tmp_path / "maps" / "0-gradient-00000.safetensors")
    with pytest.raises(RunError, match="is missing, or not what this run wrote"):
        read_maps(first, "gradient")
    record = json.loads((tmp_path / "explanations.json").read_text())
    record["accuracy"][0]["value"] = 0.25
    (tmp_path / "explanations.json").write_text(json.dumps(record))
    with pytest.raises(RunError, match="is not what the run wrote"):
        read_explanations(tmp_path)
    assert explained(out=tmp_path).accuracy == first.accuracy


@pytest.mark.slow
def test_another_run_is_refused_with_what_differs(tmp_path: Path) -> None:
    explained(out=tmp_path)
    for more, seen in (
        ({"model": network(2)}, "weights "),
        ({"compare": network(2)}, "weights of the compared model"),
        ({"compare": None}, "weights of the compared model"),
        ({"data": images(12)}, "data"),
        ({"n": 5}, "number of examples 10 there, 5 here"),
        ({"plan": ExplanationPlan(["gradient"], checks=())}, "methods"),
        ({"plan": ExplanationPlan(METHODS, ["sparsity"], ())}, "numbers"),
        ({"plan": ExplanationPlan(METHODS, checks=["zero-map"])}, "checks"),
        ({"how": {"target": "prediction"}}, "target label there, prediction here"),
        ({"how": {"seed": 3}}, "seed 0 there, 3 here"),
        ({"how": {"batch_size": 5}}, "batch size 4 there, 5 here"),
    ):
        with pytest.raises(RunError, match=f"holds another run .*{seen}"):
            explained(out=tmp_path, **more)
    for read, kind in ((read_run, "read_explanations"), (read_corruptions, "corrupted"), (read_texts, "texts")):
        with pytest.raises(RunError, match=kind):
            read(tmp_path)


def test_what_is_no_run_is_refused(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match=r"holds notes\.txt without a manifest"):
        explained(out=tmp_path)
    with pytest.raises(RunError, match="cannot be read"):
        read_explanations(tmp_path)


@pytest.mark.slow
def test_numbers_are_those_of_the_calls_paired_image_by_image(tmp_path: Path) -> None:
    x, y = images()
    result = explained(out=tmp_path)
    nets = (network(), network(1))
    found = [measure("gradient-x-input", net, x, y, ["sparsity", "alignment-cosine"]) for net in nets]
    for model, one in enumerate(found):
        for number, method in (("sparsity", "gradient-x-input"), ("alignment-cosine", "")):
            own, kept = one[number].interval(), result.result(number, method, model).mean
            assert (kept.value, kept.low, kept.high) == pytest.approx((own.value, own.low, own.high), rel=1e-5)
            assert (kept.n, result.result(number, method, model).undefined) == (10, 0)
    paired = {(one.number, one.method): one for one in result.differences}
    assert set(paired) == {(n, m) for n in ("sparsity", "roughness") for m in METHODS} | {("alignment-cosine", "")}
    values = [one["sparsity"].values for one in found]
    difference = paired["sparsity", "gradient-x-input"]
    assert difference.difference.value == pytest.approx(float((values[1] - values[0]).mean()), rel=1e-4)
    assert difference.p_value <= difference.corrected
    with pytest.raises(ValueError, match="was not measured"):
        result.result("sparsity", "")
    assert explained(out=tmp_path / "one", compare=None).differences == ()


@dataclass(frozen=True)
class Brightness:
    """A number from outside."""

    def __call__(self, subject: Subject) -> Tensor:
        return subject.x.double().flatten(1).mean(1)


def test_a_number_from_outside_is_in_the_run_by_value_and_by_name(tmp_path: Path) -> None:
    x, _ = images()
    mean = pytest.approx(float(x.mean()), rel=1e-5)
    by_value = explained(out=tmp_path / "one", plan=ExplanationPlan(["gradient"], {"brightness": Brightness()}, ()))
    assert by_value.result("brightness", "gradient").mean.value == mean
    NUMBERS.register("toy-brightness", NumberSpec(Brightness, "mean of the image", about="model"))
    try:
        by_name = explained(out=tmp_path / "two", plan=ExplanationPlan(["gradient"], ["toy-brightness"], ()))
    finally:
        NUMBERS.unregister("toy-brightness")
    assert by_name.result("toy-brightness").mean.value == mean
    assert explained(out=tmp_path / "three", plan=ExplanationPlan(["gradient"], (), ())).results == ()


@pytest.mark.slow
def test_checks_and_the_attack_are_those_of_the_calls(tmp_path: Path) -> None:
    x, y = images()
    result = explained(out=tmp_path, plan=WHOLE, how={"checked": 3, "attacked": 4, "pictures": 4})
    assert [(one.model, one.method, one.n) for one in result.checked] == [(0, "gradient", 3), (1, "gradient", 3)]
    assert [info.name for info in result.checks] == ["zero-map"]
    found = read_attacked(result, model=1)
    assert found["ids"].tolist() == [one.id for one in result.pictures]
    assert torch.equal(found["x"], x[found["ids"]])
    own = map_stability(WHOLE.attack, network(1), found["x"], y[found["ids"]], ids=found["ids"])
    assert torch.equal(own.attacked.x_adv, found["x_adv"])
    assert WHOLE.attack.threat.contains(found["x"], found["x_adv"]).all()
    assert torch.equal(network(1)(found["x"]).argmax(1), network(1)(found["x_adv"]).argmax(1))
    mean = result.result("cosine-under-attack", "gradient", 1).mean
    assert (mean.value, mean.n) == (pytest.approx(float(own.attack["cosine"].mean())), 4)
    assert {one.number for one in result.differences} > {"sparsity", "cosine-under-attack", "cosine-under-noise"}
    with pytest.raises(ValueError, match="no attacked maps of model 2"):
        read_attacked(result, model=2)
    assert explained(out=tmp_path / "none", plan=WHOLE, how={"checked": 0, "attacked": 0}).checked == ()


def test_findings_name_the_model_and_the_method(tmp_path: Path) -> None:
    plan = ExplanationPlan({"nothing": lambda case: torch.zeros_like(case.x), "gradient": Gradient()}, (), ["zero-map"])
    result = explained(out=tmp_path, plan=plan)
    assert {(one.model, one.method, one.finding.code) for one in result.found if one.method} == {
        (0, "nothing", "zero-map"),
        (1, "nothing", "zero-map"),
    }
    assert [one.zero for one in result.maps if one.method == "nothing"] == [10, 10]


def test_a_method_that_cannot_explain_the_model_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    for method, words in (("attention-rollout", "has no attention"), ("gradeint", "did you mean gradient")):
        with pytest.raises(ValueError, match=words):
            explained(out=tmp_path / "run", plan=ExplanationPlan(["gradient", method], checks=()))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("given", [{"methods": []}, {"numbers": "sparsity"}, {"checks": "zero-map"}])
def test_plans_that_make_no_sense_are_refused(given: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"name at least one|write \['"):
        ExplanationPlan(**given)  # type: ignore[arg-type]


@pytest.mark.parametrize("shape", [(3, 1, 1), (5,)])
def test_images_of_one_pixel_and_features_are_explained(shape: tuple[int, ...]) -> None:
    net = nn.Sequential(nn.Flatten(), nn.Linear(math.prod(shape), 3)).eval()
    x = torch.rand(9, *shape, generator=torch.Generator().manual_seed(0))
    plan = ExplanationPlan(["gradient-x-input", "occlusion"], ["sparsity"], ["completeness-violated"])
    result = explained(model=net, compare=None, data=(x, torch.arange(9) % 3), plan=plan)
    assert read_maps(result, "occlusion")[1].values.shape == (9, *shape)


class Always:
    """A check from outside."""

    def __repr__(self) -> str:
        return "Always()"

    def __call__(self, subject: CheckSubject) -> CheckOutcome:
        return CheckOutcome(Finding("toy-check", "warning", "It is a toy.", {"n": len(subject)}, "Leave it out."))


def test_a_check_from_outside_is_in_the_run(tmp_path: Path) -> None:
    result = explained(out=tmp_path, compare=None, plan=ExplanationPlan(["gradient"], (), {"toy": Always()}))
    assert [(one.method, one.finding.code) for one in result.found if one.method] == [("gradient", "toy-check")]
    with pytest.raises(ValueError, match="did you mean zero-map"):
        explained(out=tmp_path / "bad", plan=ExplanationPlan(["gradient"], (), ["zero-mpa"]))


class Reverse:
    """A method from outside."""

    def __repr__(self) -> str:
        return "Reverse()"

    def __call__(self, case: Case) -> Tensor:
        return -case.gradient(case.x)


def test_methods_from_outside_have_the_names_that_they_are_given(tmp_path: Path) -> None:
    plan = ExplanationPlan({"My method / 2": Reverse(), "g": Gradient()}, checks=())
    result = explained(out=tmp_path, plan=plan)
    assert [info.name for info in result.methods] == ["My method / 2", "g"]
    mine, ours = (read_maps(result, name)[1].values for name in ("My method / 2", "g"))
    assert torch.equal(mine, -ours)
    with pytest.raises(ValueError, match="no maps of 'occlusion'"):
        read_maps(result, "occlusion")


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"pictures": -1}, "pictures must be at least 0"),
        ({"level": 1.0}, "between 0 and 1"),
        ({"target": "truth"}, "target"),
    ],
)
def test_settings_that_make_no_sense_are_refused(settings: dict[str, object], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        ExplanationSettings(**settings)  # type: ignore[arg-type]


def test_models_and_data_are_left_as_they_were() -> None:
    net = network().train()
    before = {name: value.clone() for name, value in net.state_dict().items()}
    explained(model=net)
    assert net.training
    assert all(torch.equal(before[name], value) for name, value in net.state_dict().items())
    assert all(p.grad is None for p in net.parameters())


@pytest.mark.slow
def test_a_run_that_is_killed_at_any_write_ends_with_the_same_maps_and_numbers(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, HERE / "killed_explanations.py", tmp_path],
        capture_output=True, text=True, check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([*sys.path, str(HERE.parent)])},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["failures"] == {key: [] for key in found["failures"]}
    assert len(found["failures"]) > 6
    assert found["steps"][-1].endswith("manifest.json in place")
