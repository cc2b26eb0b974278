"""Methods of captum: closed forms and references by hand, networks with unusual layers, no trace, sentences."""

from __future__ import annotations

import copy
import sys
import threading
from collections.abc import Callable
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core import Streams, as_twin
from robustlab.explain import Case, DeepLift, GradCAM, GuidedBackprop, Method, explain, make_method
from robustlab.explain.layers import copied

BORROWED = (GuidedBackprop(), GradCAM(), DeepLift())


class Net(nn.Module):
    """A small residual network whose activations are given."""

    def __init__(
        self, first: nn.Module, second: nn.Module | None = None, *, dtype: torch.dtype = torch.float64
    ) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.conv1, self.conv2 = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
        self.bn = nn.BatchNorm2d(4)
        self.bn.running_mean = torch.randn(4) / 3
        self.act1, self.act2 = first, first if second is None else second
        self.head = nn.Linear(4, 3)
        self.to(dtype).eval()

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn(self.conv1(x))
        y = self.conv2(self.act1(x))
        logits: Tensor = self.head(self.act2(x + y).mean((2, 3)))
        return logits


def images(count: int = 4, *, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.rand(count, 3, 6, 8, dtype=dtype, generator=torch.Generator().manual_seed(1)) * 4 - 1


def guided(weights: tuple[Tensor, Tensor], x: Tensor) -> Tensor:
    """Guided backpropagation of w2 relu(w1 x) by hand: (N, D)."""
    first, second = weights
    hidden = x @ first.T
    return (second.clamp(min=0) * (hidden > 0)) @ first


def test_guided_backprop_of_two_layers_is_its_closed_form() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(5, 7, bias=False), nn.ReLU(), nn.Linear(7, 3, bias=False)).double().eval()
    x, target = torch.randn(6, 5, dtype=torch.float64), torch.tensor([0, 1, 2, 2, 1, 0])
    weights = [p.detach() for p in net.parameters()]
    found = explain(GuidedBackprop(), net, x, target).values
    assert torch.allclose(found, guided((weights[0], weights[1][target]), x), atol=1e-14)
    assert not torch.allclose(found, explain("gradient", net, x, target).values)


def test_guided_backprop_leaves_shortcuts_alone() -> None:
    """The ReLU passes what is above 0, the shortcut around it passes all."""

    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.relu, self.first, self.last = nn.ReLU(), nn.Linear(3, 3), nn.Linear(3, 2)

        def forward(self, x: Tensor) -> Tensor:
            hidden = self.first(x)
            logits: Tensor = self.last(self.relu(hidden) + 2 * hidden)
            return logits

    torch.manual_seed(0)
    net, x = Shortcut().double().eval(), torch.randn(5, 3, dtype=torch.float64)
    last, hidden = net.last.weight[0], net.first(x)
    expected = (last.clamp(min=0) * (hidden > 0) + 2 * last) @ net.first.weight
    assert torch.allclose(explain(GuidedBackprop(), net, x, torch.zeros(5, dtype=torch.int64)).values, expected)


def test_guided_backprop_of_relu6_limits_the_gradient_as_well() -> None:
    first, last = nn.Linear(3, 3, bias=False), nn.Linear(3, 2, bias=False)
    first.weight = nn.Parameter(torch.eye(3))
    last.weight = nn.Parameter(torch.tensor([[1.0, 2.0, -3.0], [0.0, 0.0, 0.0]]))
    net = nn.Sequential(first, nn.ReLU6(inplace=True), last).double().eval()
    x = torch.tensor([[1.0, 7.0, 1.0], [-1.0, 5.0, -2.0]], dtype=torch.float64)
    found = explain(GuidedBackprop(), net, x, torch.tensor([0, 0])).values
    assert torch.equal(found, torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, 0.0]], dtype=torch.float64))


def grad_cam(net: Net, x: Tensor, target: Tensor) -> Tensor:
    """Grad-CAM at the second convolution, written out."""
    with torch.no_grad():
        shortcut: Tensor = net.bn(net.conv1(x))
        activations: Tensor = net.conv2(torch.relu(shortcut))
    activations.requires_grad_()
    logits = net.head(torch.relu(shortcut + activations).mean((2, 3)))
    (gradient,) = torch.autograd.grad(logits.gather(1, target[:, None]).sum(), activations)
    cam = torch.relu(torch.einsum("nc,nchw->nhw", gradient.mean((2, 3)), activations.detach()))
    return F.interpolate(cam[:, None], x.shape[2:], mode="bilinear", align_corners=False)[:, 0]


