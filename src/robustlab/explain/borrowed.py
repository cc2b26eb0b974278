"""Methods of captum (extra ``explain``): guided backpropagation, Grad-CAM, DeepLIFT.

They look into layers by hooks, which are put into a copy of the model that shares its weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from robustlab.core.kinds import typed
from robustlab.core.text import meant
from robustlab.explain.case import Case
from robustlab.explain.layers import Opened, opened
from robustlab.explain.registry import METHODS, MethodSpec
from robustlab.explain.rescale import another, rescaled

_MODES = {1: "linear", 2: "bilinear", 3: "trilinear"}


@typed
@dataclass(frozen=True)
class GuidedBackprop:
    """Gradient in whose backward pass every ReLU lets only values above 0 through.

    ReLU6 counts as a ReLU with a limit. Other activations are passed as in the gradient. Caveat: the maps of standard
    networks hardly change when weights are drawn anew (Adebayo 2018): they show edges of the image, not the network.

    Source: Springenberg, Dosovitskiy, Brox, Riedmiller, Striving for Simplicity, ICLR 2015 workshop.
    """

    def __call__(self, case: Case) -> Tensor:
        """Attributions (N, ...).

        Raises: ValueError for a model without ReLU modules, or with ReLU as a function.
        """
        library, model = _captum(), opened(case, "guided backpropagation", {nn.ReLU: another, nn.ReLU6: _CappedReLU})
        if not model.activations:
            raise ValueError(
                "guided backpropagation changes the backward pass of ReLU modules, and the model has none: its map "
                "would be the gradient"
            )
        return _by_parts(case, model, lambda scored, x: library.GuidedBackprop(scored).attribute(x))


@typed
@dataclass(frozen=True)
class GradCAM:
    """Mean gradients of a convolution's channels times their activations, added up, without what is below 0.

        relu(sum_k mean(d score / d A_k) * A_k)

    Upsampled to the size of the input (linear, corners not aligned) and spread over the channels evenly, so that the
    sum over channels is the map.

    Args:
        layer: name of the layer, as in ``model.named_modules()``; "": the last convolution with several positions.

    Source: Selvaraju, Cogswell, Das, Vedantam, Parikh, Batra, Grad-CAM, ICCV 2017, equations 1 and 2.
    """

    layer: str = ""

    def __call__(self, case: Case) -> Tensor:
        """Attributions (N, C, ...), at least 0.

        Raises: ValueError for an unknown layer, one that is not called once or has no positions, or a model without
            convolutions.
        """
        library, model = _captum(), opened(case, "Grad-CAM")
        name = _layer_of(model, self.layer)
        layer = model.model.get_submodule(name)
        return _by_parts(case, model, lambda scored, x: _cam(library, scored, layer, x, name))


@typed
@dataclass(frozen=True)
class DeepLift:
    """Differences of activations from those of a baseline, passed back by the rescale rule.

    The values add up to the score less that of the baseline where all of the model is linear, an activation with a rule
    (ReLU, ReLU6, ELU, leaky ReLU, sigmoid, tanh, softplus, max pooling) or softmax; ``Maps.gap`` says how far they do.
    Products of activations (attention, gates) and others such as GELU have no rule and are passed as in the gradient.

    Args:
        baseline: value of the inputs that nothing is seen in.

    Source: Shrikumar, Greenside, Kundaje, Learning Important Features, ICML 2017, in the form of Ancona, Ceolini,
        Oztireli, Gross, ICLR 2018.
    """

    baseline: float = 0.0

    def __call__(self, case: Case) -> Tensor:
        """Attributions (N, ...).

        Raises: ValueError for a score other than the logit, or activations computed by functions.
        """
        if case.score != "logit":
            raise ValueError(f'DeepLIFT has no rule for the score {case.score!r}: explain the score "logit"')
        library, model = _captum(), opened(case, "DeepLIFT", rescaled())

        def attribute(scored: nn.Module, x: Tensor) -> Tensor:
            values: Tensor = library.DeepLift(scored).attribute(x, torch.full_like(x, self.baseline))
            return values

        return _by_parts(case, model, attribute)

    def change(self, case: Case) -> Tensor:
        """Score less that of the baseline (N,)."""
        return case.scores(case.x) - case.scores(torch.full_like(case.x, self.baseline))


def _captum() -> Any:  # noqa: ANN401 -- a module without types
    try:
        import captum.attr
    except ImportError as error:
        raise ImportError(
            "guided backpropagation, Grad-CAM and DeepLIFT come from captum, a library of attribution methods: "
            "pip install 'robustlab[explain]'"
        ) from error
    return captum.attr


def _by_parts(case: Case, model: Opened, attribute: Any) -> Tensor:  # noqa: ANN401 -- a function
    """Attributions by a function of a scored model and inputs, in micro-batches."""
    parts = zip(case.twin.split(case.x), case.twin.split(case.target), strict=True)
    with _quiet(), torch.enable_grad():
        return torch.cat([attribute(model.scored(target), x.clone().requires_grad_()).detach() for x, target in parts])


@contextmanager
def _quiet() -> Iterator[None]:
    """Without captum's remark that it sets hooks, which it removes."""
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message=r"\s*Setting (backward|forward, backward) hooks", category=UserWarning
        )
        yield


class _CappedReLU(nn.Module):
    """ReLU6 as a ReLU and a limit."""

    def __init__(self, _part: nn.Module) -> None:
        super().__init__()
        self.relu = nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        """At least 0, at most 6."""
        rectified: Tensor = self.relu(x)
        return rectified.clamp(max=6)


def _layer_of(model: Opened, layer: str) -> str:
    """Name of a layer that is called once in a pass."""
    if not layer:
        if not model.convolutions:
            raise ValueError(
                "Grad-CAM needs a layer whose output has positions, and the model has no convolution with more than "
                "one: name a layer by GradCAM(layer=...)"
            )
        layer = next((name for name in reversed(model.convolutions) if model.calls[name] == 1), model.convolutions[-1])
    if layer not in dict(model.model.named_modules()):
        raise ValueError(f"the model has no layer {layer!r}{meant(layer, model.calls)}")
    if model.calls.get(layer, 0) != 1:
        times = model.calls.get(layer, 0)
        raise ValueError(f"layer {layer!r} is called {times} times in a pass: Grad-CAM needs one that is called once")
    return layer


def _cam(library: Any, scored: nn.Module, layer: nn.Module, x: Tensor, name: str) -> Tensor:  # noqa: ANN401
    cam = library.LayerGradCam(scored, layer).attribute(x, relu_attributions=True)
    if not isinstance(cam, Tensor) or cam.ndim != x.ndim or cam.ndim - 2 not in _MODES:
        raise ValueError(
            f"the output of layer {name!r} has no positions like those of inputs {tuple(x.shape)}: name a convolution"
        )
    upsampled = interpolate(cam, x.shape[2:], mode=_MODES[x.ndim - 2], align_corners=False)
    return (upsampled / x.shape[1]).expand_as(x)


METHODS.register(
    "guided-backprop", MethodSpec(GuidedBackprop, "gradient of ReLUs that pass what is above 0", "explain")
)
METHODS.register("grad-cam", MethodSpec(GradCAM, "a convolution's activations by mean gradients", "explain"))
METHODS.register("deeplift", MethodSpec(DeepLift, "differences from a baseline, by the rescale rule", "explain"))
