"""Rewriting a model into one that computes the same function of its input, faster.

BatchNorm in eval mode goes into the convolution or linear layer before it; a ReLU before a max-pooling goes behind it,
where there is less to do; and a ReLU writes over its input where nobody else needs that.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import TypeAlias, cast

from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_eval, fuse_linear_bn_eval

Weighted: TypeAlias = nn.Conv1d | nn.Conv2d | nn.Conv3d | nn.Linear
_Pooling: TypeAlias = nn.MaxPool1d | nn.MaxPool2d | nn.MaxPool3d


class _Tracer(fx.Tracer):
    """Follows the model's own code, but not that of library layers, which branch on shapes."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:  # noqa: ARG002 -- torch's signature
        return m.__module__.startswith(("torch.nn", "timm.layers")) and not isinstance(m, nn.Sequential)


def folded(model: nn.Module) -> nn.Module:
    """Copies a model and rewrites the copy; the same function up to rounding.

    A norm layer that carries its own activation (as timm's do) leaves that activation behind.

    Args:
        model: in eval mode; not changed.

    Returns: a module; its ``meta["folds"]`` lists the names (layer, norm layer) of what became one layer.
    Raises: whatever torch.fx raises for a model that it cannot trace.
    """
    copied = copy.deepcopy(model)  # it is the copy that is traced: a model may keep what passes through it
    traced = fx.GraphModule(copied, _Tracer().trace(copied))
    _fold_norms(traced)
    _pool_first(traced)
    _write_over(traced)
    traced.delete_all_unused_submodules()
    traced.recompile()
    return traced.eval()


def straighten(model: nn.Module) -> None:
    """Makes a folded model that is a chain of layers call them directly, without what torch does around each call.

    That is a tenth of the time of a small network on a few examples. Copies of the model are as before.
    """
    chain = _chain(model) if isinstance(model, fx.GraphModule) else ()
    if not chain:
        return

    def forward(_: nn.Module, x: Tensor) -> Tensor:
        for layer in chain:
            x = layer.forward(x)
        return x

    type(model).forward = forward  # the class of a GraphModule is its own


def _chain(traced: fx.GraphModule) -> tuple[nn.Module, ...]:
    """The layers, if each sees the output of the one before and nothing else."""
    first, *calls, last = traced.graph.nodes
    before = [first, *calls]
    straight = last.args == (before[-1],) and all(
        node.op == "call_module" and node.args == (source,) and not node.kwargs
        for node, source in zip(calls, before, strict=False)
    )
    return tuple(traced.get_submodule(str(node.target)) for node in calls) if straight else ()


def _calls(traced: fx.GraphModule) -> Iterator[tuple[fx.Node, nn.Module, fx.Node]]:
    """Calls of a layer on the output of another that only it sees; both layers are called once in all."""
    parts = dict(traced.named_modules())
    targets = [node.target for node in traced.graph.nodes if node.op == "call_module"]
    for node in list(traced.graph.nodes):
        source = node.args[0] if node.op == "call_module" and node.args else None
        if not isinstance(source, fx.Node) or source.op != "call_module" or len(source.users) != 1:
            continue
        if targets.count(node.target) == targets.count(source.target) == 1:
            yield node, parts[str(node.target)], source


def _fold_norms(traced: fx.GraphModule) -> None:
    folds = traced.meta["folds"] = []
    for node, norm, source in _calls(traced):
        layer, (name, norm_name) = traced.get_submodule(str(source.target)), (str(source.target), str(node.target))
        foldable = isinstance(layer, Weighted) and not hasattr(layer, "parametrizations")
        if foldable and isinstance(norm, _BatchNorm) and norm.track_running_stats:
            folds.append((name, norm_name))
            traced.set_submodule(name, _merged(layer, norm))
            _replace(traced, node, [getattr(norm, part, None) for part in ("drop", "act")])


def _replace(traced: fx.GraphModule, node: fx.Node, rest: list[nn.Module | None]) -> None:
    """Puts what a norm layer does besides normalising in its place."""
    parts = [part for part in rest if isinstance(part, nn.Module) and not isinstance(part, nn.Identity)]
    if parts:
        traced.set_submodule(str(node.target), parts[0] if len(parts) == 1 else nn.Sequential(*parts))
    else:
        node.replace_all_uses_with(cast(fx.Node, node.args[0]))
        traced.graph.erase_node(node)


def _merged(layer: nn.Module, norm: _BatchNorm) -> nn.Module:
    if isinstance(layer, nn.Linear):
        return fuse_linear_bn_eval(layer, norm)
    return fuse_conv_bn_eval(layer, norm)  # type: ignore[type-var]


def _pool_first(traced: fx.GraphModule) -> None:
    """max(relu(a), relu(b)) = relu(max(a, b)), with the same gradient: swaps the two layers."""
    for node, pooling, source in _calls(traced):
        if isinstance(pooling, _Pooling) and not pooling.return_indices:
            relu = traced.get_submodule(str(source.target))
            if type(relu) is nn.ReLU:
                traced.set_submodule(str(source.target), pooling)
                traced.set_submodule(str(node.target), relu)


def _write_over(traced: fx.GraphModule) -> None:
    """Lets a ReLU write over the output of layers whose own gradient does not need it."""
    for node, relu, source in _calls(traced):
        if type(relu) is nn.ReLU and isinstance(traced.get_submodule(str(source.target)), Weighted | _Pooling):
            cast(nn.ReLU, traced.get_submodule(str(node.target))).inplace = True