@pytest.mark.parametrize("act", [nn.ReLU(), nn.Sequential(nn.ReLU())])
@pytest.mark.parametrize("layer", ["", "conv2"])
def test_grad_cam_is_the_one_written_out(act: nn.Module, layer: str) -> None:
    net, x, target = Net(act), images(), torch.tensor([0, 1, 2, 0])
    maps = explain(GradCAM(layer), net, x, target)
    expected = grad_cam(net, x, target)
    assert expected.amax() > 0
    assert torch.allclose(maps.per_pixel, expected, atol=1e-12)
    assert torch.equal(maps.values[:, 0], maps.values[:, 2])


def test_grad_cam_upsamples_small_grids_and_skips_gates() -> None:
    torch.manual_seed(0)

    class Gated(nn.Module):
        """A squeeze-and-excitation network: its last convolution sees one position."""

        def __init__(self) -> None:
            super().__init__()
            self.conv, self.gate, self.head = nn.Conv2d(3, 4, 3, stride=2), nn.Conv2d(4, 4, 1), nn.Linear(4, 3)

        def forward(self, x: Tensor) -> Tensor:
            y = torch.tanh(self.conv(x))
            logits: Tensor = self.head((y * torch.sigmoid(self.gate(y.mean((2, 3), keepdim=True)))).mean((2, 3)))
            return logits

    net, x = Gated().eval(), images(dtype=torch.float32)
    assert torch.equal(explain("grad-cam", net, x).values, explain(GradCAM("conv"), net, x).values)


def signals(kind: Callable[..., nn.Module], shape: tuple[int, ...]) -> None:
    x = torch.rand(2, 2, *shape)
    body = nn.Sequential(kind(2, 3, 3), nn.ReLU(), nn.Flatten())
    net = nn.Sequential(body, nn.Linear(body(x).shape[1], 3)).eval()
    assert explain("grad-cam", net, x).values.shape == x.shape


def test_grad_cam_of_signals_and_volumes() -> None:
    signals(nn.Conv1d, (9,))
    signals(nn.Conv3d, (4, 5, 6))


ACTIVATIONS = [
    nn.ReLU(), nn.ReLU(inplace=True), nn.ReLU6(), nn.ReLU6(inplace=True), nn.ELU(inplace=True), nn.LeakyReLU(0.1),
    nn.Sigmoid(), nn.Tanh(), nn.Softplus(),
]  # fmt: skip


@pytest.mark.parametrize("reused", [True, False])
@pytest.mark.parametrize("act", ACTIVATIONS, ids=repr)
def test_deeplift_is_complete_with_activations_in_place_and_reused(act: nn.Module, reused: bool) -> None:
    """In place, the shortcut of the network is the activated one: a hook that copies the input would lose that."""
    net, x = Net(act, None if reused else copy.deepcopy(act)), images() * 4
    maps = explain(DeepLift(0.25), net, x)
    logits = net(x) - net(torch.full_like(x, 0.25))
    assert maps.change is not None
    assert maps.gap is not None
    assert torch.allclose(maps.change, logits.gather(1, maps.target[:, None])[:, 0])
    assert maps.gap.abs().amax() < 1e-9 * maps.values.abs().amax()


POOLS = [
    nn.MaxPool2d(2), nn.MaxPool2d(3, 2, 1), nn.MaxPool2d((3, 2), (2, 1)), nn.MaxPool2d(3, 2, ceil_mode=True),
    nn.MaxPool2d(3, 2, 1, ceil_mode=True), nn.MaxPool2d(2, 2, 1, ceil_mode=True),
    nn.Sequential(nn.Flatten(2), nn.MaxPool1d(3)), nn.Sequential(nn.Flatten(2), nn.MaxPool1d(5, 2, 2)),
    nn.Sequential(nn.Unflatten(1, (2, 2)), nn.MaxPool3d((1, 3, 3), (1, 2, 3), ceil_mode=True)),
]  # fmt: skip


@pytest.mark.parametrize("pool", POOLS, ids=repr)
def test_deeplift_is_complete_through_pooling(pool: nn.Module) -> None:
    """Also where windows overlap, which captum alone gets wrong."""
    torch.manual_seed(0)
    x = images()
    body = nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), pool, nn.Flatten()).double()
    net = nn.Sequential(body, nn.Linear(body(x).shape[1], 3).double()).eval()
    gap = explain(DeepLift(), net, x).gap
    assert gap is not None
    assert gap.abs().amax() < 1e-9


