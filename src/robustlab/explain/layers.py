"""A copy of a model whose layers can be hooked: weights are shared, and the user's own model is never touched.

Hooks of attribution methods have rules of their own for a layer's backward pass. They need each activation to be a
module that is called once, does not write over its input and shares it with no other layer. The copy has such modules,
and computes the same logits.
"""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from robustlab.core import Logits
from robustlab.core.twin import checked_logits
from robustlab.core.user_code import called, model_name, no_model
from robustlab.explain.case import Case, ScoreName, class_score

_PROBED_ROWS = 2
_TOLERANCE = 1e-4
Rules = dict[type[nn.Module], Callable[[nn.Module], nn.Module]]
"""From each kind of activation to a function that makes one like it, out of modules with a rule."""
_OPERATIONS = {
    "relu": "ReLU", "threshold": "ReLU", "clamp_min": "ReLU", "clamp": "ReLU", "hardtanh": "ReLU6", "elu": "ELU",
    "leaky_relu": "LeakyReLU", "softplus": "Softplus", "max_pool2d_with_indices": "MaxPool",
    "max_pool3d_with_indices": "MaxPool",
}  # fmt: skip
"""Operations of torch, each with the modules that should make it."""


@dataclass(frozen=True)
class Opened:
    """A copy of a model with layers to be hooked.

    Args:
        model: the copy.
        convolutions: names of its convolutions with more than one output position, in the order of their calls.
        calls: how often each layer is called in a pass, by name.
        activations: number of calls of activations with a rule.
        score: what is explained.
    """

    model: nn.Module
    convolutions: tuple[str, ...]
    calls: dict[str, int]
    activations: int
    score: ScoreName

    def scored(self, target: Tensor) -> nn.Module:
        """A module from inputs (N, ...) to scores (N,) of the classes (N,); also for several batches of N in one."""
        return Scored(self.model, target, self.score)


