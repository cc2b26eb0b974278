"""Parts of the checks of maps: layers drawn anew, curves, what is skipped, and the model that is left alone."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from networks_of_digits import TokenNet, images, trained  # type: ignore[import-not-found]
from torch import Tensor, nn

from robustlab.explain import Case, Gradient, IntegratedGradients, explain
from robustlab.explain.checks import CheckOutcome, CheckSubject, Randomisation, check_maps, shuffled_labels
from robustlab.explain.checks.edges import edges_of
from robustlab.explain.checks.redraw import layers_of, redraw_

N = 16


def digits(n: int = N) -> Tensor:
    found: Tensor = images("test")[0][:n]
    return found


def cnn() -> nn.Module:
    found: nn.Module = trained("cnn")
    return found


def built(make: Callable[[], nn.Module]) -> nn.Module:
    with torch.random.fork_rng([]):
        torch.manual_seed(3)
        return make().eval()


def test_the_curve_has_a_point_for_each_layer_from_the_top_down() -> None:
    report = check_maps(CheckSubject(Gradient(), cnn(), digits()), ["randomisation-ignored"])
    curve = report.curves["randomisation-ignored"]
    assert curve.points == ("6", "3", "0")
    assert curve.n == N
    assert {len(values) for values in curve.values.values()} == {3}
    assert report.seconds > 0


@pytest.mark.slow
def test_layers_keep_the_weights_drawn_for_them_and_go_in_groups_where_there_are_many() -> None:
    wide, narrow = (
        check_maps(CheckSubject(Gradient(), trained("batchnorm"), digits()), [Randomisation(stages=stages)])
        for stages in (2, 16)
    )
    two, five = (report.curves["randomisation-ignored"] for report in (wide, narrow))
    assert two.points == (five.points[0], five.points[-1])
    assert two.values["signed"] == (five.values["signed"][0], five.values["signed"][-1])


def test_the_curve_is_that_of_weights_drawn_by_hand() -> None:
    model, x = trained("linear"), digits()
    curve = check_maps(CheckSubject(Gradient(), model, x), ["randomisation-ignored"]).curves["randomisation-ignored"]
    other = copy.deepcopy(model)
    redraw_(other, "1", 0)
    target = model(x).argmax(1)
    old, new = (part.get_submodule("1").weight[target].detach().double() for part in (model, other))
    ranks = [weights.argsort(1).argsort(1) for weights in (old, new)]
    expected = [float(np.corrcoef(a, b)[0, 1]) for a, b in zip(*ranks, strict=True)]
    assert curve.values["signed"][0] == pytest.approx(np.mean(expected), abs=1e-12)


@pytest.mark.parametrize(
    "make",
    [
        lambda: nn.Linear(6, 6),
        lambda: torch.nn.utils.parametrizations.weight_norm(nn.Linear(6, 6)),
        lambda: nn.MultiheadAttention(6, 2),
        lambda: nn.Embedding(5, 6),
        TokenNet,
    ],
)
def test_every_weight_that_is_not_constant_is_drawn_anew(make: Callable[[], nn.Module]) -> None:
    model = built(make)
    with torch.no_grad():
        for weights in model.parameters():
            weights.add_(0.01 * torch.arange(weights.numel()).reshape(weights.shape))
    before = {name: weights.clone() for name, weights in model.named_parameters()}
    state = torch.get_rng_state()
    for name in [name for name, part in model.named_modules() if any(True for _ in part.parameters(recurse=False))]:
        redraw_(model, name, 0)
    same = [name for name, weights in model.named_parameters() if torch.equal(weights, before[name])]
    assert same == []
    assert torch.equal(state, torch.get_rng_state())


@pytest.mark.slow
def test_tokens_places_and_fused_parts_go_where_data_reaches_them() -> None:
    model = copy.deepcopy(trained("vit"))
    layers = layers_of(model, digits())
    assert layers[0] == "head.1"
    assert set(layers[-2:]) == {"", "patch"}
    assert layers.index("blocks.1.self_attn.out_proj") < layers.index("blocks.0.linear1")
    assert not any(part._forward_pre_hooks for part in model.modules())


def test_the_model_is_left_as_it_was() -> None:
    model = copy.deepcopy(trained("batchnorm")).train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    check_maps(CheckSubject(Gradient(), model, digits()))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training
    assert torch.equal(state, torch.get_rng_state())


def test_maps_made_already_are_the_ones_that_are_checked() -> None:
    maps = explain("gradient", cnn(), digits())
    empty = replace(maps, values=torch.zeros_like(maps.values))
    subject = CheckSubject("gradient", cnn(), digits(), maps=empty)
    assert [finding.code for finding in check_maps(subject, ["zero-map"]).findings] == ["zero-map"]
    assert check_maps(replace(subject, maps=maps)).findings == ()
    with pytest.raises(ValueError, match="are not of inputs"):
        check_maps(replace(subject, maps=maps[:4]))
    with pytest.raises(ValueError, match="other classes than target"):
        check_maps(replace(subject, target=(maps.target + 1) % 10))


def test_single_lost_gradients_are_a_warning_only() -> None:
    maps = explain("gradient", cnn(), digits())
    maps.values[3] = 0
    (finding,) = check_maps(CheckSubject("gradient", cnn(), digits(), maps=maps), ["zero-map"]).findings
    assert (finding.severity, finding.evidence) == ("warning", {"zero": 1, "n": N})


def test_edges_are_a_note_where_the_weights_count_as_well() -> None:
    def edges_by_weight(case: Case) -> Tensor:
        sign = case.gradient(case.x).sign()
        return edges_of(case.x) * sign

    (finding,) = check_maps(CheckSubject(edges_by_weight, cnn(), digits())).findings
    assert (finding.code, finding.severity) == ("edges-only", "info")


def test_what_cannot_be_checked_is_said() -> None:
    model = cnn()
    report = check_maps(CheckSubject("gradient", lambda x: model(x), digits(1)))
    assert report.findings == ()
    assert set(report.skipped) == {
        "baseline-sensitive", "batch-dependent", "completeness-violated", "labels-ignored", "randomisation-ignored",
    }  # fmt: skip
    assert "without layers" in report.skipped["randomisation-ignored"]
    bare = check_maps(CheckSubject("gradient", nn.Sequential(nn.Flatten(), nn.Tanh()), digits()))
    assert "no layers with weights" in bare.skipped["randomisation-ignored"]


class Fixed(nn.Module):
    """Weights that are all the same and that nothing draws."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(10, 64))

    def forward(self, x: Tensor) -> Tensor:
        """Images to logits (N, 10)."""
        return x.flatten(1) @ self.weight.T


