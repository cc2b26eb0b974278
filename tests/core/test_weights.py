"""One state dict whatever a model is wrapped in, and weights that find their places again."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from robustlab.core.weights import bare, check_plain, fitted, plain, put_in, state_of

Wrap = Callable[[nn.Module], nn.Module]


def compiled(model: nn.Module) -> nn.Module:
    return cast(nn.Module, torch.compile(model, backend="eager"))


def ema(model: nn.Module) -> nn.Module:
    from timm.utils.model_ema import ModelEmaV3

    return ModelEmaV3(model)


class Own(nn.Module):
    """Somebody's network, which calls a part of it ``module`` and another ``model``."""

    def __init__(self) -> None:
        super().__init__()
        self.module = nn.Linear(3, 4)
        self.model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
        self.weight = nn.Parameter(torch.rand(2))

    def forward(self, x: Tensor) -> Tensor:
        made: Tensor = self.model(self.module(x)) * self.weight[0]
        return made


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)))


def within(wrap: Wrap) -> Wrap:
    """Wraps the second part of a model instead of the whole."""

    def wrapped(model: nn.Module) -> nn.Module:
        name = list(model._modules)[1]
        setattr(model, name, wrap(model._modules[name]))  # type: ignore[arg-type]
        return model

    return wrapped


WRAPS: dict[str, Wrap] = {
    "not": lambda m: m,
    "compiled": compiled,
    "parallel": nn.DataParallel,
    "averaged": AveragedModel,
    "ema": ema,
    "compiled in parallel": lambda m: nn.DataParallel(compiled(m)),
    "parallel, compiled": lambda m: compiled(nn.DataParallel(m)),
    "all": lambda m: compiled(AveragedModel(nn.DataParallel(compiled(m)))),
    "inner compiled": within(compiled),
    "inner parallel": within(nn.DataParallel),
    "inner compiled, whole parallel": lambda m: nn.DataParallel(within(compiled)(m)),
    "inner averaged": within(AveragedModel),
}


def same(one: dict[str, object], other: dict[str, object]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(v, other[k]) for k, v in one.items())  # type: ignore[arg-type]


@pytest.mark.parametrize("make", [net, Own])
@pytest.mark.parametrize("wrap", WRAPS)
def test_a_wrapped_model_has_the_names_of_the_model(make: Callable[[], nn.Module], wrap: str) -> None:
    model = make()
    plainly = {name: value.clone() for name, value in model.state_dict().items()}
    wrapped = WRAPS[wrap](model)
    assert same(state_of(wrapped), plainly)
    if not wrap.startswith("inner"):
        assert type(bare(wrapped)) is type(model)


@pytest.mark.parametrize("make", [net, Own])
@pytest.mark.parametrize("saved", WRAPS)
@pytest.mark.parametrize("goal", ["not", "compiled", "averaged", "all", "inner parallel"])
def test_weights_of_any_wrapper_go_into_any_other(make: Callable[[], nn.Module], saved: str, goal: str) -> None:
    giver, taker = WRAPS[saved](make()), WRAPS[goal](make())
    for value in giver.state_dict().values():
        value.add_(1)
    assert put_in(taker, giver.state_dict()) == []
    assert same(state_of(taker), state_of(giver))


def test_a_part_that_all_names_begin_with_is_left_out_where_that_fits() -> None:
    state = net().state_dict()
    for prefix in ("model.", "net.", "module.model.", "model._orig_mod.", "_orig_mod.module.", "module.module."):
        named = {prefix + name: value for name, value in state.items()}
        assert fitted(named, state).keys() == state.keys(), prefix


def test_names_that_fit_as_they_are_stay() -> None:
    odd = {"module.weight": 1, "weight": 2, "module.module.weight": 3}
    assert fitted(odd, odd) == odd


def test_weights_of_something_else_are_not_bent_to_fit() -> None:
    model = net()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    lacking = {name: value for name, value in before.items() if name != "0.bias"}
    assert put_in(model, lacking) == ["it lacks 0.bias"]
    # Two entries that would be one without their wrappers are no way to fill one.
    assert put_in(model, {**lacking, "module.0.bias": before["0.bias"], "module.1.0.bias": before["1.0.bias"]})
    assert put_in(model, {**before, "0._orig_mod.bias": before["0.bias"]}) == ["it has besides 0._orig_mod.bias"]
    assert put_in(model, {})
    wider = {**before, "0.bias": torch.zeros(5)}
    assert put_in(nn.DataParallel(model), wider) == ["it differs in shape: module.0.bias is (5,), not (4,)"]
    whole = {**before, "0.bias": torch.zeros(4, dtype=torch.int8), "0.weight": before["0.weight"].to(torch.complex64)}
    (said,) = put_in(model, whole)
    assert said.startswith("it differs in kind: 0.weight holds torch.complex64, not torch.float32, 0.bias")
    assert same(model.state_dict(), before)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    ("value", "words"),
    [
        (
            lambda: torch.quantize_per_tensor(torch.rand(3), 0.1, 0, torch.qint8),
            r"quantized: save the weights",
        ),
        (lambda: torch.eye(3).to_sparse(), "sparse_coo, which weight files cannot hold"),
        (lambda: torch.eye(3).to_sparse_csr(), "sparse_csr"),
        (lambda: torch.rand(3).to_mkldnn(), "_mkldnn"),
        (lambda: torch.zeros(2, dtype=torch.complex128), "complex128"),
        (lambda: torch.nested.nested_tensor([torch.rand(2), torch.rand(3)]), "nested"),
        (lambda: torch.empty(3, device="meta"), "on the meta device"),
        (lambda: nn.LazyLinear(2).weight, "of a lazy layer"),
        (lambda: (torch.rand(3), None), "a tuple, not a tensor"),
        (lambda: None, "a NoneType, not a tensor"),
    ],
)
def test_entries_that_no_weight_file_can_hold_are_named(value: Callable[[], object], words: str) -> None:
    with pytest.raises(ValueError, match=f"^head.w is .*{words}"):
        check_plain({"a": torch.rand(2), "head.w": value()})


def test_dense_tensors_are_copied() -> None:
    kinds = [torch.rand(2, 3).t(), torch.rand(3).bfloat16(), torch.zeros(0, 2), torch.tensor(True), torch.rand(2) * 1j]
    state = {str(number): value for number, value in enumerate(kinds)}
    found = plain(state)
    assert all(torch.equal(value, state[name]) and value.is_contiguous() for name, value in found.items())
    assert found["1"].data_ptr() != kinds[1].data_ptr()
