"""Name and sizes of a model: enough to build it again, kept with its weights."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TypeAlias, TypeVar, cast

from torch import nn

from robustlab.core.weights import bare

Architecture: TypeAlias = dict[str, str | int | list[float]]
"""name, classes, channels, size; mean and std where a normalisation was put in front; activation if it was swapped;
routes of split BatchNorm; resize and interpolation of the images that it was trained on, if they are not
the usual ones; from_channels and from_size of the images where first layers bring these to what the network
takes. Of text models: words and letters (bytes) of the vocabulary, width of an embedding, length at which texts are
cut, and filters, or layers, heads, inner width and positions of a transformer.
"""
KEY = "architecture"
"""Under which the metadata of a weight file has it, as JSON."""
_LIMITS = {
    "classes": (2, 1_000_000),
    "channels": (1, 4096),
    "size": (1, 8192),
    "routes": (2, 64),
    "from_channels": (1, 4096),
    "from_size": (1, 8192),
    "words": (1, 10_000_000),
    "letters": (1, 1 << 30),
    "width": (1, 65_536),
    "length": (1, 1_000_000),
    "filters": (1, 65_536),
    "layers": (1, 1024),
    "heads": (1, 1024),
    "inner": (1, 1 << 20),
    "positions": (1, 1_000_000),
}
_TOGETHER = (("mean", "std"), ("from_channels", "from_size"))
_NAME = re.compile(r"(timm:)?[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)?(,[a-z_]+=[0-9.]+)*")
"""No colon beside timm's, no path, no address: nothing that could be imported, opened or fetched."""
_WORD = re.compile(r"[a-z_]+")
_FRAMING = {
    "resize": re.compile("crop|squash|pad"),
    "interpolation": re.compile("bicubic|bilinear|nearest|lanczos|box|hamming"),
}
"""Words of ``data.Framing``."""
_LONGEST = 200  # letters
_HUGE = 1e6
_M = TypeVar("_M", bound=nn.Module)


def described(model: _M, architecture: Architecture) -> _M:
    """Stores an architecture on a model, inside wrappers on the inner model; returns the model."""
    vars(bare(model))[KEY] = architecture
    return model


def framed_like(model: _M, words: Mapping[str, str]) -> _M:
    """Adds the resizing and interpolation of its images to a model whose architecture is known; returns the model.

    Args:
        model: any.
        words: "resize" and "interpolation" as in ``data.Framing``; others are left out.
    """
    known, kept = architecture_of(model), {key: word for key, word in words.items() if key in _FRAMING}
    return described(model, {**known, **kept}) if known and kept else model


def architecture_of(model: nn.Module) -> Architecture | None:
    """The architecture stored by ``described``, also inside wrappers such as ``torch.compile``; None without one."""
    found = vars(bare(model)).get(KEY)
    return found if isinstance(found, dict) and isinstance(found.get("name"), str) else None


def metadata_of(model: nn.Module) -> dict[str, str]:
    """Metadata of a weight file on the model's architecture; empty if a file could not rebuild the model.

    Returns: metadata of a safetensors file.
    """
    known = architecture_of(model)
    return {KEY: json.dumps(known)} if known is not None and not faults(known) else {}


def faults(found: Mapping[str, object]) -> list[str]:
    """Faults of an architecture, in words: types, ranges, values that do not match, unknown keys."""
    wrong = [_word_fault(found, "name", _NAME), _word_fault(found, "activation", _WORD)]
    wrong += [_word_fault(found, key, pattern) for key, pattern in _FRAMING.items()]
    wrong += [_number_fault(key, found[key], *limits) for key, limits in _LIMITS.items() if key in found]
    wrong += [
        f"it has {present} without {absent}"
        for pair in _TOGETHER
        for present, absent in (pair, pair[::-1])
        if present in found and absent not in found
    ]
    if "mean" in found and "std" in found:
        wrong.append(_normalisation_fault(found["mean"], found["std"], found.get("channels")))
    known = {"name", "activation", "mean", "std", *_FRAMING, *_LIMITS}
    wrong += [f"it has {_shown(key)}, which this version does not know" for key in found if key not in known]
    return [one for one in wrong if one]


def _word_fault(found: Mapping[str, object], key: str, pattern: re.Pattern[str]) -> str:
    if key not in found:
        return ""
    word = found[key]
    if isinstance(word, str) and len(word) <= _LONGEST and pattern.fullmatch(word):
        return ""
    return f"{key} is {_shown(word)}, which is no {key} of robustlab or timm"


def _number_fault(key: str, value: object, low: int, high: int) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and low <= value <= high:
        return ""
    return f"{key} is {_shown(value)}, expected a whole number from {low} to {high}"


def _normalisation_fault(mean: object, std: object, channels: object) -> str:
    for name, values in (("mean", mean), ("std", std)):
        if not isinstance(values, list) or not values or not all(map(_is_number, values)):
            return f"{name} is {_shown(values)}, expected one finite number per channel"
    means, stds = cast("Sequence[float]", mean), cast("Sequence[float]", std)
    if len(means) != len(stds) or len(means) not in (1, channels if isinstance(channels, int) else len(means)):
        return f"it has {len(means)} means and {len(stds)} stds for {_shown(channels)} channels"
    if not all(value >= 1 / _HUGE for value in stds):
        return f"std is {_shown(std)}, expected numbers > 0"
    return ""


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _HUGE  # NaN is not


def _shown(value: object) -> str:
    """A value for messages: short, on one line, without control characters."""
    text = ascii(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