def test_deeplift_by_hand() -> None:
    """Of relu(x1 - x2) + bias, with x1 - x2 from -1 to 3: a quarter of the change has no effect."""
    net = nn.Sequential(nn.Linear(2, 1), nn.ReLU(), nn.Linear(1, 2)).double().eval()
    with torch.no_grad():
        for value, parameter in zip(
            (torch.tensor([[1.0, -1.0]]), -1, torch.tensor([[2.0], [0]]), 5), net.parameters(), strict=True
        ):
            parameter.copy_(torch.as_tensor(value))
    found = explain(DeepLift(), net, torch.tensor([[3.0, -1.0]], dtype=torch.float64), torch.tensor([0])).values
    assert torch.allclose(found, torch.tensor([[3.0, 1.0]], dtype=torch.float64) * 2 * 0.75)


@pytest.mark.parametrize("method", [GuidedBackprop(), GradCAM("conv1"), GradCAM("act1")], ids=repr)
def test_writing_over_activations_changes_no_map(method: Method) -> None:
    """In-place layers give the maps of the same network written without them."""

    class Same(Net):
        def forward(self, x: Tensor) -> Tensor:
            x = self.act1(self.bn(self.conv1(x)))
            logits: Tensor = self.head(self.act2(x + self.conv2(x)).mean((2, 3)))
            return logits

    x = images()
    inplace = explain(method, Net(nn.ReLU(inplace=True), nn.ReLU()), x)
    apart = explain(method, Same(nn.ReLU(), nn.ReLU()), x)
    assert torch.equal(inplace.target, apart.target)
    assert torch.allclose(inplace.values, apart.values, atol=1e-14)


def everything(model: nn.Module) -> list[object]:
    """State of a model: each module's hooks, mode and attributes, each tensor's values and gradient, generators."""
    seen: list[object] = []
    for name, part in model.named_modules():
        hooks = [(key, list(value.items())) for key, value in vars(part).items() if "hooks" in key]
        others = [(key, value) for key, value in vars(part).items() if "hooks" not in key and not key.startswith("_")]
        seen.append((name, id(part), part.training, hooks, others, list(part._modules.items())))
    tensors = [*model.named_parameters(), *model.named_buffers()]
    seen += [(name, id(t), t.tolist(), t.requires_grad, t.grad) for name, t in tensors]
    return [*seen, torch.get_rng_state().tolist()]


@pytest.mark.parametrize("training", [False, True])
@pytest.mark.parametrize("method", BORROWED, ids=repr)
def test_the_model_is_left_as_it_was(method: Method, training: bool) -> None:
    net, x = Net(nn.ReLU(inplace=True)).train(training), images()
    net.conv1.register_forward_hook(lambda *_: None)
    net.head.weight.requires_grad_(False)
    before, given = everything(net), x.clone()
    values = explain(method, net, x, torch.tensor([0, 1, 2, 0])).values
    assert everything(net) == before
    assert torch.equal(x, given)
    assert not values.requires_grad
    assert values.abs().sum() > 0


