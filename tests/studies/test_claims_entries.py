"""Every claim of the catalogue in tiny, on digits: it runs, resumes and is judged; its numbers have no meaning."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from robustlab.core import DataError, Recipe
from robustlab.runs import Progress
from robustlab.studies import CLAIMS, Budget, Claim, reproduce
from robustlab.studies.claim_engine.lab import Lab
from robustlab.studies.claim_engine.network import Network, PerturbedOnce, Sampled
from robustlab.training import VAT, standard

NAMES = [claim.name for claim in CLAIMS]


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of all claims, in which a network of several claims is trained once."""
    return tmp_path_factory.mktemp("claims")


@pytest.mark.slow
@pytest.mark.parametrize("claim", CLAIMS, ids=NAMES)
def test_claim_runs_and_is_not_judged_by_one_seed(claim: Claim, shared: Path, tiny: Budget) -> None:
    try:
        (found,) = reproduce([claim.name], out=shared, seeds=1, budget=tiny, device="cpu")
    except DataError as error:
        pytest.skip(str(error))  # sentences, vectors and dictionary of attacks on texts
    assert found.seeds == (0,)
    assert found.verdict == "not enough evidence"
    assert [unit.arm for unit in found.units] == [arm.name for arm in claim.arms]
    for unit in found.units:
        assert all(math.isfinite(value) for value in unit.metrics.values())
        assert 0 <= unit.metrics["clean_accuracy"] <= 1
        assert unit.training_seconds >= 0
    terms = {term for effect in claim.effects for term in (effect.of, effect.over) if term is not None}
    missing = {t.metric for t in terms if t.metric not in next(u for u in found.units if u.arm == t.arm).metrics}
    # Of four images or texts none may have been fooled, or even attacked, or be a sure mistake of another network.
    few = ("_confidence", "_words", "_success", "_queries")
    assert missing <= {name for name in missing if name.endswith(few)} | {"shared_error", "unknown_share"}


def test_claims_have_names_of_their_own_and_arms_of_half_an_hour() -> None:
    assert len(set(NAMES)) == len(NAMES) >= 10
    for claim in CLAIMS:
        assert len({repr((arm.network, arm.early)) for arm in claim.arms}) == len(claim.arms), claim.name


class Stopper:
    """Stops the first training in its second epoch."""

    def __init__(self) -> None:
        self.armed = True
        self.trained = list[str]()

    def __call__(self, at: Progress) -> None:
        if at.task != "train":
            return
        self.trained.append(at.detail)
        if self.armed and at.fraction > 0.6:
            self.armed = False
            raise KeyboardInterrupt


@pytest.mark.usefixtures("tiny")
def test_network_that_was_stopped_goes_on_from_its_last_epoch(tmp_path: Path) -> None:
    network = Network(standard(), architecture="shallow-cnn", epochs=2, batch_size=32)
    budget, stopper = Budget("tiny", images=64), Stopper()
    with pytest.raises(KeyboardInterrupt):
        Lab(tmp_path / "cut", 0, budget, "cpu", stopper).trained(network)
    stopper.trained.clear()
    again = Lab(tmp_path / "cut", 0, budget, "cpu", stopper).trained(network)
    assert stopper.trained
    assert all(words.startswith("epoch 2/2") for words in stopper.trained)
    whole = Lab(tmp_path / "whole", 0, budget, "cpu").trained(network)
    for name, value in whole.last.state_dict().items():
        assert bool((again.last.state_dict()[name] == value).all()), name
    stopper.trained.clear()
    Lab(tmp_path / "cut", 0, budget, "cpu", stopper).trained(network)
    assert not stopper.trained, "what is trained is not trained again"


@pytest.mark.usefixtures("tiny")
def test_networks_of_other_seeds_and_definitions_lie_apart(tmp_path: Path) -> None:
    network = Network(standard(), architecture="shallow-cnn", epochs=1)
    for seed, epochs in ((0, 1), (1, 1), (0, 2)):
        Lab(tmp_path, seed, Budget("tiny", images=32, epochs=epochs), "cpu").trained(network)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.usefixtures("tiny")
def test_unlabelled_images_go_to_vat_alone(tmp_path: Path) -> None:
    lab = Lab(tmp_path, 0, Budget("tiny", images=64), "cpu")
    few = next(c for c in CLAIMS if c.name == "vat-few-labels").arms[1].network
    assert isinstance(few, Network)
    recipe: Recipe = few.recipe_for(lab)
    assert isinstance(recipe, VAT)
    assert recipe.unlabelled is not None
    assert (len(recipe.unlabelled.examples), recipe.unlabelled.ratio) == (64, 4)
    with pytest.raises(ValueError, match="only VAT learns from unlabelled examples, not Standard"):
        Network(standard(), unlabelled=1).recipe_for(lab)


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_early_stopping_needs_images_that_are_left_out(tmp_path: Path) -> None:
    from dataclasses import replace

    watched = next(c for c in CLAIMS if c.name == "robust-overfitting").arms[0].network
    assert isinstance(watched, Network)
    lab = Lab(tmp_path, 0, Budget("tiny", images=32, epochs=1, test=4), "cpu")
    wrong = replace(watched, data=PerturbedOnce(watched.watch, Network(standard(), epochs=1)))  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="early stopping needs an attack to watch, and training data with held-out"):
        lab.trained(wrong)
    assert isinstance(watched.data, Sampled)
