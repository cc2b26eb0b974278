"""Maps of vision transformers: attention rollout, and Grad-CAM on the grid of tokens.

Nothing of a model is changed: passes go through a copy that shares its weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from robustlab.core.kinds import typed
from robustlab.core.text import meant
from robustlab.explain.attended import Attention, Attentions
from robustlab.explain.case import Case
from robustlab.explain.layers import Scored, copied
from robustlab.explain.registry import METHODS, MethodSpec

_PROBED_ROWS = 2


@typed
@dataclass(frozen=True)
class AttentionRollout:
    """Shares of the patches in what the classifier reads, if attention alone moved them between layers.

        mean of the rows that are read, of A_L ... A_1, with A_l = share * (mean over heads) + (1 - share) * I

    It knows nothing of values, nor of the class. The rows read are those of the tokens that the score depends on after
    the last attention: the class token, or all patches where they are averaged. Columns of class token and registers
    are left out, the rest is upsampled (bilinear) and spread over the channels evenly.

    Args:
        share: part of a layer's output that comes by attention, in (0, 1], not by the shortcut.

    Source: Abnar, Zuidema, Quantifying Attention Flow in Transformers, ACL 2020.
    """

    share: float = 0.5

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise ValueError(f"share must be above 0, at most 1, got {self.share}")

    def __call__(self, case: Case) -> Tensor:
        """Attributions (N, C, H, W), at least 0.

        Raises: ValueError for a model without attention, or with attention among other tokens in other layers.
        """
        model = copied(case.model, "attention rollout")
        tokens = tokens_of(model, case, "attention rollout")
        with torch.no_grad():
            return torch.cat([tokens.spread(self._map(model, x, tokens), x) for x in case.twin.split(case.x)])

    def _map(self, model: nn.Module, x: Tensor, tokens: Tokens) -> Tensor:
        total = torch.eye(tokens.count, dtype=x.dtype, device=x.device).expand(len(x), -1, -1)

        def mix(found: Attention) -> None:
            nonlocal total
            heads = _checked(found.probabilities, total).mean(1).to(x.dtype)
            if heads.shape[1] == tokens.count:
                heads = self.share * heads + (1 - self.share) * torch.eye(tokens.count, dtype=x.dtype, device=x.device)
            total = heads @ total

        with Attentions(mix):
            model(x.clone())
        return total[:, tokens.read].mean(1)


@typed
@dataclass(frozen=True)
class TokenGradCAM:
    """Grad-CAM on the grid of tokens of a vision transformer.

        relu(sum_k mean_t(d score / d A_tk) * A_tk)  over patches t

    Class token and registers are left out, also of the mean.

    Args:
        layer: name of a layer with output (N, T, D); "": the last normalisation before the last attention, as after it
            a class token may be all that the score depends on.

    Source: Selvaraju et al., Grad-CAM, ICCV 2017, with tokens as positions (as in the package pytorch-grad-cam).
    """

    layer: str = ""

    def __call__(self, case: Case) -> Tensor:
        """Attributions (N, C, H, W), at least 0.

        Raises: ValueError for a model without attention, or a layer whose output is not one vector per token.
        """
        model = copied(case.model, "Grad-CAM on tokens")
        tokens = tokens_of(model, case, "Grad-CAM on tokens")
        layers, name = dict(model.named_modules()), self.layer or tokens.norm
        if name not in layers:
            raise ValueError(f"the model has no layer {name!r}{meant(name, layers)}")
        parts = zip(case.twin.split(case.x), case.twin.split(case.target), strict=True)
        maps = ((_cam(Scored(model, target, case.score), layers[name], x, tokens, name), x) for x, target in parts)
        return torch.cat([tokens.spread(cam, x) for cam, x in maps])


@dataclass(frozen=True)
class Tokens:
    """Tokens of a vision transformer.

    Args:
        count: number T of tokens; those that are no patches come first.
        grid: rows and columns of patches.
        read: numbers of the tokens that the score depends on after the last attention.
        norm: name of the last normalisation of all tokens before the last attention; "": none.
    """

    count: int
    grid: tuple[int, int]
    read: Tensor
    norm: str

    @property
    def prefix(self) -> int:
        """Number of tokens that are no patches: class token, registers."""
        return self.count - self.grid[0] * self.grid[1]

    def spread(self, values: Tensor, x: Tensor) -> Tensor:
        """Values of tokens (N, T) as attributions of images (N, C, H, W); the sum over channels is the map."""
        grid = values[:, self.prefix :].reshape(-1, 1, *self.grid)
        upsampled = functional.interpolate(grid, x.shape[2:], mode="bilinear", align_corners=False)
        return (upsampled / x.shape[1]).expand_as(x)


def tokens_of(model: nn.Module, case: Case, method: str) -> Tokens:
    """Tokens of a model, found by a pass of some examples.

    Args:
        model: to be hooked.
        case: examples to be explained.
        method: name for messages.

    Raises: ValueError for a model that has no attention among patches of an image.
    """
    x, target = case.x[:_PROBED_ROWS].clone(), case.target[:_PROBED_ROWS]
    if x.ndim != 4:
        raise ValueError(f"{method} explains images (N, C, H, W), got inputs {tuple(x.shape)}")
    seen = _Seen()
    with torch.enable_grad(), _hooked(model, seen), Attentions(seen.attention):
        score = Scored(model, target, case.score)(x.requires_grad_())
        last = seen.last
        if last is None:
            raise ValueError(
                f"{method} is for transformers, and the model has no attention: Grad-CAM is for convolutions"
            )
        grads = torch.autograd.grad(score.sum(), last.out, allow_unused=True)[0] if score.requires_grad else None
    read = torch.arange(0) if grads is None else grads.movedim(last.axis, 0).flatten(1).abs().sum(1).nonzero()[:, 0]
    if not len(read):
        raise ValueError(f"the score depends on no token after the last attention: {method} has nothing to show")
    count, grid = last.probabilities.shape[-1], seen.grid
    if grid is None or grid[0] * grid[1] > count:
        raise ValueError(
            f"{method} needs a token for each patch of the image, and the model attends among {count} tokens after "
            f"{'no convolution that cuts patches' if grid is None else f'a grid of {grid[0]}x{grid[1]}'}"
        )
    return Tokens(count, grid, read, seen.norm)


class _Seen:
    """Layers and attention in a pass."""

    def __init__(self) -> None:
        self.grid: tuple[int, int] | None = None
        self.norm, self.candidate = "", ("", 0)
        self.last: Attention | None = None

    def attention(self, found: Attention) -> None:
        """Takes note of the attention of a layer."""
        self.last = found
        if self.candidate[1] == found.probabilities.shape[-1]:
            self.norm = self.candidate[0]

    def layer(self, name: str, part: nn.Module, out: object) -> None:
        """Takes note of the output of a layer."""
        if not isinstance(out, Tensor):
            return
        if isinstance(part, nn.Conv2d) and out.ndim == 4 and self.last is None:
            self.grid = (out.shape[2], out.shape[3])
        if out.ndim == 3 and "norm" in type(part).__name__.lower():
            self.candidate = (name, out.shape[1])


@contextmanager
def _hooked(model: nn.Module, seen: _Seen) -> Iterator[None]:
    def hook(name: str) -> Callable[[nn.Module, object, object], None]:
        return lambda part, _given, out: seen.layer(name, part, out)

    handles = [part.register_forward_hook(hook(name)) for name, part in model.named_modules()]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _checked(found: Tensor, total: Tensor) -> Tensor:
    """Raises ValueError for attention that is not among all the tokens mixed so far (N, T, T)."""
    rows, queries, count = total.shape
    if found.ndim != 4 or len(found) != rows or found.shape[3] != count or queries != count:
        raise ValueError(
            f"attention rollout needs attention among the same tokens in each layer, and the model has "
            f"{tuple(found.shape)} for {rows} images of {count} tokens: windows and pooled tokens have no rollout"
        )
    return found


def _cam(scored: nn.Module, layer: nn.Module, x: Tensor, tokens: Tokens, name: str) -> Tensor:
    """Grad-CAM of tokens (N, T)."""
    outs: list[object] = []
    handle = layer.register_forward_hook(lambda _part, _given, out: outs.append(out))
    try:
        with torch.enable_grad():
            score = scored(x.clone().requires_grad_())
            out = outs[-1] if outs else None
            if not isinstance(out, Tensor) or out.shape[:2] != (len(x), tokens.count) or out.ndim != 3:
                seen = tuple(out.shape) if isinstance(out, Tensor) else type(out).__name__
                raise ValueError(
                    f"Grad-CAM on tokens needs a layer with output (N, {tokens.count}, D), and {name!r} returns {seen}"
                )
            (grad,) = torch.autograd.grad(score.sum(), out, allow_unused=True)
    finally:
        handle.remove()
    grad = torch.zeros_like(out) if grad is None else grad
    weights = grad[:, tokens.prefix :].mean(1, keepdim=True)
    return (weights * out.detach()).sum(2).relu()


METHODS.register("attention-rollout", MethodSpec(AttentionRollout, "attention of all layers, for vision transformers"))
METHODS.register("grad-cam-tokens", MethodSpec(TokenGradCAM, "Grad-CAM on the tokens of a vision transformer"))
