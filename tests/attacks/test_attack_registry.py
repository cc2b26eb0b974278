"""Attacks by name: options, targets and restarts, and errors for a wrong name or option."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest

from robustlab.attacks import ATTACKS, FGSM, PGD, AttackSpec, Restarts, Square, Targeted, attack_spec, make_attack
from robustlab.attacks.registry import help_of
from robustlab.cli.attack_help import registered
from robustlab.core import L2, Linf, ThreatModel

THREAT = ThreatModel(Linf(), 0.1)


@pytest.fixture
def added() -> Iterator[list[str]]:
    """Names that a test registers, to be forgotten after it."""
    names: list[str] = []
    yield names
    for name in names:
        ATTACKS.unregister(name)


def test_options_are_those_of_the_builder_and_none_is_the_default() -> None:
    assert make_attack("square", THREAT, queries=7, rescaled=True) == Square(THREAT, 7, rescaled=True)
    assert make_attack("square", THREAT, queries=None) == Square(THREAT)
    assert dict(attack_spec("pgd").options) == {"steps": 40, "step_size": None}


def test_restarts_are_for_what_starts_at_random() -> None:
    assert make_attack("targeted-pgd", THREAT, steps=7, restarts=3) == Restarts(Targeted(PGD(THREAT, 7)), 3)
    assert make_attack("targeted-fgsm", THREAT, restarts=3) == Targeted(FGSM(THREAT))
    assert make_attack("autoattack", THREAT, restarts=3) == make_attack("autoattack", THREAT)
    assert isinstance(make_attack("fab", THREAT, random_start=True, restarts=3), Restarts)


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("sqare", {}, "there is no attack 'sqare'; did you mean square\\? Choose from apgd, "),
        ("targeted-pdg", {}, "there is no attack 'targeted-pdg'; did you mean targeted-pgd\\?"),
        ("targeted-square", {}, "there is no attack 'targeted-square'"),
        ("pgd", {"stesp": 3}, "pgd has no option 'stesp'; did you mean steps\\? It has steps, step_size"),
        ("noise", {"steps": 3}, "noise has no option 'steps': it has none"),
        ("apgd", {"steps": 0}, "steps must be a whole number"),
    ],
)
def test_wrong_names_and_options_are_refused(name: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_attack(name, THREAT, **options)


def test_a_norm_that_an_attack_does_not_know_is_refused(added: list[str]) -> None:
    added.append("signs")
    ATTACKS.register("signs", AttackSpec(FGSM, "signs of gradients", norms=("linf",)))
    assert make_attack("signs", THREAT) == FGSM(THREAT)
    with pytest.raises(ValueError, match="signs works in linf, got L2: choose another attack or norm"):
        make_attack("signs", ThreatModel(L2(), 0.5))


def test_a_class_is_registered_as_it_is_and_anything_else_is_refused(added: list[str]) -> None:
    added += ["mine", "number", "idle"]
    ATTACKS.register("mine", PGD)  # type: ignore[arg-type]  # as an entry point may
    assert make_attack("mine", THREAT, steps=3) == PGD(THREAT, 3)
    assert attack_spec("mine").help.startswith("Projected gradient method")
    ATTACKS.register("number", 3)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="'number' is registered as a int: register an AttackSpec"):
        make_attack("number", THREAT)
    ATTACKS.register("idle", AttackSpec(lambda _: None))  # type: ignore[arg-type,return-value]
    with pytest.raises(ValueError, match="'idle' was built as a NoneType, which cannot be called"):
        make_attack("idle", THREAT)
    with pytest.raises(ValueError, match="did you mean mine"):
        make_attack("minee", THREAT)


def test_a_taken_name_is_refused() -> None:
    with pytest.raises(ValueError, match="two members are called 'pgd'"):
        ATTACKS.register("pgd", AttackSpec(partial(PGD, steps=3)))
    assert make_attack("pgd", THREAT) == PGD(THREAT, 40)


def test_the_help_reads_the_names_that_are_registered() -> None:
    ours = {one.name: one.targeted for one in registered()}
    files = {name for name in ATTACKS if attack_spec(name).build.__module__.startswith("robustlab.")}
    assert {name: attack_spec(name).targeted for name in files} == ours, (
        "write ATTACKS.register(name, AttackSpec(...)), name and targeted as constants"
    )


def test_every_attack_of_ours_has_a_description() -> None:
    assert all(help_of(one.name) for one in registered())
    assert help_of("fooled at a smaller eps") == ""