def test_weights_that_cannot_be_drawn_are_no_fault_of_the_maps() -> None:
    report = check_maps(CheckSubject("gradient", Fixed(), digits()))
    assert report.findings == ()
    assert "no layers with weights" in report.skipped["randomisation-ignored"]


def test_a_check_that_fails_leaves_the_others() -> None:
    def failing(_subject: CheckSubject) -> CheckOutcome:
        raise KeyError("no such thing")

    report = check_maps(CheckSubject("gradient", cnn(), digits()), [failing, "zero-map"])
    assert report.skipped == {"failing": "it could not be made: KeyError: 'no such thing'"}


def test_unknown_checks_are_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="did you mean zero-map"):
        check_maps(CheckSubject("gradient", cnn(), digits()), ["zero-maps"])


def test_labels_are_shuffled_by_seed() -> None:
    y = torch.arange(50)
    assert torch.equal(shuffled_labels(y, 1), shuffled_labels(y, 1))
    assert not torch.equal(shuffled_labels(y, 1), shuffled_labels(y, 2))
    assert torch.equal(shuffled_labels(y).sort().values, y)


@pytest.mark.parametrize("shape", [(6,), (1, 1, 1), (3, 5)])
def test_inputs_of_any_shape_are_checked(shape: tuple[int, ...]) -> None:
    model = built(lambda: nn.Sequential(nn.Flatten(), nn.Linear(torch.Size(shape).numel(), 3)))
    report = check_maps(CheckSubject(IntegratedGradients(steps=24), model, torch.rand(5, *shape) + 0.1))
    assert report.findings == ()
    assert not any("could not" in why for why in report.skipped.values())
