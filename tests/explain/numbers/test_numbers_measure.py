"""Measuring and comparing numbers: means, intervals, pairs, batches, undefined examples, and bad input."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from tests.explain.numbers.numbers_models import subject_of
from torch import Tensor, nn

from robustlab.explain import NUMBERS, Measured, NumberSpec, compare_numbers, make_number, measure
from robustlab.explain.numbers import Cost, Sparsity, Subject

torch.manual_seed(0)
MODEL = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Tanh(), nn.Flatten(), nn.Linear(64, 3)).double().eval()
X, Y = torch.rand(7, 3, 6, 6, dtype=torch.float64), torch.tensor([0, 1, 2, 0, 1, 2, 0])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "method"),
    [
        *((name, "gradient") for name in NUMBERS.names()),
        ("noise-instability", "smoothgrad"),
        ("deletion", "smoothgrad"),
    ],
)
def test_a_number_follows_the_example_alone_and_says_what_it_is(name: str, method: str) -> None:
    ids, some = torch.arange(10, 17), torch.tensor([5, 2])
    whole = measure(method, MODEL, X, Y, [name], ids=ids)[name]
    part = measure(method, MODEL, X[some], Y[some], [name], ids=ids[some])[name]
    assert torch.allclose(part.values, whole.values[some], rtol=1e-6, atol=1e-10, equal_nan=True)
    assert whole.undefined == 0
    assert whole.values.dtype == torch.float64
    assert whole.spec.help
    assert whole.spec.source


@pytest.mark.parametrize("name", NUMBERS.names())
def test_a_number_costs_the_passes_that_it_states(name: str) -> None:
    number = make_number(name)
    cost: Cost = number.cost(3)  # type: ignore[attr-defined]
    with subject_of(MODEL, X, Y) as subject:
        before = replace(subject.twin.passes)
        number(subject)
        after = subject.twin.passes
    forward, backward = (after.forward - before.forward) / len(X), (after.backward - before.backward) / len(X)
    if name in ("attack-instability", "boundary-distance"):  # what is finished early costs less
        assert 0 < forward <= cost.forward + cost.maps
        assert 0 < backward <= cost.backward + cost.maps
    else:
        assert (forward, backward) == (cost.forward + cost.maps, cost.backward + cost.maps)


def test_the_explained_classes_are_the_labels_or_those_given() -> None:
    last = nn.Linear(4, 2, bias=False)
    last.load_state_dict({"weight": torch.tensor([[1.0, 0, 0, 0], [1, 1, 1, 1]])})
    weights = nn.Sequential(nn.Flatten(), last).eval()
    x, y = torch.rand(1, 1, 2, 2), torch.tensor([0])
    assert measure("gradient", weights, x, y, ["sparsity"])["sparsity"].mean == pytest.approx(0.75)
    other = measure("gradient", weights, x, y, ["sparsity"], target=torch.tensor([1]))
    assert other["sparsity"].mean == pytest.approx(0)


def test_means_and_intervals_leave_out_what_is_not_defined() -> None:
    found = Measured("it", torch.tensor([1.0, torch.nan, 3.0, torch.inf, 5.0], dtype=torch.float64))
    assert (found.mean, found.undefined, found.interval().n) == (3.0, 2, 3)
    half = 4.302652729911275 * 2 / math.sqrt(3)  # Student's quantile of two degrees of freedom
    assert (found.interval().low, found.interval().high) == pytest.approx((3 - half, 3 + half))
    nothing = Measured("it", torch.full((2,), torch.nan, dtype=torch.float64)).interval()
    assert math.isnan(nothing.value)
    assert (nothing.low, nothing.high, nothing.n) == (-math.inf, math.inf, 0)
    assert len(Measured.joined([found, found])) == 10


def test_a_comparison_is_of_the_same_examples_and_corrected_for_their_number() -> None:
    a = torch.tensor([1.0, 2, 3, 4, torch.nan], dtype=torch.float64)
    b = torch.tensor([2.0, 2.5, 4.5, 6, 1], dtype=torch.float64)
    first, second = {"u": Measured("u", a), "v": Measured("v", a)}, {"u": Measured("u", b), "v": Measured("v", a)}
    found = compare_numbers(first, second)
    assert found["u"].difference.value == pytest.approx(1.25)
    assert (found["u"].first, found["u"].second, found["u"].undefined) == (2.5, 3.75, 1)
    t = 1.25 / (math.sqrt(1.25 / 3) / 2)  # differences 1, 0.5, 1.5, 2
    assert found["u"].p == pytest.approx(1 - student_within(t), rel=1e-9)
    assert found["u"].corrected == pytest.approx(2 * found["u"].p)
    assert found["v"].p == 1


def student_within(t: float) -> float:
    """P(|T| <= t) with 3 degrees of freedom, in closed form."""
    angle = math.atan(t / math.sqrt(3))
    return 2 / math.pi * (angle + math.sin(angle) * math.cos(angle))


def test_a_number_from_outside_is_measured_by_its_name() -> None:
    def brightness(subject: Subject) -> Tensor:
        return subject.x.flatten(1).mean(1)

    found = measure("gradient", MODEL, X, Y, {"brightness": brightness})["brightness"]
    assert torch.equal(found.values, X.flatten(1).mean(1))
    assert found.spec.unit == "1"


def test_bad_arguments_are_one_sentence() -> None:
    with pytest.raises(ValueError, match="did you mean sparsity"):
        measure("gradient", MODEL, X, Y, ["sparsty"])
    with pytest.raises(ValueError, match="numbers must be a list of names, got the text 'sparsity'"):
        measure("gradient", MODEL, X, Y, "sparsity")
    with pytest.raises(ValueError, match=r"labels must have shape \(7,\) like the inputs, got \(3,\)"):
        measure("gradient", MODEL, X, Y[:3], ["sparsity"])
    with pytest.raises(ValueError, match=r"target must be in 0\.\.2"):
        measure("gradient", MODEL, X, Y + 1, ["sparsity"])
    with pytest.raises(ValueError, match=r"whole returned \(\) for 7 examples: one number each is expected"):
        measure("gradient", MODEL, X, Y, {"whole": lambda subject: subject.x.sum()})
    short, long = Measured("u", torch.zeros(2)), Measured("u", torch.zeros(3))
    with pytest.raises(ValueError, match="u of 2 and of 3 examples: a paired comparison needs the same examples"):
        compare_numbers({"u": short}, {"u": long})
    other = Measured("u", torch.zeros(2), "Sparsity(pixels=True)")
    with pytest.raises(ValueError, match="was measured as  and as Sparsity"):
        compare_numbers({"u": short}, {"u": other})
    with pytest.raises(ValueError, match="NumberSpec: better must be"):
        NumberSpec(Sparsity, better="more")  # type: ignore[arg-type]


def test_labels_follow_their_examples_through_blocks() -> None:
    x, y = torch.rand(1030, 3, 64, 64), torch.arange(1030) % 3

    def label(subject: Subject) -> Tensor:
        return subject.y + 0.5 * (subject.case.target != subject.y)

    model = nn.Sequential(nn.Flatten(), nn.Linear(3 * 64 * 64, 3)).eval()
    found = measure("gradient", model, x, y, {"label": label}, target=(y + 1) % 3)["label"]
    assert torch.equal(found.values, y + 0.5)
