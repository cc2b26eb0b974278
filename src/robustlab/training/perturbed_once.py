"""A data set perturbed once, before training: an older method, kept to show why its numbers mislead."""

from __future__ import annotations

import torch
from torch import nn

from robustlab.core import Attack, Examples, frozen, subset
from robustlab.core.kinds import typed
from robustlab.data import InMemory


@typed
def perturbed_once(
    model: nn.Module, examples: Examples, attack: Attack, *, fraction: float = 1.0, batch_size: int = 256, seed: int = 0
) -> InMemory:
    """A data set of adversarial inputs against the present weights of a model, to be trained on by ``standard``.

    During training the inputs become outdated: they are adversarial for earlier weights. A single step also leaks the
    label, as its direction depends on the label in a simple way; a network learns to read the perturbation. Accuracy on
    such a set, or on one made the same way for testing, is no measure of robustness; ``adversarial`` makes the inputs
    anew at each step.

    Args:
        model: whose gradients are used, in eval mode; it is left as it was.
        examples: the clean data; all of the result is held in memory.
        attack: at full strength, such as FGSM.
        fraction: of the examples, in [0, 1], drawn at random, that are perturbed.
        batch_size: examples in a call of the attack.
        seed: of the attack and of the draw.

    Returns: the same examples in the same order, inputs float, some of them perturbed.
    Raises: ValueError for a fraction outside [0, 1].
    """
    if not 0.0 <= fraction <= 1.0:
        raise ValueError(f"fraction of the examples that are perturbed, in [0, 1], got {fraction}")
    device = next((weight.device for weight in model.parameters()), torch.device("cpu"))
    batch = examples.batch(torch.arange(len(examples)))
    x, chosen = batch.x.clone(), subset(len(examples), round(fraction * len(examples)), seed)
    with frozen(model, training=False):
        for ids in chosen.split(batch_size) if len(chosen) else ():
            inputs, labels = batch.x[ids].to(device), batch.y[ids].to(device)
            x[ids] = attack(model, inputs, labels, stop="never", seed=seed, ids=ids.to(device)).to(x)
    return InMemory(
        f"{examples.name} perturbed once", examples.classes, x, batch.y, f"{attack!r}, fraction {fraction:g}"
    )
