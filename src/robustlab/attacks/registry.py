"""Registry of attacks: ours, each registered in its own file, and those of other packages and of the caller.

A package adds an attack by an entry point of the group ``robustlab.attacks``: an ``AttackSpec``, the class or function
that makes the attack, or a module that registers its attacks. In a program, ``ATTACKS.register(name, spec)`` is enough.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from robustlab.attacks.facts import random_start
from robustlab.attacks.wrappers import Restarts, Targeted
from robustlab.core import Attack, ThreatModel
from robustlab.core.kinds import typed
from robustlab.core.registry import Registry
from robustlab.core.text import choice, meant

TOWARDS = "targeted-"
"""Prefix of a name for the attack towards a random wrong class."""


@typed
@dataclass(frozen=True)
class AttackSpec:
    """An attack that is available by name.

    Args:
        build: from a threat model and options to the attack. Its parameters after the first are the options, each with
            a default.
        help: description in a few words.
        targeted: True if it takes targets, so that ``targeted-`` in front of its name is an attack as well.
        norms: names of the norms that it knows, such as ("linf", "l2"); empty: any.
    """

    build: Callable[..., Attack]
    help: str = ""
    targeted: bool = False
    norms: tuple[str, ...] = ()

    @property
    def options(self) -> Mapping[str, object]:
        """Names and defaults of the options."""
        after = list(inspect.signature(self.build).parameters.values())[1:]
        return {one.name: one.default for one in after if one.kind not in (one.VAR_KEYWORD, one.VAR_POSITIONAL)}


ATTACKS: Registry[AttackSpec] = Registry("attack", "robustlab.attacks", "robustlab.attacks")
"""Attacks by name. Those of other packages are imported when a name is not one of ours, or when names are listed."""


@typed
def attack_spec(name: str) -> AttackSpec:
    """The attack of that name, without ``targeted-``.

    Raises: ValueError for an unknown name, with the nearest one, or a member that makes no attack.
    """
    if name not in ATTACKS:
        raise _unknown(name)
    found: object = ATTACKS.get(name)
    if isinstance(found, AttackSpec):
        return found
    if not callable(found):
        raise ValueError(f"the attack {name!r} is registered as a {type(found).__name__}: register an AttackSpec")
    return AttackSpec(found, (inspect.getdoc(found) or "").partition("\n")[0])


def _unknown(name: str) -> ValueError:
    near = meant(name, [*ATTACKS, *(TOWARDS + one for one in ATTACKS if getattr(ATTACKS.get(one), "targeted", False))])
    start = f"there is no attack {name!r}{near} C" if near else f"there is no attack {name!r}: c"
    return ValueError(f"{start}hoose from {', '.join(ATTACKS)}")


def no_option(name: str, word: str, options: Mapping[str, object]) -> ValueError:
    """Error for an unknown option of an attack, with the nearest known one."""
    rest = choice(word, options, intro="it has ") if options else ": it has none"
    return ValueError(f"{name} has no option {word!r}{rest}")


def help_of(name: str) -> str:
    """Description of an attack in a few words; empty for an unknown name."""
    return attack_spec(name).help if name in ATTACKS else ""


@typed
def make_attack(name: str, threat: ThreatModel, *, restarts: int = 1, **options: object) -> Attack:
    """An attack by its name.

    Args:
        name: of ``ATTACKS``, maybe with ``targeted-`` in front: towards a random wrong class.
        threat: norm, eps and bounds.
        restarts: runs, if the attack starts at random.
        options: of the attack, see ``AttackSpec.options``; None: its default.

    Raises: ValueError for an unknown name or option, or a norm that the attack does not know.

    Example:
        >>> from robustlab.core import Linf
        >>> make_attack("bim", ThreatModel(Linf(), 0.1), steps=3).steps
        3
    """
    kind = name.removeprefix(TOWARDS)
    if kind not in ATTACKS or (kind != name and not attack_spec(kind).targeted):
        raise _unknown(name)
    spec = attack_spec(kind)
    for word in options:
        if word not in spec.options:
            raise no_option(kind, word, spec.options)
    if spec.norms and str(threat.norm).lower() not in spec.norms:
        raise ValueError(f"{kind} works in {', '.join(spec.norms)}, got {threat.norm}: choose another attack or norm")
    made = spec.build(threat, **{word: value for word, value in options.items() if value is not None})
    if not callable(made):
        raise ValueError(f"the attack {kind!r} was built as a {type(made).__name__}, which cannot be called")
    made = Targeted(made) if kind != name else made
    return Restarts(made, restarts) if restarts > 1 and random_start(made) else made