@pytest.mark.parametrize("method", BORROWED, ids=repr)
def test_examples_are_explained_one_by_one(method: Method) -> None:
    net, x = Net(nn.ReLU()), images(6)
    whole = explain(method, net, x)
    assert torch.allclose(explain(method, net, x[4:5]).values, whole.values[4:5], rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("compiled", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_wrappers_are_looked_through(compiled: bool) -> None:
    net, x, target = Net(nn.ReLU()), images(), torch.tensor([0, 1, 2, 0])
    wrapped = cast("nn.Module", torch.compile(net, backend="eager")) if compiled else nn.DataParallel(net)
    models = (net, wrapped, nn.DataParallel(nn.Sequential(nn.Identity(), wrapped)))
    for method in BORROWED:
        cases = [Case(model, as_twin(net), x, target, Streams(0, torch.arange(4))) for model in models]
        first, *others = [method(case) for case in cases]
        assert all(torch.equal(first, other) for other in others)
    assert net in wrapped.children()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("method", BORROWED, ids=repr)
def test_maps_have_the_dtype_of_the_inputs(method: Method, dtype: torch.dtype) -> None:
    values = explain(method, Net(nn.ReLU(), dtype=dtype), images(dtype=dtype)).values
    assert values.dtype == dtype
    assert values.isfinite().all()


def test_a_copy_shares_weights_and_needs_no_leaf() -> None:
    class Computed(Net):
        """Keeps a tensor with a graph, as weight normalisation does, which torch refuses to copy."""

        def __init__(self) -> None:
            super().__init__(nn.ReLU())
            self.scale = self.head.weight * 2

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) @ self.scale[:, :3]

    net = Computed()
    with pytest.raises(RuntimeError, match="deepcopy"):
        copy.deepcopy(net)
    own = copied(net, "a method")
    pairs = list(zip(net.parameters(), own.parameters(), strict=True))
    assert all(theirs.data_ptr() == mine.data_ptr() and not mine.requires_grad for theirs, mine in pairs)
    assert explain(GuidedBackprop(), net, images()).values.abs().sum() > 0
    net.lock = threading.Lock()  # type: ignore[assignment]
    with pytest.raises(ValueError, match=r"copying the model failed: .*lock.*; keep what cannot be copied"):
        explain(GuidedBackprop(), net, images())


def test_weights_computed_by_hooks_and_shared_weights() -> None:
    net = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))
    tied = nn.Linear(4, 4)
    tied.weight = net.parametrizations.weight.original1
    model, x = nn.Sequential(net, nn.ReLU(), tied).eval(), torch.rand(2, 4)
    logits = model(x)  # holds a graph, as during training
    assert explain(GuidedBackprop(), model, x).values.shape == x.shape
    logits.sum().backward()


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (F.relu, "ReLU"), (torch.relu, "ReLU"), (lambda x: x.clone().relu_(), "ReLU"),
        (lambda x: x.clamp(min=0), "ReLU"), (lambda x: x.clamp_min(0.0), "ReLU"),
        (F.relu6, "ReLU6"), (lambda x: x.clamp(0, 6), "ReLU6"),
        (lambda x: F.threshold(x, 0, 0), "ReLU"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("method", [GuidedBackprop(), DeepLift()], ids=repr)
def test_functions_in_place_of_modules_are_refused(method: Method, call: Callable[[Tensor], Tensor], name: str) -> None:
    class Function(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return call(x)

    net = Net(nn.ReLU(), Function())
    with pytest.raises(
        ValueError, match=rf"computes 1 of its \d {name} activations by a function .* modules of torch\.nn"
    ):
        explain(method, net, images())
    assert explain(GradCAM(), net, images()).values.shape == images().shape


def test_functions_that_are_no_activation_pass() -> None:
    class Limited(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.clamp(-1, 1).clamp(min=1e-6)

    explain(DeepLift(), nn.Sequential(Limited(), Net(nn.ReLU())).eval(), images())
    with pytest.raises(ValueError, match="computes 1 of its 1 MaxPool activations by a function"):
        explain(DeepLift(), _WithPool(), images())


class _WithPool(Net):
    def __init__(self) -> None:
        super().__init__(nn.ReLU())

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.max_pool2d(x, 2))


def test_sentences() -> None:
    x, net = images(), Net(nn.ReLU())
    smooth = Net(nn.Softplus())
    with pytest.raises(ValueError, match="ReLU modules, and the model has none: its map would be the gradient"):
        explain(GuidedBackprop(), smooth, x)
    for method in BORROWED:
        with pytest.raises(ValueError, match="looks into the layers of a torch module, and the model is <lambda>"):
            explain(method, lambda x: net(x), x)
    with pytest.raises(ValueError, match="the model has no layer 'conv_2'; did you mean conv2"):
        explain(GradCAM("conv_2"), net, x)
    with pytest.raises(ValueError, match="layer 'act1' is called 2 times in a pass"):
        explain(GradCAM("act1"), net, x)
    with pytest.raises(ValueError, match="output of layer 'head' has no positions like those of inputs"):
        explain(GradCAM("head"), net, x)
    flat = nn.Sequential(nn.Flatten(), nn.Linear(144, 3)).double().eval()
    with pytest.raises(ValueError, match="the model has no convolution"):
        explain(GradCAM(), flat, x)
    with pytest.raises(ValueError, match="DeepLIFT has no rule for the score 'probability'"):
        explain(DeepLift(), net, x, score="probability")
    with pytest.warns(FutureWarning, match="deprecated"):
        traced = torch.jit.trace(net, x)
    with pytest.raises(ValueError, match="cannot look into the layers of TorchScript"):
        explain(GuidedBackprop(), traced, x)


def test_a_model_that_asks_for_its_own_layers_is_refused() -> None:
    class Asking(Net):
        def forward(self, x: Tensor) -> Tensor:
            return super().forward(x) * (2 if isinstance(self.act1, nn.ReLU) else 1)

    with pytest.raises(ValueError, match="the model computes other logits: give each activation a module"):
        explain(GuidedBackprop(), Asking(nn.ReLU(inplace=True)), images())


@pytest.mark.parametrize("method", BORROWED, ids=repr)
def test_the_extra_is_named_where_captum_is_missing(method: Method, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "captum.attr", None)
    monkeypatch.setitem(sys.modules, "captum", None)
    with pytest.raises(
        ImportError, match=r"captum, a library of attribution methods: pip install 'robustlab\[explain\]'"
    ):
        explain(method, Net(nn.ReLU()), images())
    explain(make_method("gradient-shap"), Net(nn.ReLU()), images())
