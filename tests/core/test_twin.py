from __future__ import annotations

import copy
from collections.abc import Callable
from typing import TypeVar, cast

import pytest
import timm
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from robustlab.core import Twin, as_twin, margin, own_twin, search_twin, untargeted

M = TypeVar("M", bound=nn.Module)
LABELS = torch.tensor([0, 1, 2, 3, 4, 0, 1, 2])


def randomised(model: M) -> M:
    """Random weights and, unlike those of a fresh network, random statistics too; in eval mode."""
    generator = torch.Generator().manual_seed(0)
    for name, tensor in model.state_dict().items():
        if name.endswith(("running_var", "norm.weight")):
            tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
        elif tensor.is_floating_point():
            tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model.eval()


class SharedNorm(nn.Module):
    """One BatchNorm after two convolutions."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.norm = nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        return cast("Tensor", self.norm(self.second(self.norm(self.first(x)).relu())).mean(dim=(2, 3)))


class SharedConvolution(nn.Module):
    """One convolution with and without the BatchNorm after it."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.norm = nn.Conv2d(3, 5, 3), nn.BatchNorm2d(5)

    def forward(self, x: Tensor) -> Tensor:
        out = self.layer(x)
        return cast("Tensor", (self.norm(out) + out).mean(dim=(2, 3)))


def convolutional() -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(3, 6, 3, bias=False), nn.BatchNorm2d(6, eps=0.1), nn.ReLU(inplace=True),
        nn.Conv2d(6, 6, 3, groups=2), nn.BatchNorm2d(6, affine=False), nn.Flatten(), nn.Linear(6 * 6 * 4, 5),
    )  # fmt: skip


def linear() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(240, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 5))


def activated() -> nn.Module:
    """A small network of timm, whose BatchNorm layers carry their activation."""
    model: nn.Module = timm.create_model("test_efficientnet", num_classes=5, pretrained=False)
    assert {type(part).__name__ for part in model.modules()} >= {"BatchNormAct2d"}
    return model


def parametrised() -> nn.Module:
    plain = nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4)
    return nn.Sequential(*plain, weight_norm(nn.Conv2d(4, 5, 3)), nn.BatchNorm2d(5), nn.AvgPool2d((8, 6)), nn.Flatten())


def pooled() -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(6 * 4 * 3, 5))


FOLDED = {convolutional: 0, linear: 0, activated: 0, pooled: 0}
"""Models whose BatchNorm layers all go, with the number that is left."""
COPIED = {parametrised: 1, SharedNorm: 1, SharedConvolution: 1}
"""Models that keep some or all."""


def inputs(dtype: torch.dtype = torch.float32) -> Tensor:
    return torch.rand(8, 3, 10, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(dtype)


def norms(model: object) -> int:
    assert isinstance(model, nn.Module)
    return sum(type(part).__name__.startswith("BatchNorm") for part in model.modules())


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize(("make", "left"), [*FOLDED.items(), *COPIED.items()])
def test_the_twin_computes_the_same_function(make: Callable[[], nn.Module], left: int, dtype: torch.dtype) -> None:
    model, x = randomised(make()).to(dtype), inputs(dtype)
    twin = search_twin(model, x)
    assert twin.distinct
    assert norms(twin.search) == left
    assert not any(parameter.requires_grad for parameter in cast("nn.Module", twin.search).parameters())
    tolerance = 1e-11 if dtype == torch.float64 else 1e-4
    x.requires_grad_()
    ours, theirs = twin.searched(x), model(x)
    assert torch.allclose(ours, theirs, rtol=tolerance, atol=tolerance * theirs.abs().max().item())
    (grad,), (expected,) = (torch.autograd.grad(z.square().sum(), x) for z in (ours, theirs))
    assert torch.allclose(grad, expected, rtol=10 * tolerance, atol=10 * tolerance * expected.abs().max().item())


@pytest.mark.parametrize("make", [*FOLDED, *COPIED])
def test_making_a_twin_leaves_the_model_as_it_was(make: Callable[[], nn.Module]) -> None:
    model = randomised(make())
    before, parts = copy.deepcopy(model.state_dict()), [type(part) for part in model.modules()]
    search_twin(model, inputs())
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.values(), strict=True))
    assert [type(part) for part in model.modules()] == parts
    assert all(parameter.requires_grad and parameter.is_contiguous() for parameter in model.parameters())


