"""Recorded spellings: the names under which results were filed, for classes, fields and options renamed since.

Committed results count for the hash of a definition, which is written with class and field names. A rename needs a line
here, from today's name to the recorded one, so that every result is found as before. Names of claims, arms and metrics
are keys of the result files themselves: these are not renamed.
"""

from __future__ import annotations

NAMES: dict[str, str] = {"WithGraph": "BesideGraph"}
"""Today's name of a class or function to the recorded one: {"Divergence": "Distance"}."""
FIELDS: dict[str, dict[str, str]] = {
    "Crafting": {"bn_mode": "norm_mode"},
    "FastAdvProp": {"fraction": "share"},
}
"""Today's class or function, then its fields or arguments: {"Adversarial": {"bn_statistics": "norm_mode"}}."""
VALUES: dict[str, dict[str, str]] = {}
"""Today's class and field, then values that are texts: {"Network.architecture": {"small-cnn": "tiny-cnn"}}."""


def recorded_name(name: str) -> str:
    """A class or function as it was recorded."""
    return NAMES.get(name, name)


def recorded_field(owner: str, name: str) -> str:
    """A field of a class, or an argument of a function, as it was recorded; both are given by today's names."""
    return FIELDS.get(owner, {}).get(name, name)


def recorded_value(owner: str, field: str, value: object) -> object:
    """The value of a field as it was recorded; texts inside tuples and lists too."""
    table = VALUES.get(f"{owner}.{field}")
    if table is None:
        return value
    if isinstance(value, tuple | list):
        return tuple(table.get(one, one) if isinstance(one, str) else one for one in value)
    return table.get(value, value) if isinstance(value, str) else value
