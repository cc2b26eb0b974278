"""Models that write over their input, use the memory of their answer again, leave switches, or have no shape yet."""

from __future__ import annotations

from collections.abc import Callable

import numpy
import pytest
import torch
from torch import Tensor, nn

from robustlab.attacks import APGD, EOT, FAB, FGSM, PGD, Square
from robustlab.core import L2, Attack, Linf, ThreatModel
from robustlab.core.twin import as_twin
from robustlab.evaluation import Settings, evaluate, inspect_inputs
from robustlab.training import Settings as Training
from robustlab.training import fit, standard

_LINF = ThreatModel(Linf(), 0.1)
_ATTACKS: list[Attack] = [FGSM(_LINF), PGD(_LINF, 3), APGD(_LINF, 4), FAB(ThreatModel(L2(), 0.5), 3), Square(_LINF, 8)]


class _Linear(nn.Module):
    """Logits of what a function leaves of its input."""

    def __init__(self, spoil: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.spoil = spoil
        self.register_buffer("weight", torch.sin(torch.arange(48.0)).reshape(3, 16))

    def forward(self, x: Tensor) -> Tensor:
        self.spoil(x)
        return x.flatten(1) @ self.weight.T  # type: ignore[operator]


def _by_data(x: Tensor) -> None:
    x.data.mul_(0.5)


def _by_numpy(x: Tensor) -> None:
    values = x.detach().numpy()
    numpy.multiply(values, 0.5, out=values)


def _by_set(x: Tensor) -> None:
    x.data[:, 0] = 0


_SPOILERS = [_by_data, _by_numpy, _by_set]


def _inputs() -> Tensor:
    return torch.rand(5, 1, 4, 4, generator=torch.Generator().manual_seed(3))


@pytest.mark.slow
@pytest.mark.parametrize("spoil", _SPOILERS)
def test_what_a_model_writes_over_uncounted_is_neither_the_input_nor_the_search(
    spoil: Callable[[Tensor], object],
) -> None:
    model, x = _Linear(spoil).eval(), _inputs()
    y, before = model(x.clone()).argmax(dim=1), x.clone()
    for attack in _ATTACKS:
        x_adv = attack(model, x, y)
        assert torch.equal(x, before)
        assert attack.threat.contains(x, x_adv).all(), attack  # type: ignore[attr-defined]
    result = evaluate(model, (x, y), attacks=[PGD(_LINF, 3)], settings=Settings(batch_size=2))
    assert torch.equal(x, before)
    assert result.clean.accuracy.count == 5
    assert not {"random-outputs", "unstable-data", "outside-budget"} & {f.code for f in result.findings}


class _Noisy(nn.Module):
    """Random logits, in the same memory each time."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("answer", torch.zeros(0))

    @torch.no_grad()
    def forward(self, x: Tensor) -> Tensor:
        if self.answer.shape != (len(x), 3):  # type: ignore[has-type]
            self.answer = torch.zeros(len(x), 3)
        self.answer.copy_(torch.randn(len(x), 3))
        return self.answer


def test_answers_in_memory_that_is_used_again_stay_as_they_were() -> None:
    twin, x = as_twin(_Noisy()), _inputs()
    first, second = twin(x), twin(x)
    assert not torch.equal(first, second)
    assert "random-outputs" in {f.code for f in inspect_inputs(_Noisy().eval(), (x, torch.zeros(5).long()))}
    EOT(PGD(_LINF, 2), 3)(_Noisy().eval(), x, torch.zeros(5).long())


@pytest.mark.parametrize(
    "layers", [(nn.LazyLinear,), (nn.LazyBatchNorm2d, nn.LazyLinear)], ids=["parameters", "buffers"]
)
def test_layers_without_a_shape_are_refused_by_name(layers: tuple[type[nn.Module], ...]) -> None:
    def made() -> nn.Module:
        norms = [nn.LazyBatchNorm2d()] if nn.LazyBatchNorm2d in layers else []
        return nn.Sequential(*norms, nn.Flatten(), nn.LazyLinear(3)).eval()

    x, y = _inputs(), torch.zeros(5).long()
    calls: list[Callable[[], object]] = [
        lambda: FGSM(_LINF)(made(), x, y),
        lambda: evaluate(made(), (x, y), attacks=[FGSM(_LINF)]),
        lambda: evaluate(made(), (x, y), attacks=[FGSM(_LINF)], settings=Settings(doctor=False)),
        lambda: fit(made(), standard(), (x, y), Training(epochs=1)),
    ]
    for call in calls:
        with pytest.raises(ValueError, match="lazy layer and has no shape yet: call the model once"):
            call()


def test_a_model_that_leaves_gradients_switched_off_is_climbed_all_the_same() -> None:
    def switching(x: Tensor) -> Tensor:
        logits: Tensor = plain(x)
        torch.set_grad_enabled(False)
        return logits

    plain, x = _Linear(lambda _: None).eval(), _inputs()
    y = plain(x).argmax(dim=1)
    assert torch.equal(FGSM(_LINF)(switching, x, y), FGSM(_LINF)(plain, x, y))
    assert torch.is_grad_enabled()


@pytest.mark.slow
def test_the_callers_own_modes_decide_nothing() -> None:
    model, x = _Linear(lambda _: None).eval(), _inputs()
    y = model(x).argmax(dim=1)
    plain = evaluate(model, (x, y), attacks=[PGD(_LINF, 3)])
    layer = nn.Linear(16, 3)
    trained, before = nn.Sequential(nn.Flatten(), layer), layer.weight.detach().clone()
    for mode in (torch.inference_mode, torch.no_grad):
        with mode():
            again = evaluate(model, (x.clone(), y.clone()), attacks=[PGD(_LINF, 3)])
            fit(trained, standard(), (x.clone(), y.clone()), Training(epochs=1))
        assert [p.robust for p in again.curves[0].points] == [p.robust for p in plain.curves[0].points]
        assert not torch.equal(layer.weight, before)
        before = layer.weight.detach().clone()


@pytest.mark.parametrize("made", [Tensor.to_sparse, Tensor.to_mkldnn, lambda x: x.to("meta")])
def test_inputs_that_are_not_dense_are_refused(made: Callable[[Tensor], Tensor]) -> None:
    x = made(_inputs().flatten(1))
    with pytest.raises(ValueError, match="inputs must be a dense tensor with values"):
        FGSM(_LINF)(lambda x: x, x, torch.zeros(5).long())


@pytest.mark.parametrize("attack", _ATTACKS, ids=lambda attack: type(attack).__name__)
def test_torchs_default_dtype_changes_nothing(attack: Attack) -> None:
    model, x = _Linear(lambda _: None).eval(), _inputs()
    y = model(x).argmax(dim=1)
    expected = attack(model, x, y)
    torch.set_default_dtype(torch.float64)
    try:
        assert torch.equal(attack(model, x, y), expected)
    finally:
        torch.set_default_dtype(torch.float32)