def test_a_relu_goes_behind_the_pooling_after_it() -> None:
    seen: list[tuple[str, tuple[int, ...]]] = []
    search = cast("nn.Module", search_twin(randomised(pooled()), inputs()).search)
    for part in search.modules():
        if isinstance(part, nn.ReLU | nn.MaxPool2d):
            part.register_forward_hook(lambda part, _, out: seen.append((type(part).__name__, tuple(out.shape[2:]))))
    search(inputs())
    assert seen == [("MaxPool2d", (4, 3)), ("ReLU", (4, 3))]


class Keeping(nn.Module):
    """Keeps its features, as models do from which something is to be read out."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.features = convolutional(), torch.zeros(1)

    def forward(self, x: Tensor) -> Tensor:
        self.features = self.body(x)
        return self.features


def test_tracing_leaves_nothing_strange_in_the_model() -> None:
    model = randomised(Keeping())
    assert search_twin(model, inputs()).distinct
    assert type(model.features) is Tensor


class Noisy(nn.Module):
    """Another answer each time."""

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :5] + torch.rand(x.shape[0], 5)


class Uncopyable(nn.Module):
    """Cannot be copied."""

    def __deepcopy__(self, memo: object) -> nn.Module:
        raise TypeError("planted")

    def forward(self, x: Tensor) -> Tensor:
        return x.flatten(1)[:, :5]


class Forgetful(nn.Module):
    """A copy of it computes something else."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = 1.0

    def __deepcopy__(self, memo: object) -> nn.Module:
        return Forgetful.other()

    @staticmethod
    def other() -> Forgetful:
        model = Forgetful().eval()
        model.scale = 1.01
        return model

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x.flatten(1)[:, :5]


@pytest.mark.parametrize("make", [Noisy, Uncopyable, Forgetful])
def test_models_that_differ_from_their_copy_search_with_themselves(make: type[nn.Module]) -> None:
    model = make().eval()
    twin = search_twin(model, inputs())
    assert not twin.distinct
    assert twin.search is model


def in_training_mode(model: nn.Sequential) -> None:
    model[1].train()


def with_a_hook(model: nn.Sequential) -> None:
    model[0].register_forward_hook(lambda *_: None)


def with_statistics_of_the_batch(model: nn.Sequential) -> None:
    model[1] = nn.BatchNorm2d(6, track_running_stats=False).eval()


@pytest.mark.parametrize("spoil", [in_training_mode, with_a_hook, with_statistics_of_the_batch])
def test_models_that_may_depend_on_the_batch_get_no_twin_and_no_micro_batches(
    spoil: Callable[[nn.Sequential], None],
) -> None:
    model = randomised(convolutional())
    spoil(model)
    assert search_twin(model, inputs()) == own_twin(model, inputs()) == Twin(model, model, rows=None)


def test_a_model_without_gradients_searches_with_itself_in_micro_batches() -> None:
    model = randomised(convolutional())
    twin = own_twin(model, inputs())
    assert not twin.distinct
    assert twin.rows == search_twin(model, inputs()).rows is not None


def test_a_function_searches_for_itself() -> None:
    model = lambda x: x.flatten(1)[:, :5]  # noqa: E731
    assert search_twin(model, inputs()) == as_twin(model) == Twin(model, model)


def test_a_twin_stays_the_twin_it_is() -> None:
    twin = search_twin(randomised(convolutional()), inputs())
    assert search_twin(twin, inputs()) is twin
    assert as_twin(twin) is twin


def test_the_twin_answers_with_the_model_itself() -> None:
    model, calls = randomised(convolutional()), []
    twin = search_twin(model, inputs())
    model.register_forward_hook(lambda *_: calls.append(1))
    assert torch.equal(twin(inputs()), model(inputs()))
    twin.searched(inputs())
    assert len(calls) == 2


def test_passes_are_those_of_examples_not_of_batches_and_the_probe_is_free() -> None:
    twin = search_twin(randomised(convolutional()), inputs())
    assert (twin.passes.forward, twin.passes.backward) == (0, 0)
    twin(inputs())
    twin.searched(inputs()[:3])
    twin.searched(inputs()[:2], backward=True)
    assert (twin.passes.forward, twin.passes.backward) == (8 + 3 + 2, 2)


