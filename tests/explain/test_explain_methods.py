"""Integrated gradients, SmoothGrad and occlusion: closed forms, captum's answers, independence of the batch."""

from __future__ import annotations

import warnings
from dataclasses import replace

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from robustlab.core import Streams
from robustlab.explain import Case, IntegratedGradients, Occlusion, SmoothGrad, explain, make_method
from robustlab.explain.call import name_of
from robustlab.explain.case import cases
from robustlab.explain.integrated import Rule, quadrature
from robustlab.models import BatchNormCNN, black_box

RULES: list[Rule] = ["gausslegendre", "riemann_left", "riemann_right", "riemann_middle", "riemann_trapezoid"]
SHAPES = [(1,), (5,), (2, 5), (1, 1, 1), (3, 6, 7), (2, 3, 4, 5)]


def linear(shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> tuple[nn.Sequential, Tensor]:
    """A linear model with 3 classes, and its weights (3, ...)."""
    torch.manual_seed(0)
    last = nn.Linear(torch.Size(shape).numel(), 3, dtype=dtype)
    return nn.Sequential(nn.Flatten(), last).eval(), last.weight.detach().reshape(3, *shape)


def network(dtype: torch.dtype = torch.float64) -> nn.Sequential:
    """A network with BatchNorm, ReLU and pooling, for images (1, 8, 8)."""
    torch.manual_seed(1)
    layers = [nn.Conv2d(1, 6, 3, padding=1), nn.BatchNorm2d(6), nn.ReLU(inplace=True), nn.MaxPool2d(2)]
    model = nn.Sequential(*layers, nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(32, 4))
    norm = layers[1]
    assert isinstance(norm, nn.BatchNorm2d)
    norm.running_mean, norm.running_var = torch.randn(6), torch.rand(6) + 0.5
    return model.to(dtype).eval()


class Powers(nn.Module):
    """Logit k is the sum of w_k * x**power: its gradient at x is power * w_k * x**(power - 1)."""

    def __init__(self, power: int, size: int = 5) -> None:
        super().__init__()
        torch.manual_seed(3)
        self.power = power
        self.weight = nn.Parameter(torch.randn(3, size, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return x**self.power @ self.weight.T


TARGET = torch.tensor([2, 0, 1, 1])


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("shape", SHAPES)
def test_integrated_gradients_of_a_linear_model_are_weight_times_way(shape: tuple[int, ...], rule: Rule) -> None:
    model, weight = linear(shape)
    x, base = torch.rand(4, *shape, dtype=torch.float64), torch.rand(shape, dtype=torch.float64)
    for steps in (2, 3) if rule == "riemann_trapezoid" else (1, 3):
        for baseline in (0.0, 0.25, base):
            maps = explain(IntegratedGradients(steps, rule, baseline), model, x, TARGET)
            torch.testing.assert_close(maps.values, weight[TARGET] * (x - baseline), rtol=1e-12, atol=1e-14)
            assert maps.gap is not None
            assert maps.gap.abs().max() < 1e-12


@pytest.mark.parametrize("power", [1, 2, 3, 6])
def test_gauss_legendre_is_exact_for_polynomials(power: int) -> None:
    """Of n steps up to degree 2 n - 1 of the gradient: x**p needs n = p / 2, rounded up."""
    x, base = torch.rand(4, 5, dtype=torch.float64), torch.rand(5, dtype=torch.float64)
    model = Powers(power)
    expected = model.weight.detach()[TARGET] * (x**power - base**power)
    maps = explain(IntegratedGradients(-(-power // 2), baseline=base), model, x, TARGET)
    torch.testing.assert_close(maps.values, expected, rtol=1e-12, atol=1e-14)
    if power > 2:
        fewer = explain(IntegratedGradients(-(-power // 2) - 1, baseline=base), model, x, TARGET)
        assert (fewer.values - expected).abs().max() > 1e-5


@pytest.mark.parametrize(
    ("rule", "order"),
    [("riemann_left", 1), ("riemann_right", 1), ("riemann_middle", 2), ("riemann_trapezoid", 2)],
)
def test_the_gap_falls_as_fast_as_the_rule_promises(rule: Rule, order: int) -> None:
    def gap(steps: int) -> float:
        found = explain(IntegratedGradients(steps, rule), Powers(4).eval(), torch.rand(4, 5).double() + 0.5, TARGET).gap
        assert found is not None
        return float(found.abs().mean())

    torch.manual_seed(0)
    coarse = gap(20)
    torch.manual_seed(0)
    assert coarse / gap(80) == pytest.approx(4**order, rel=0.1)


def test_no_way_no_map() -> None:
    x = torch.rand(4, 1, 8, 8)
    for method in (IntegratedGradients(7, baseline=x[1]), Occlusion(3, baseline=x[1])):
        maps = explain(method, network(torch.float32), x, torch.zeros(4, dtype=torch.int64))
        assert torch.equal(maps.values[1], torch.zeros(1, 8, 8))
        assert maps.values[0].abs().max() > 1e-4


def test_a_saturated_relu_has_no_gradient_but_a_share_of_the_score() -> None:
    """The example of the paper: 1 - relu(1 - x) at x = 2 is 1, and flat."""

    def model(x: Tensor) -> Tensor:
        one = 1 - torch.relu(1 - x)
        return torch.cat([one, -one], 1)

    x, target = torch.tensor([[2.0]], dtype=torch.float64), torch.tensor([0])
    assert explain("gradient", model, x, target).values.item() == 0
    assert explain(IntegratedGradients(200), model, x, target).values.item() == pytest.approx(1, abs=1e-2)
    assert explain(Occlusion(), model, x, target).values.item() == 1


@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_smoothgrad_of_a_linear_model_is_its_weight(shape: tuple[int, ...], *, squared: bool) -> None:
    model, weight = linear(shape)
    x = torch.rand(4, *shape, dtype=torch.float64)
    for method in (SmoothGrad(3, squared=squared), SmoothGrad(3, sigma=0.0, squared=squared, clip=(0, 1))):
        values = explain(method, model, x, TARGET).values
        torch.testing.assert_close(values, weight[TARGET] ** (1 + squared), rtol=1e-14, atol=0)


@pytest.mark.slow
def test_smoothgrad_of_a_square_has_the_mean_and_the_spread_of_its_noise() -> None:
    """The gradient is 2 w (x + s z): mean 2 w x, and the mean of squares is 4 w**2 (x**2 + s**2)."""
    torch.manual_seed(0)
    x, model, draws = torch.rand(4, 5, dtype=torch.float64), Powers(2).eval(), 1000
    x[:, 0], x[:, 1] = 0.0, 2.0
    sigma, weight = 0.2, model.weight.detach()[TARGET]
    spread = sigma * 2.0
    mean = explain(SmoothGrad(draws, sigma), model, x, TARGET).values
    error = (mean - 2 * weight * x) / (2 * weight.abs() * spread / draws**0.5)
    assert error.abs().max() < 4
    assert error.std() == pytest.approx(1, abs=0.5)
    squares = explain(SmoothGrad(draws, sigma, squared=True), model, x, TARGET).values
    torch.testing.assert_close(squares, 4 * weight**2 * (x**2 + spread**2), rtol=0.3, atol=0)


def test_noisy_copies_are_clipped() -> None:
    seen = []

    def model(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x[:, :3] * 1

    x = torch.rand(4, 5)
    explain(SmoothGrad(20, sigma=1.0, clip=(0.25, 0.5)), model, x, TARGET)
    noisy = torch.cat(seen[1:])
    assert (float(noisy.min()), float(noisy.max())) == (0.25, 0.5)
    seen.clear()
    explain(SmoothGrad(20, sigma=1.0), model, x, TARGET)
    assert torch.cat(seen[1:]).min() < -0.5


@pytest.mark.parametrize("method", [IntegratedGradients(5), SmoothGrad(5), Occlusion(3, 2)], ids=repr)
def test_a_map_does_not_depend_on_the_batch(method: IntegratedGradients | SmoothGrad | Occlusion) -> None:
    model, x = network(), torch.rand(300, 1, 8, 8, dtype=torch.float64)
    target, ids = torch.arange(300) % 4, torch.arange(300) * 7
    whole = explain(method, model, x, target, seed=3, ids=ids)
    rows = torch.tensor([299, 0, 131])
    few = explain(method, model, x[rows], target[rows], seed=3, ids=ids[rows])
    torch.testing.assert_close(few.values, whole.values[rows], rtol=1e-9, atol=1e-13)
    one = explain(method, model, x[131:132], target[131:132], seed=3, ids=ids[131:132])
    torch.testing.assert_close(one.values, whole.values[131:132], rtol=1e-9, atol=1e-13)
    if isinstance(method, SmoothGrad):
        other = explain(method, model, x[rows], target[rows], seed=4, ids=ids[rows])
        assert (other.values - few.values).abs().max() > 1e-3


@pytest.mark.parametrize(("window", "stride"), [(1, None), (2, None), (2, 1), (3, 2), (4, None), (9, None)])
@pytest.mark.parametrize("shape", SHAPES)
def test_occlusion_of_a_linear_model_is_the_mean_of_its_windows(
    shape: tuple[int, ...], window: int, stride: int | None
) -> None:
    model, weight = linear(shape)
    x, base = torch.rand(2, *shape, dtype=torch.float64), torch.rand(shape, dtype=torch.float64)
    maps = explain(Occlusion(window, stride, base), model, x, TARGET[:2])
    share = (weight[TARGET[:2]] * (x - base)).reshape(2, *shape)
    space = shape[1:] or shape
    pixels = share.sum(1) if len(shape) > 1 else share
    total, count = torch.zeros_like(pixels), torch.zeros_like(pixels)
    starts = [range(0, max(1, size - window + (stride or window)), stride or window) for size in space]
    for corner in torch.cartesian_prod(*(torch.tensor(list(one)) for one in starts)).reshape(-1, len(space)).tolist():
        part = (slice(None), *(slice(first, first + window) for first in corner))
        total[part] += pixels[part].flatten(1).sum(1).reshape(2, *[1] * len(space))
        count[part] += 1
    expected = (total / count)[:, None].expand(2, *shape) if len(shape) > 1 else total / count
    torch.testing.assert_close(maps.values, expected, rtol=1e-11, atol=1e-12)


def test_occlusion_needs_no_gradient_and_passes_over_windows_that_change_nothing() -> None:
    passed = []

    def predict(images: NDArray[np.float32]) -> NDArray[np.float32]:
        passed.append(len(images))
        return images.reshape(len(images), -1)[:, :3]

    x = torch.zeros(2, 1, 8, 8)
    x[0, 0, 0, :3], x[1, 0, 7, 7] = torch.tensor([0.1, 0.2, 0.3]), 1.0
    x[1, 0, 0, 0] = 0.5
    maps = explain(Occlusion(4), black_box(predict, output="logits").eval(), x, torch.tensor([2, 0]))
    expected = torch.zeros(2, 1, 8, 8)
    expected[0, 0, :4, :4], expected[1, 0, :4, :4] = 0.3, 0.5
    torch.testing.assert_close(maps.values, expected, rtol=1e-6, atol=0)
    assert passed[-1] == 3


def test_a_model_that_looks_at_its_batch_gets_each_window_in_full_company() -> None:
    def model(x: Tensor) -> Tensor:
        return (x - x.mean(0))[:, :3]

    x = torch.rand(4, 8)
    x[1] = 0
    maps = explain(Occlusion(4), model, x, TARGET[:4])
    rows = torch.arange(4)
    expected = model(x)[rows, TARGET]
    torch.testing.assert_close(maps.values[:, :4], expected[:, None].expand(4, 4), rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(maps.values[:, 4:], torch.zeros(4, 4), rtol=0, atol=1e-6)


def test_the_same_settings_are_the_same_method() -> None:
    base = torch.rand(3, 1, 1)
    for kind in (IntegratedGradients, Occlusion):
        assert kind(baseline=base) == kind(baseline=base.clone())
        assert hash(kind(baseline=base)) == hash(kind(baseline=base.clone()))
        assert kind(baseline=base) != kind(baseline=base + 1)
        assert kind() != kind(baseline=0.5)
        assert len(name_of(kind(baseline=base))) < 110
    assert repr(IntegratedGradients(20)) == "IntegratedGradients(steps=20, rule='gausslegendre', baseline=0.0)"
    assert make_method("occlusion", window=8) == Occlusion(8)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: IntegratedGradients(0), "steps must be at least 1 for gausslegendre, got 0"),
        (lambda: IntegratedGradients(1, "riemann_trapezoid"), "steps must be at least 2 for riemann_trapezoid, got 1"),
        (lambda: IntegratedGradients(rule="simpson"), "rule must be one of gausslegendre"),  # type: ignore[arg-type]
        (lambda: IntegratedGradients(baseline=float("nan")), "baseline must be finite numbers, got nan"),
        (lambda: SmoothGrad(0), "draws must be at least 1, got 0"),
        (lambda: SmoothGrad(sigma=-0.1), r"sigma must be at least 0 and finite, got -0\.1"),
        (lambda: SmoothGrad(clip=(1, 0)), r"clip must be a lower and a higher number, got \(1, 0\)"),
        (lambda: Occlusion(0), "window must be at least 1, got 0"),
        (lambda: Occlusion(4, 5), r"stride must be in 1\.\.4, got 5: a longer one leaves values out"),
        (lambda: Occlusion(baseline=torch.zeros(0)), "baseline must be finite numbers, got a Tensor of shape"),
    ],
)
def test_wrong_settings_are_refused(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


@pytest.mark.parametrize("method", [IntegratedGradients, Occlusion])
def test_a_baseline_of_another_shape_is_refused(method: type[IntegratedGradients | Occlusion]) -> None:
    model, _ = linear((3, 4, 4))
    x = torch.rand(4, 3, 4, 4).double()
    for wrong in (torch.zeros(5), torch.zeros(4, 3, 4, 4), torch.zeros(1, 1, 3, 4, 4), torch.zeros(3, 1)):
        with pytest.raises(ValueError, match=r"does not broadcast to one input \(3, 4, 4\)"):
            explain(method(baseline=wrong), model, x, TARGET)
    for right in (torch.zeros(4), torch.zeros(1, 3, 4, 4), torch.zeros(3, 1, 1), torch.zeros(())):
        explain(method(baseline=right), model, x, TARGET)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("name", ["integrated-gradients", "smoothgrad", "occlusion"])
def test_half_precision_loses_no_more_than_its_own(name: str, dtype: torch.dtype) -> None:
    """A sum of 200 gradients in half precision would lose several of its bits; a map is rounded once."""
    model, weight = linear((1, 2, 2), dtype)
    x = torch.rand(4, 1, 2, 2).to(dtype)
    options = {"integrated-gradients": {"steps": 200}, "smoothgrad": {"draws": 200}, "occlusion": {"window": 1}}[name]
    values = explain(make_method(name, **options), model, x, TARGET).values
    assert values.dtype == dtype
    expected = weight.double()[TARGET] * (1 if name == "smoothgrad" else x.double())
    tolerance = torch.finfo(dtype).eps * (expected.abs().max() if name != "occlusion" else 4 * model(x).abs().max())
    assert (values.double() - expected).abs().max() <= tolerance


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("steps", [2, 5, 32, 50])
def test_nodes_are_those_of_captum(rule: Rule, steps: int) -> None:
    """The weights too, but for its trapezoid rule: its weights add up to 1 - 1 / steps."""
    methods = pytest.importorskip("captum.attr._utils.approximation_methods")
    weights, nodes = methods.approximation_parameters(rule)
    ours = quadrature(rule, steps)
    assert ours[0] == pytest.approx(nodes(steps), abs=1e-7)  # captum makes those of the Riemann rules in float32
    share = 1 - 1 / steps if rule == "riemann_trapezoid" else 1
    assert [one * share for one in ours[1]] == pytest.approx(weights(steps), abs=1e-15)
    assert sum(ours[1]) == pytest.approx(1, abs=1e-14)


def captum(name: str) -> type:
    found: type = getattr(pytest.importorskip("captum.attr"), name)
    return found


def agree(ours: Tensor, theirs: Tensor, dtype: torch.dtype) -> None:
    """Agreement to 1e-8 of the range of the map in float64, 1e-4 in float32."""
    assert within(ours, theirs, 1e-8 if dtype == torch.float64 else 1e-4)


def within(ours: Tensor, theirs: Tensor, share: float) -> bool:
    """True if the maps agree to a share of their range."""
    scale = float(theirs.max() - theirs.min())
    return scale > 0 and float((ours - theirs).abs().max()) <= share * scale


DTYPES = pytest.mark.parametrize("dtype", [torch.float64, torch.float32])


@DTYPES
@pytest.mark.parametrize(
    ("rule", "steps"),
    [("gausslegendre", 50), ("gausslegendre", 7), ("riemann_left", 32), ("riemann_right", 32), ("riemann_middle", 64)],
)
def test_integrated_gradients_agree_with_captum(rule: Rule, steps: int, dtype: torch.dtype) -> None:
    model, x = network(dtype), torch.rand(4, 1, 8, 8, dtype=dtype)
    base = torch.rand(1, 1, 8, 8, dtype=dtype)
    for baseline in (0.0, base):
        theirs = captum("IntegratedGradients")(model).attribute(x, baseline, TARGET, n_steps=steps, method=rule)
        maps = explain(IntegratedGradients(steps, rule, baseline), model, x, TARGET)
        agree(maps.values, theirs, dtype)


@DTYPES
def test_smoothgrad_agrees_with_captum_under_the_same_noise(
    dtype: torch.dtype, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, x, method = BatchNormCNN().to(dtype).eval(), torch.rand(3, 1, 28, 28, dtype=dtype), SmoothGrad(4)
    with cases(model, x, TARGET[:3], score="logit", seed=5, ids=None) as parts:
        case: Case = next(parts)
        noise = torch.stack([method.noisy(case, draw) for draw in range(4)], 1) - x[:, None]
    module = pytest.importorskip("captum.attr._core.noise_tunnel")
    monkeypatch.setattr(module.torch, "normal", lambda *_args, **_kwargs: noise.flatten(0, 1))
    tunnel = captum("NoiseTunnel")(captum("Saliency")(model))
    for kind, squared in (("smoothgrad", False), ("smoothgrad_sq", True)):
        theirs = tunnel.attribute(x, nt_type=kind, nt_samples=4, stdevs=1.0, target=TARGET[:3], abs=False)
        agree(explain(replace(method, squared=squared), model, x, TARGET[:3], seed=5).values, theirs, dtype)


@DTYPES
@pytest.mark.parametrize(("window", "stride"), [(4, None), (3, None), (3, 2), (2, 1)])
def test_occlusion_agrees_with_captum(window: int, stride: int | None, dtype: torch.dtype) -> None:
    model, x = network(dtype), torch.rand(4, 1, 8, 8, dtype=dtype)
    base = torch.rand(1, 1, 8, 8, dtype=dtype)
    for baseline in (0.0, base):
        with warnings.catch_warnings(action="ignore"):
            theirs = captum("Occlusion")(model).attribute(
                x, (1, window, window), (1, stride or window, stride or window), baseline, TARGET
            )
        ours = explain(Occlusion(window, stride, baseline), model, x, TARGET).values
        assert theirs.dtype == torch.float32  # captum rounds the losses, also of a model in float64
        assert within(ours.float(), theirs, 1e-7 if dtype == torch.float64 else 1e-4)


def test_memory_holds_one_micro_batch_of_points() -> None:
    sizes = []

    class Seen(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            sizes.append(len(x))
            return x.flatten(1)[:, :3]

    x = torch.rand(700, 1, 28, 28)
    for method in (IntegratedGradients(3), SmoothGrad(3), Occlusion(14)):
        explain(method, Seen().eval(), x)
    assert max(sizes) <= 256
    sizes.clear()
    explain("gradient", Seen().eval(), torch.rand(12, 3, 224, 224))
    assert max(sizes) == 5


def test_the_case_tells_how_many_points_fill_a_pass() -> None:
    x = torch.rand(100, 1, 28, 28)
    with cases(BatchNormCNN().eval(), x, None, score="logit", seed=0, ids=None) as parts:
        case: Case = next(parts)
    assert (case.copies, case.separable) == (2, True)
    assert case.rows(2).tolist() == [*range(100), *range(100)]
    assert isinstance(case.streams, Streams)
    with cases(BatchNormCNN().train(), x, None, score="logit", seed=0, ids=None) as parts:
        case = next(parts)
    assert (case.copies, case.separable) == (1, False)
