"""The front door: help, wrong use, exit codes, what it costs to open."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import typer
from rich.console import Console
from typer.main import get_command

import robustlab
from robustlab.cli import parse, show
from robustlab.cli.commands import commands
from robustlab.cli.main import built, main
from robustlab.cli.parse import attack, budgets, threat, usual_eps

ROOT = Path(__file__).parents[2]
Command = Callable[..., Any]


def words_of(text: str) -> list[str]:
    """Text without frames and line breaks, whatever the width."""
    return re.sub(r"[─│╭╮╰╯]", " ", text).split()


def test_help_is_quick_because_it_needs_no_torch() -> None:
    program = (
        "import sys\nfrom robustlab.cli.main import main\nmain(['evaluate', '--help'])\n"
        "sys.exit(','.join(m for m in ('torch', 'numpy', 'PIL', 'matplotlib') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "\n"), "something heavy was imported"
    assert "--fail-under" in done.stdout


@pytest.mark.slow
def test_guide_says_what_the_commands_say() -> None:
    program = "import make_cli; print(make_cli.page())"
    plain = {k: v for k, v in os.environ.items() if k not in {"TERMINAL_WIDTH", "GITHUB_ACTIONS", "FORCE_COLOR"}}
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=ROOT / "docs",
        env={**plain, "PYTHONIOENCODING": "utf-8"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=True,
    )
    stored = (ROOT / "docs" / "guide" / "cli.md").read_text(encoding="utf-8")
    assert words_of(done.stdout) == words_of(stored), "write it anew: python docs/make_cli.py"


@pytest.mark.parametrize("name", list(commands()))
def test_examples_in_the_help_are_valid(name: str) -> None:
    group = get_command(built())
    one = group.commands[name]  # type: ignore[attr-defined]  # the app is a group of commands
    assert one.epilog is not None
    program, spoken, *words = shlex.split(one.epilog.removeprefix("Example: "))
    assert (program, spoken) == ("robustlab", name)
    one.make_context(name, words)


@pytest.mark.parametrize("name", list(commands()))
def test_the_help_of_an_option_speaks_of_options_that_the_command_has(name: str) -> None:
    one = get_command(built()).commands[name]  # type: ignore[attr-defined]  # the app is a group of commands
    for command in getattr(one, "commands", {name: one}).values():
        there = {word for option in command.params for word in (*option.opts, *option.secondary_opts)}
        spoken = {
            word for option in command.params for word in re.findall(r"--[a-z-]+", getattr(option, "help", "") or "")
        }
        assert spoken <= there


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("evaluate", "Missing argument"),
        ("evaluate m --no-such", "No such option"),
        ("evaluate m --limit 0", "--limit"),
        ("evaluate m --fail-under 1.5", "--fail-under"),
        ("evaluate m --eps tiny", "eps 'tiny' is no number: write 0.1 or 8/255"),
        ("evaluate m --eps 8/0", "eps '8/0' is no number"),
        ("evaluate m --eps -0.1", "eps -0.1 must be a finite number, 0 or more"),
        ("evaluate m --eps nan", "eps nan must be a finite number"),
        ("evaluate m --eps 8", "write 8/255"),
        ("evaluate m --eps ,", "no eps was given"),
        ("evaluate m --norm l7", "there is no norm 'l7': choose linf, l2 or l1"),
        ("evaluate m --attack apdg", "there is no attack 'apdg'; did you mean apgd? Choose from apgd, "),
        ("evaluate m --attack Targeted_PDG", "there is no attack 'targeted_pdg'; did you mean targeted-pgd?"),
        ("train shallow-cnn --recipe pgd --steps 0", "--steps': 0 is too small: give 1 or more"),
        ("train shallow-cnn --recipe vat --labels -3", "--labels': -3 is too small: give 1 or more"),
        ("train shallow-cnn --recipe trade", "there is no recipe 'trade'; did you mean trades?"),
        ("train shallow-cnn --schedule one-cycl", "there is no schedule 'one-cycl'; did you mean one-cycle?"),
        ("evaluate tiny:means --data digit", "no data set is called 'digit'; did you mean digits?"),
        ("evaluate tiny:means --data fashion_mnst", "called 'fashion_mnst'; did you mean fashion-mnist?"),
        ("reproduce no-such-claim", "no claim is called 'no-such-claim'"),
        ("evaluate robustlap.models:load", "there is no module 'robustlap' here; run it"),
        ("evaluate robustlab.modles:load", "no module 'robustlab.modles' here; did you mean models? Else run it"),
        ("evaluate m --attack deep", "there is no attack 'deep': choose from apgd, "),
        ("evaluate m --attack targeted-autoattack", "there is no attack 'targeted-autoattack'"),
        ("evaluate m --attack pgd --quick", "--quick chooses the attacks itself"),
        ("evaluate m --attack targeted-noise", "there is no attack 'targeted-noise'"),
        ("evaluate nowhere:model", "no model at 'nowhere:model'"),
        ("evaluate tiny:absent", "has no attribute 'absent'"),
        ("evaluate tiny:nothing", "returned a int, expected a torch module"),
        ("evaluate lost.safetensors", "there is no checkpoint lost.safetensors"),
        ("evaluate empty", "empty holds no checkpoint"),
        ("evaluate tiny:means --data absent", "no data set is called 'absent'"),
        ("evaluate tiny:means --device tpu", "there is no device 'tpu' here: choose auto, cpu"),
        ("attack tiny:means --data digits --ids 1,x", "--ids '1,x' is no list of numbers"),
        ("attack tiny:means --data digits --ids 9999", "got ids 9999"),
        ("attack tiny:wide --data digits", "cannot take inputs of shape (1, 1, 8, 8) from digits test"),
        ("train tiny:wide --data digits", "cannot take inputs of shape (1, 1, 8, 8) from digits train"),
        ("evaluate tiny:wide --data digits", "cannot take inputs of shape (1, 1, 8, 8) from digits test"),
        ("evaluate tiny:coloured --data digits", "takes images with 3 channels, these have 1; check --data"),
        ("attack tiny:pair --data digits", "returned a tuple"),
        ("train shallow-cnn --recipe magic", "there is no recipe 'magic'"),
        ("train shallow-cnn --optimizer lion", "there is no optimizer 'lion'"),
        ("train shallow-cnn --schedule zigzag", "there is no schedule 'zigzag'"),
        ("train shallow-cnn --precision fp8", "there is no precision 'fp8'"),
        ("report absent", "absent"),
        ("compare absent absent", "absent"),
        ("runs absent", "there is no folder absent"),
        ("demo --budget huge", "budget must be one of full, quick, got 'huge'"),
        ("nonsense", "No such command"),
    ],
)
def test_wrong_use_is_one_line_and_exit_2(words: str, message: str, command: Command, place: Path) -> None:
    (place / "empty").mkdir()
    done = command(*words.split())
    assert done.code == 2
    assert message in done.err
    assert done.err.startswith("Error: ")
    assert done.err.count("\n") == 1
    assert not done.out
    assert not (place / "runs").exists(), "nothing is begun with wrong arguments"


def test_debug_shows_where_an_error_comes_from() -> None:
    with pytest.raises(ValueError, match="no model at 'nowhere:model'"):
        main(["evaluate", "nowhere:model", "--debug"])


def test_faults_of_ours_are_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parse, "budgets", attrgetter("a_fault_of_ours"))
    with pytest.raises(AttributeError, match="a_fault_of_ours"):
        main(["evaluate", "m"])


@pytest.mark.filterwarnings("default")
def test_warnings_are_a_line_too(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def warn(_: list[str]) -> None:
        warnings.warn("something is amiss", stacklevel=1)
        raise ValueError("and then it stopped")

    monkeypatch.setattr(parse, "budgets", warn)
    assert command("evaluate", "m").err == "Warning: something is amiss\nError: and then it stopped\n"


def test_version(command: Command) -> None:
    assert command("--version") == (0, f"{robustlab.__version__}\n", "")


def test_eps_by_commas_and_repeated_fractions_and_decimals() -> None:
    assert budgets(["8/255,0.1", "0", "0.1"]) == (0.0, 8 / 255, 0.1)
    with pytest.raises(typer.BadParameter, match="'1/2/3' is no number"):
        budgets(["1/2/3"])


@pytest.mark.parametrize("norm", ["linf", "l2", "l1"])
def test_attacks_of_the_standard_suite_have_their_published_numbers(norm: str) -> None:
    from robustlab.attacks import APGD, APGDT, FAB, FABT, Restarts, Square, autoattack
    from robustlab.core import dlr

    limits = threat(norm, budgets(usual_eps(norm))[0])
    standard = [
        "autoattack",
        "autoattack-plus",
        "autoattack-rand",
        "apgd",
        "apgd-dlr",
        "apgd-t",
        "fab",
        "fab-t",
        "square",
    ]
    assert {
        "autoattack": autoattack(limits),
        "autoattack-plus": autoattack(limits, "plus"),
        "autoattack-rand": autoattack(limits, "rand"),
        "apgd": APGD(limits, 100),
        "apgd-dlr": APGD(limits, 100, dlr),
        "apgd-t": APGDT(limits, 100),
        "fab": FAB(limits, 100),
        "fab-t": FABT(limits, 100),
        "square": Square(limits, 5000),
    } == {name: attack(name, limits) for name in standard}
    assert attack("apgd", limits, steps=7, restarts=2) == Restarts(APGD(limits, 7), 2)
    assert str(limits.eps) == {"linf": str(8 / 255), "l2": "0.5", "l1": "12.0"}[norm]


def test_attack_names_make_the_attacks_they_say() -> None:
    from robustlab.attacks import FGSM, PGD, Restarts, Targeted

    limits = threat("L2", 0.5)
    assert str(limits.norm) == "L2"
    assert attack("pgd", limits, steps=7) == PGD(limits, 7)
    assert attack("pgd", limits) == PGD(limits, 40)
    assert attack("fgsm-rs", limits, steps=7) == FGSM(limits, random_start=True)
    assert attack("targeted-pgd", limits, steps=7, restarts=3) == Restarts(Targeted(PGD(limits, 7)), 3)
    assert attack("fgsm", limits, steps=7, restarts=3) == FGSM(limits), "restarts of what has no random start are idle"


def test_a_narrow_terminal_loses_neither_a_name_nor_a_number(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    head = ["step rule", "over the sign rule", "passes an image", "until the first success", "to the lowest of all"]
    rows = [["SGD, momentum 0.9", "+4.0 [+3.1, +5.1]", "14.5", "13.9", "never"]]
    for width in (70, 200):
        console = Console(width=width, highlight=False)
        monkeypatch.setattr(show, "_console", lambda *, stderr, console=console: console)  # noqa: ARG005
        show.table(head, rows)
        lines = capsys.readouterr().out.splitlines()
        words = " ".join(lines).split()
        assert {"+4.0", "[+3.1,", "+5.1]", "14.5", "13.9", "never", "momentum", "lowest", "success"} <= set(words)
        assert max(map(len, lines)) <= width
