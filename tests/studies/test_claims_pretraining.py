"""Claims on AdvProp and Noisy Student: training data, pseudo-labels of the student."""

from __future__ import annotations

from dataclasses import dataclass, replace
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from robustlab.attacks import FGSM
from robustlab.core import Examples, Linf, Metrics, ThreatModel
from robustlab.core.routes import routes_of
from robustlab.data.digits import digits
from robustlab.models import load, split_bn
from robustlab.studies import CLAIMS, Budget, Claim, reproduce
from robustlab.studies.claim_engine.hard import OnHard, WithoutHard
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.network import HARD, Fitted, Learner, Network, Sampled, Site, Trained
from robustlab.studies.claim_engine.taught import TaughtBy
from robustlab.studies.claim_engine.transferred import OnDigits
from robustlab.studies.claims import efficientnets
from robustlab.studies.claims.networks import resnet_of_equal_time, resnet_of_equal_work
from robustlab.training import NoisyStudent, standard

SMALL = Budget("small", images=300, epochs=1)


def multiply_adds(model: nn.Module) -> int:
    with FlopCounterMode(display=False) as counted, torch.no_grad():
        model.eval()(torch.rand(1, 1, 28, 28))
    return int(counted.get_total_flops() // 2)


def test_residual_network_of_equal_work_has_as_many_multiply_adds() -> None:
    efficientnet = load(efficientnets.VANILLA.architecture, classes=10, channels=1, size=28)
    ours = multiply_adds(efficientnet)
    assert ours == 3_301_296
    assert multiply_adds(resnet_of_equal_work()) == pytest.approx(1.1 * ours, rel=0.02)
    assert multiply_adds(resnet_of_equal_time()) == pytest.approx(10.4 * ours, rel=0.02)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("budget", [SMALL, Budget("whole")], ids=["small", "whole"])
def test_labelled_unlabelled_and_hard_images_share_none(tmp_path: Path, budget: Budget) -> None:
    lab = Lab(tmp_path, 2, budget, "cpu")
    first, second = WithoutHard(200), WithoutHard(250, after=200)
    labelled, unlabelled = (set(rows(part.examples(lab))) for part in (first, second))
    assert (len(labelled), len(unlabelled)) == (200, 250)
    assert not labelled & unlabelled
    hard = set(rows(lab.data(HARD)))
    assert hard & set(range(len(lab.data("train")))), "else nothing is kept out"
    assert not hard & (labelled | unlabelled)
    assert rows(first.examples(replace(lab, seed=3))) != rows(first.examples(lab))


def rows(part: Examples) -> list[int]:
    """Numbers in the whole data set."""
    return cast("list[int]", cast(Any, part).rows.tolist())


def test_hard_images_that_do_not_say_which_they_are_are_refused(tmp_path: Path) -> None:
    lab = Lab(tmp_path, 0, SMALL, "cpu", examples=digits("all", enlarged=True))
    with pytest.raises(ValueError, match="has no numbers of its images in digits all"):
        WithoutHard(5).examples(lab)


class Says(nn.Module):
    """Gives every image the same class."""

    def __init__(self, k: int) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.nn.functional.one_hot(torch.tensor(k), 10).float())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.logits.repeat(len(x), 1)


def test_accuracy_on_hard_images_is_over_all_of_them(tmp_path: Path, tiny: Budget) -> None:
    lab = Lab(tmp_path, 0, replace(tiny, test=None), "cpu")
    hard = lab.data(HARD)
    y = hard.batch(torch.arange(len(hard))).y
    for k in range(10):
        assert OnHard()(Says(k), lab) == {"hard_accuracy": float((y == k).double().mean())}


@dataclass(frozen=True, eq=False)
class Taught(Lab):
    """A lab whose networks need no training."""

    def trained(self, network: Learner | Fitted) -> Trained:
        del network
        return Trained(Says(3), Says(3), 0.0)


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("soft", [True, False])
def test_student_learns_from_the_teacher_and_no_label(tmp_path: Path, soft: bool) -> None:
    lab = Taught(tmp_path, 0, SMALL, "cpu")
    labelled = WithoutHard(20).examples(lab)
    recipe = TaughtBy(Network(standard()), WithoutHard(60, after=20), ratio=3, soft=soft).planned(lab, labelled)
    assert isinstance(recipe, NoisyStudent)
    assert recipe.ratio == 3
    assert len(recipe.pseudo) == 60
    targets = recipe.pseudo.targets(torch.arange(60))
    assert bool((targets.argmax(dim=1) == 3).all())
    assert float(targets[0].amax()) == pytest.approx(1.0 if not soft else 0.2320, abs=1e-3)
    assert not set(recipe.pseudo.examples.batch(torch.arange(60)).y.tolist()) - {0}


def test_routes_of_a_network_are_norms_of_their_own(tmp_path: Path, tiny: Budget) -> None:
    lab = Lab(tmp_path, 0, tiny, "cpu")
    assert routes_of(Network(standard(), routes=3).fresh(lab)) == 3
    assert routes_of(Network(standard()).fresh(lab)) == 1


@pytest.mark.slow
def test_fine_tuning_on_digits_leaves_the_network_as_it_was(tmp_path: Path, tiny: Budget) -> None:
    lab = Lab(tmp_path, 0, replace(tiny, images=None, epochs=5, test=100), "cpu")
    model = split_bn(load("residual-cnn", seed=0))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    found = OnDigits((("fgsm", FGSM(ThreatModel(Linf(), 0.1))),), head=1, body=5)(model, lab)
    assert set(found) == {"clean_accuracy", "fgsm_accuracy"}
    assert found["fgsm_accuracy"] <= found["clean_accuracy"]
    assert found["clean_accuracy"] > 0.3, "it has learned something"
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@dataclass(frozen=True)
class Counted:
    """Number of calls."""

    name: str
    asked: tuple[list[int], ...] = ([],)

    def __call__(self, model: nn.Module, lab: Site) -> Metrics:
        del model
        self.asked[0].append(lab.seed)
        return {"clean_accuracy": 0.5 + 0.1 * lab.seed}


def test_network_of_two_claims_is_measured_once_for_each_seed(
    tmp_path: Path, tiny: Budget, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure = Counted("one")
    like = next(claim for claim in CLAIMS if claim.name == "shared-mistakes")
    network = Network(standard(), Sampled(32), architecture="shallow-cnn", epochs=1)
    claims = tuple(_claim(like, name, network, measure) for name in ("first", "second"))
    monkeypatch.setattr(import_module("robustlab.studies.reproduce"), "CLAIMS", claims)
    done = reproduce(out=tmp_path, seeds=2, budget=tiny, device="cpu")
    assert measure.asked[0] == [0, 1]
    for outcome in done:
        assert [unit.metrics["clean_accuracy"] for unit in outcome.units] == [0.5, 0.6]


def _claim(like: Claim, name: str, network: Network, measure: Counted) -> Claim:
    effect = replace(like.effects[0], of=like.effects[0].of._replace(metric="clean_accuracy"), over=None)
    arm = replace(like.arms[0], network=network)
    return replace(like, name=name, arms=(arm,), measures=(measure,), effects=(effect,))
