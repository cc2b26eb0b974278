"""Both protocols of ImageNet-A by hand, and outliers, on a model whose logits are written in the image."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from robustlab.data import InMemory, sample
from robustlab.evaluation.corruptions.hard import NaturalAdversarial, natural_adversarial, natural_outliers
from robustlab.evaluation.plan import Settings
from robustlab.runs.codec import decode
from robustlab.statistics.intervals import clopper_pearson
from robustlab.statistics.ranking import average_precision

CLASSES = tuple("abcdef")


class Written(nn.Module):
    """The logits are the image's values, ten times."""

    def forward(self, x: Tensor) -> Tensor:
        """From (N, 1, 1, 6) to (N, 6); nonsense in training mode."""
        return 10 * x.flatten(1) * (-1 if self.training else 1)


def saying(*probabilities: list[float], y: list[int], name: str = "few") -> InMemory:
    """Images that make ``Written`` answer with these values."""
    return InMemory(name, CLASSES, torch.tensor(probabilities)[:, None, None, :], torch.tensor(y))


FEW = saying(
    [0.9, 0.1, 0.2, 0.0, 0.0, 0.0],  # right in both
    [0.3, 0.1, 0.2, 0.8, 0.0, 0.0],  # right only among a, b, c: the model says d
    [0.1, 0.5, 0.2, 0.0, 0.0, 0.0],  # wrong in both
    [0.1, 0.2, 0.6, 0.0, 0.0, 0.5],  # right in both
    y=[0, 0, 2, 2],
)


def test_both_protocols_by_hand() -> None:
    found = natural_adversarial(Written(), FEW, among=[2, 0, 1])
    assert (found.masked.protocol, found.full.protocol) == ("3-way, masked", "6-way")
    assert (found.masked.accuracy, found.full.accuracy) == (clopper_pearson(3, 4), clopper_pearson(2, 4))
    assert (found.n, found.nonfinite, found.data) == (4, 0, "few")
    sure = [torch.tensor(row).mul(10).softmax(0).max() for row in FEW.x[:, 0, 0, [0, 1, 2]].tolist()]
    assert found.masked.mean_confidence == pytest.approx(float(torch.stack(sure).mean()))


def test_the_classes_of_the_masked_protocol_need_not_be_the_first() -> None:
    """Among a, c, d the second is taken for a d; the third is right, as b is left out."""
    found = natural_adversarial(Written(), FEW, among=[3, 2, 0])
    assert found.masked.accuracy.count == 3


def test_the_area_is_by_the_confidence_of_the_protocol() -> None:
    """Masked, by falling confidence: example 0 (right), 3 (right), 2 (wrong), 1 (right)."""
    found = natural_adversarial(Written(), FEW, among=[0, 1, 2])
    assert found.masked.aurra.value == pytest.approx((1 + 1 + 2 / 3 + 3 / 4) / 4)


@pytest.mark.slow
def test_batches_make_no_difference_and_the_model_is_left_alone() -> None:
    model = Written().train()
    whole, cut = (natural_adversarial(model, FEW, among=[0, 1, 2], settings=Settings(batch_size=b)) for b in (8, 1))
    assert whole == cut
    assert model.training
    assert natural_adversarial(model, FEW, among=[0, 1, 2], n=2).n == 2


def test_undefined_logits_are_wrong_with_no_confidence() -> None:
    def model(x: Tensor) -> Tensor:
        logits = Written().eval()(x)
        return torch.where(logits[:, :1] > 8, torch.nan, logits)

    found = natural_adversarial(model, FEW, among=[0, 1, 2])
    assert found.nonfinite == 1
    assert (found.masked.accuracy.count, found.full.accuracy.count) == (2, 1)


def test_it_is_written_and_read_as_json() -> None:
    found = natural_adversarial(Written(), FEW, among=[0, 1, 2])
    assert decode(NaturalAdversarial, json.loads(json.dumps(found.to_json()))) == found
    assert found.masked.calibration.published is None


def test_classes_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="few has images of class 2, which is none of the 2 classes"):
        natural_adversarial(Written(), FEW, among=[0, 1])
    with pytest.raises(ValueError, match="few has 6 classes and the model 5: give images whose labels are the model's"):
        natural_adversarial(lambda x: Written()(x)[:, :5], FEW, among=[0, 1, 2])
    with pytest.raises(ValueError, match=r"among classes 0 to 6, the model has 0\.\.5: give class numbers"):
        natural_adversarial(Written(), FEW, among=[0, 6])
    with pytest.raises(ValueError, match=r"at least two classes are needed, got \[3\]"):
        natural_adversarial(Written(), FEW, among=[3, 3])
    with pytest.raises(ValueError, match=r"among classes 6 to 988, the model has 0\.\.5: .* it is the 200"):
        natural_adversarial(Written(), FEW)


def test_outliers_are_ranked_by_low_confidence_among_the_classes_of_the_known() -> None:
    rng = np.random.default_rng(0)
    strange = torch.from_numpy(rng.uniform(0, 0.5, (20, 1, 1, 6))).float()
    unknown = InMemory("strange", ("no class of the model",), strange, torch.zeros(20, dtype=torch.long))
    known = saying(*(np.eye(6)[rng.integers(0, 3, 50)] * rng.uniform(0, 1, (50, 1))).tolist(), y=[0, 1, 3, 1, 0] * 10)
    found = natural_outliers(Written(), unknown, known)
    scores = [-(10 * d.x[:, 0, 0, [0, 1, 3]]).double().softmax(1).amax(1).numpy() for d in (unknown, known)]
    expected = average_precision(np.concatenate(scores), np.arange(70) < 20)
    assert found.detection.aupr.value == pytest.approx(expected)
    assert found.ways == 3
    assert found.detection.base_rate == pytest.approx(2 / 7)
    assert (found.unknown, found.known) == ("strange", "few")
    assert natural_outliers(Written(), unknown, known, among=range(6)).ways == 6
    assert natural_outliers(Written(), unknown, sample(known, 50)).detection == found.detection
    with pytest.raises(ValueError, match="strange has 1 classes and the model 6"):
        natural_outliers(Written(), known, unknown, among=[0, 1])