class Scored(nn.Module):
    """A module from inputs (N, ...), or several batches of N in one, to scores of the classes (N,)."""

    def __init__(self, model: nn.Module, target: Tensor, score: ScoreName) -> None:
        super().__init__()
        self.model, self.target, self.score = model, target, score
        self.training = model.training

    def forward(self, x: Tensor) -> Tensor:
        """Scores of inputs."""
        target = self.target.repeat(len(x) // len(self.target))
        return class_score(_logits(self.model, x), target, self.score)


class _Turns(nn.Module):
    """An activation as a module of its own for each call in a pass, which shares its input with no other layer.

    A hook on the gradient of a shared input (of a shortcut, say) would change the gradient of all that it goes to.

    Args:
        part: the activation.
        made: makes one like it.
        count: of the calls.
    """

    def __init__(self, part: nn.Module, made: Callable[[nn.Module], nn.Module], count: int) -> None:
        super().__init__()
        self.parts = nn.ModuleList(made(part) for _ in range(count))
        self.inplace, self.turn = bool(getattr(part, "inplace", False)), 0
        self.train(part.training)

    def forward(self, x: Tensor) -> Tensor:
        """Output of the activation."""
        self.turn += 1
        y: Tensor = self.parts[(self.turn - 1) % len(self.parts)](x.clone())
        return x.copy_(y) if self.inplace else y


def opened(case: Case, method: str, rules: Rules | None = None) -> Opened:
    """The copy of a case's model.

    Args:
        case: examples to be explained.
        method: name for messages.
        rules: of the activations that the method has a rule for.

    Raises: ValueError for a model that is no module, or computes such an activation by a function, not a module.
    """
    model, x, rules = copied(case.model, method), case.x[:_PROBED_ROWS], rules or {}
    names = {part: name for name, part in model.named_modules()}
    expected, watch = _watched(model, x)
    _check_functions(watch, rules, method)
    if _replaced(model, watch.calls, rules):
        _check_same(model, x, expected, method)
    return Opened(
        model,
        tuple(names[part] for part in watch.convolutions),
        {names[part]: count for part, count in watch.calls.items()},
        sum(count for part, count in watch.calls.items() if type(part) in rules),
        case.score,
    )


def copied(model: object, method: str) -> nn.Module:
    """A copy of a module that shares its weights, which need no gradient in it, without compilation and parallel parts.

    Args:
        model: the user's own.
        method: name for messages.

    Raises: ValueError for anything else.
    """
    if not isinstance(model, nn.Module):
        if not callable(model) or isinstance(model, type):
            raise ValueError(no_model(model))
        raise ValueError(f"{method} looks into the layers of a torch module, and the model is {model_name(model)}")
    if any(isinstance(part, torch.jit.ScriptModule) for part in model.modules()):
        raise ValueError(f"{method} cannot look into the layers of TorchScript: give the module it was made from")
    with called("copying the model", advice="keep what cannot be copied outside of it"):
        own = _copy(_unwrapped(model))
    for part in list(own.modules()):
        part._modules.update({name: _unwrapped(child) for name, child in part._modules.items() if child is not None})
    return own


def _copy(model: nn.Module) -> nn.Module:
    shared: dict[int, object] = {}
    for part in model.modules():
        for tensor in vars(part).values():  # such as the weights that weight normalisation computes
            if isinstance(tensor, Tensor):
                shared[id(tensor)] = _detached(tensor)
        for weight in part._parameters.values():
            if weight is not None:
                shared[id(weight)] = nn.Parameter(_detached(weight), requires_grad=False)
    return copy.deepcopy(model, shared)


def _detached(tensor: Tensor) -> Tensor:
    return tensor.detach().clone() if tensor.is_inference() else tensor.detach()


def _unwrapped(model: nn.Module) -> nn.Module:
    """The module inside of torch.compile, DataParallel and its like."""
    inner = getattr(model, "_orig_mod", None)
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        inner = model.module
    return _unwrapped(inner) if isinstance(inner, nn.Module) else model


class _Watch(TorchDispatchMode):
    """Record of a pass: calls of modules, and operations that count as activations."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.calls: Counter[nn.Module] = Counter()
        self.convolutions: dict[nn.Module, None] = {}
        self.operations: Counter[str] = Counter()

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """False: the wrapper of torch would import its compiler, which takes more than a second."""
        return False

    def __torch_dispatch__(
        self, func: torch._ops.OpOverload, _types: object, args: tuple[object, ...] = (), kwargs: object = None
    ) -> object:
        named = kwargs if isinstance(kwargs, dict) else {}
        kind = _kind(func.overloadpacket.__name__.rstrip("_"), args[1:])
        if kind:
            self.operations[kind] += 1
        return func(*args, **named)

    def leave(self, part: nn.Module, _given: object, out: object) -> None:
        """Counts a call of a module."""
        self.calls[part] += 1
        if isinstance(part, nn.modules.conv._ConvNd) and isinstance(out, Tensor) and out[0, 0].numel() > 1:
            self.convolutions.pop(part, None)
            self.convolutions[part] = None


def _kind(name: str, settings: tuple[object, ...]) -> str:
    """Kind of activation that an operation computes; "" for none of them."""
    if name not in ("clamp", "clamp_min", "hardtanh", "threshold"):
        return _OPERATIONS.get(name, "")
    limits = (*settings, None)[:2] if name in ("clamp", "hardtanh") else (*settings[:1], None)
    known: dict[tuple[object, ...], str] = {(0, None): "ReLU", (0, 6): "ReLU6"}
    return known.get(limits, "")


def _watched(model: nn.Module, x: Tensor) -> tuple[Logits, _Watch]:
    with torch.enable_grad(), _hooked(model) as watch, watch:
        logits = _logits(model, x.detach().requires_grad_())
    return logits.detach(), watch


@contextmanager
def _hooked(model: nn.Module) -> Iterator[_Watch]:
    watch = _Watch()
    handles = [part.register_forward_hook(watch.leave) for part in model.modules()]
    try:
        yield watch
    finally:
        for handle in handles:
            handle.remove()


def _logits(model: nn.Module, x: Tensor) -> Logits:
    for part in model.modules():
        if isinstance(part, _Turns):
            part.turn = 0
    return checked_logits(model(x.clone()), x)


def _check_functions(watch: _Watch, rules: Rules, method: str) -> None:
    """Raises ValueError if a function computes an activation that has a rule: there is no module to be hooked."""
    calls: Counter[str] = Counter()
    for part, count in watch.calls.items():
        calls["MaxPool" if "MaxPool" in type(part).__name__ else type(part).__name__] += count
    for kind in dict.fromkeys("MaxPool" if "MaxPool" in rule.__name__ else rule.__name__ for rule in rules):
        missed = watch.operations[kind] - calls[kind]
        if missed > 0:
            raise ValueError(
                f"{method} has a rule for modules, and the model computes {missed} of its {watch.operations[kind]} "
                f"{kind} activations by a function (as torch.relu is), which would be passed by without a word: make "
                "them modules of torch.nn"
            )


def _replaced(model: nn.Module, calls: Counter[nn.Module], rules: Rules) -> bool:
    """Puts modules that can be hooked in place of activations; True if there were any."""
    replacements: dict[nn.Module | None, nn.Module] = {
        part: _Turns(part, rules[type(part)], count) for part, count in calls.items() if type(part) in rules
    }
    for parent in list(model.modules()):
        parent._modules.update({name: replacements.get(child, child) for name, child in parent._modules.items()})
    return bool(replacements)


def _check_same(model: nn.Module, x: Tensor, expected: Logits, method: str) -> None:
    if any(part.training for part in model.modules()):
        return  # it may draw
    with torch.no_grad():
        found = _logits(model, x)
    if not bool((found - expected).abs().amax() <= _TOLERANCE * expected.abs().amax().clamp_min(1e-6)):
        raise ValueError(
            f"{method} needs activations that are modules of their own, and with these the model computes other "
            "logits: give each activation a module that is called once and not in place"
        )