@pytest.mark.parametrize("rows", [1, 3, 8, 100])
def test_micro_batches_change_nothing(rows: int) -> None:
    model, x, y = randomised(convolutional()).double(), inputs(torch.float64), LABELS
    whole, parts = (untargeted(Twin(model, model, rows=r), y, margin) for r in (None, rows))
    for one, other in zip((*whole(x), *whole.gradient(x)), (*parts(x), *parts.gradient(x)), strict=True):
        assert torch.allclose(one.double(), other.double(), rtol=1e-12, atol=1e-12)
    assert parts.twin.passes == whole.twin.passes


def test_big_inputs_go_in_parts_on_a_cpu_small_ones_together() -> None:
    model = nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten()).eval()
    assert [len(part) for part in search_twin(model, torch.rand(12, 3, 224, 224)).split(torch.rand(12, 2))] == [10, 2]
    assert len(search_twin(model, torch.rand(128, 3, 32, 32)).split(torch.rand(128, 2))) == 1
    assert search_twin(model, torch.rand(1, 3, 2000, 2000)).rows == 1
    assert search_twin(model, torch.rand(1, 1, 4, 4)).rows == 256


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64], ids=str)
def test_a_search_in_another_precision_speaks_that_of_the_model(dtype: torch.dtype) -> None:
    model = randomised(convolutional())
    twin = search_twin(model, inputs(), dtype=dtype)
    assert twin.distinct
    assert twin.searched(inputs()).dtype == torch.float32
    difference = (twin.searched(inputs()) - model(inputs())).abs().max() / model(inputs()).abs().max()
    assert 0 < difference < (0.03 if dtype == torch.bfloat16 else 1e-5)


class Torn(nn.Module):
    """Half types cannot hold what is between its input and output."""

    def forward(self, x: Tensor) -> Tensor:
        return ((x * 1e5) / 1e5).flatten(1)[:, :5]


def test_a_search_in_a_precision_that_does_not_fit_is_dropped() -> None:
    model = Torn().eval()
    assert not search_twin(model, inputs(), dtype=torch.float16).distinct
    assert search_twin(model, inputs()).distinct


def test_only_mistakes_of_the_model_itself_are_successes() -> None:
    right, wrong = torch.tensor([[1.0, 0.0]]), torch.tensor([[0.0, 1.0]])
    x, y = torch.rand(4, 2), torch.zeros(4, dtype=torch.int64)
    for own, search, expected in ((right, wrong, False), (wrong, wrong, True), (wrong, right, False)):
        twin = Twin(_Constant(own), _Constant(search))
        _, finished = untargeted(twin, y)(x)
        assert finished.tolist() == [expected] * 4


class _Constant:
    def __init__(self, logits: Tensor) -> None:
        self.logits = logits

    def __call__(self, x: Tensor) -> Tensor:
        return self.logits.expand(x.shape[0], -1)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ((torch.zeros(8, 5),), r"returned a tuple, expected logits \(N, K\) as a tensor.*robustlab.models.adapted"),
        ({"logits": torch.zeros(8, 5)}, r"returned a dict, expected logits"),
        (torch.zeros(8), r"returned \(8,\) torch.float32 for 8 inputs"),
        (torch.zeros(8, 1), r"returned \(8, 1\) torch.float32 for 8 inputs.* with K >= 2"),
        (torch.zeros(7, 5), r"returned \(7, 5\) torch.float32 for 8 inputs"),
        (torch.zeros(8, 5, 1), r"returned \(8, 5, 1\)"),
        (torch.zeros(8, 5, dtype=torch.int64), r"returned \(8, 5\) torch.int64.*floating-point logits"),
    ],
)
def test_answers_that_are_no_logits_are_refused(answer: object, message: str) -> None:
    twin = as_twin(cast("Callable[[Tensor], Tensor]", lambda _: answer))
    for ask in (twin, twin.searched):
        with pytest.raises(ValueError, match=message):
            ask(inputs())


class InPlace(nn.Module):
    """Normalises its input where it stands."""

    def forward(self, x: Tensor) -> Tensor:
        x -= 0.5
        return x.flatten(1)[:, :5]


def test_a_model_that_writes_over_its_input_is_refused_and_the_input_kept() -> None:
    x, before = inputs(), inputs()
    with pytest.raises(ValueError, match=r"changes its input in place.*work on a copy"):
        search_twin(InPlace().eval(), x)
    assert torch.equal(x, before)
    with pytest.raises(ValueError, match="changes its input in place"):
        as_twin(InPlace()).searched(x.clone())
