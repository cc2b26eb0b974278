"""Attention probabilities of any model, seen in the functions of torch that compute them.

Fused attention is computed step by step for that, so that models of timm, Hugging Face and torchvision, and those
written by hand, need no adapter.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

_SOFTMAX = ("softmax", "_softmax")


class Attention(NamedTuple):
    """Attention of a layer."""

    probabilities: Tensor
    """(N, heads, queries, tokens)."""
    out: Tensor
    """Tensor with an entry for each query, that the rest of the model goes on from."""
    axis: int
    """Axis of queries in ``out``."""


class Attentions(TorchFunctionMode):
    """Mode that reports the attention of each layer once.

    Args:
        report: gets it, in the order of the layers.
    """

    def __init__(self, report: Callable[[Attention], None]) -> None:
        super().__init__()
        self.report = report

    def __torch_function__(
        self, func: Callable[..., object], _types: object, args: tuple[object, ...] = (), kwargs: object = None
    ) -> object:
        named = kwargs if isinstance(kwargs, dict) else {}
        if func is functional.scaled_dot_product_attention:
            return self._fused(*args, **named)  # type: ignore[arg-type]
        if func is functional.multi_head_attention_forward:
            return self._module(func, args, named)
        out = func(*args, **named)
        if getattr(func, "__name__", "") in _SOFTMAX and isinstance(out, Tensor) and out.ndim >= 4:
            dim = named.get("dim", args[1] if len(args) > 1 else None)
            if dim in (-1, out.ndim - 1):
                self.report(Attention(out, out, -2))
        return out

    def _fused(self, q: Tensor, k: Tensor, v: Tensor, *args: object, **named: object) -> Tensor:
        options = {**dict(zip(("attn_mask", "dropout_p", "is_causal"), args, strict=False)), **named}
        dropout = options.pop("dropout_p", 0.0)
        found = _probabilities(q, k, **options)  # type: ignore[arg-type]
        self.report(Attention(found, found, -2))
        v = v.repeat_interleave(q.shape[-3] // v.shape[-3], -3) if options.get("enable_gqa") else v
        return functional.dropout(found, float(dropout)) @ v  # type: ignore[arg-type]

    def _module(self, func: Callable[..., Any], args: tuple[object, ...], named: dict[str, object]) -> object:
        out, found = func(*args, **{**named, "need_weights": True, "average_attn_weights": False})
        self.report(Attention(found, out, 0))
        if not named.get("need_weights", True):
            return out, None
        return out, found.mean(1) if named.get("average_attn_weights", True) else found


def _probabilities(
    q: Tensor,
    k: Tensor,
    *,
    attn_mask: Tensor | None = None,
    is_causal: bool = False,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention probabilities (N, heads, queries, tokens) of queries and keys, as fused attention has them."""
    k = k.repeat_interleave(q.shape[-3] // k.shape[-3], -3) if enable_gqa else k
    scores = (q @ k.transpose(-2, -1)) * (q.shape[-1] ** -0.5 if scale is None else scale)
    if is_causal:
        attn_mask = torch.ones(scores.shape[-2:], dtype=torch.bool, device=q.device).tril()
    if attn_mask is not None:
        scores = scores.masked_fill(~attn_mask, -torch.inf) if attn_mask.dtype == torch.bool else scores + attn_mask
    return scores.softmax(-1)
