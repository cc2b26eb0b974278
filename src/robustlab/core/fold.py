"""Folding BatchNorm in eval mode into the convolution or linear layer before it."""

from __future__ import annotations

import copy
from typing import TypeAlias

from torch import fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

Weighted: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear


class _Tracer(fx.Tracer):
    """Follows the model's own code, but not that of library layers, which branch on shapes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 -- torch's signature
        return m.__module__.startswith(("torch.nn", "timm.layers")) and not isinstance(m, nn.Sequential)


def folded(model: nn.Module) -> nn.Module:
    """Copies a model, with every BatchNorm that follows a convolution or linear layer folded into it.

    The copy computes the same function up to rounding. A norm layer that carries its own activation (as timm's do)
    leaves that activation behind.

    Args:
        model: in eval mode; not changed.

    Returns: a module; without a foldable BatchNorm an ordinary copy.
    Raises: whatever torch.fx raises for a model that it cannot trace.
    """
    if not any(isinstance(part, _BatchNorm) for part in model.modules()):
        return copy.deepcopy(model)
    copied = copy.deepcopy(model)  # it is the copy that is traced: a model may keep what passes through it
    graph = _Tracer().trace(copied)
    traced = fx.GraphModule(copied, graph)
    parts = dict(traced.named_modules())
    calls = [node.target for node in graph.nodes if node.op == "call_module"]
    for node in graph.nodes:
        norm = parts.get(node.target) if node.op == "call_module" else None
        if isinstance(norm, _BatchNorm) and norm.track_running_stats:
            source = node.args[0]
            if _foldable(source, parts) and calls.count(source.target) == calls.count(node.target) == 1:
                traced.set_submodule(source.target, _merged(parts[source.target], norm))
                traced.set_submodule(node.target, _remainder(norm))
    return traced.eval()


def _foldable(source: object, parts: dict[str, nn.Module]) -> bool:
    """Whether the node before a norm layer is a weighted layer whose output nobody else sees."""
    if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
        return False
    part = parts.get(str(source.target))
    return isinstance(part, Weighted) and not hasattr(part, "parametrizations")


def _merged(layer: nn.Module, norm: _BatchNorm) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, norm)
    return fuse_conv_bn_eval(layer, norm)  # type: ignore[type-var]


def _remainder(norm: _BatchNorm) -> nn.Module:
    """What a norm layer does besides normalising."""
    extra = [part for name in ("drop", "act") if isinstance(part := getattr(norm, name, None), nn.Module)]
    return nn.Sequential(*extra) if extra else nn.Identity()
