"""The command ``robustlab``: its commands, and the handling of errors."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Annotated

import typer

from robustlab.cli import alone, attack_help, codes, failures, guard, interrupt
from robustlab.cli.codes import Code
from robustlab.cli.commands import commands
from robustlab.cli.fields import Late
from robustlab.cli.memory import keep_freed_memory
from robustlab.cli.show import say, volume


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("robustlab"))
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")]
Quiet = Annotated[bool, typer.Option("--quiet", help="Print only results, warnings and errors; works anywhere.")]
Verbose = Annotated[bool, typer.Option("--verbose", help="Print the log of the library, too; works anywhere.")]
_ANYWHERE = ("--debug", "--quiet", "--verbose")


def robustlab(
    version: Version = False,  # noqa: ARG001 -- _run and main read them
    debug: Debug = False,  # noqa: ARG001
    quiet: Quiet = False,  # noqa: ARG001
    verbose: Verbose = False,  # noqa: ARG001
) -> None:
    """Options of no single command."""
    keep_freed_memory()


def built(words: Sequence[str] | None = None) -> typer.Typer:
    """The whole command.

    Args:
        words: as typed; a command that is not among them is only listed, and may lack options. None: all are complete.
    """
    app = typer.Typer(
        name="robustlab",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="markdown",
        epilog="Example: robustlab evaluate my_package.models:classifier --data folder:photos --eps 8/255",
    )
    purpose = (
        "Measures the robustness of a classifier, tests whether the number can be trusted, and trains robust models."
    )
    app.callback(help=f"{purpose}\n\n{codes.listed()}")(robustlab)
    first = next((word for word in words or () if not word.startswith("-")), "")
    for name, spec in commands(first).items():
        command, epilog = spec.command, f"Example: {spec.example}"
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, epilog=epilog)
            continue
        command = command.built(complete=words is None or name in words) if isinstance(command, Late) else command
        app.command(name, epilog=epilog)(command)
    return app


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        args: as typed, without the name of the program; None: those of the process.

    Returns: the exit code, see ``cli.codes``; errors that a user can correct are one line on standard error.
    """
    typed = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in typed
    volume(0 if "--quiet" in typed else 2 if "--verbose" in typed else 1)
    with interrupt.taken(), guard.verdict_first():
        try:
            code = _run([a for a in typed if a not in _ANYWHERE])
        except KeyboardInterrupt:
            code = Code.STOPPED
        except BaseException as error:
            code = Code.STOPPED if interrupt.interrupted() else failures.report(error, debug=debug)
        return code


def _run(typed: list[str]) -> int:
    completing = " ".join(os.environ.get(name, "") for name in ("COMP_WORDS", "_TYPER_COMPLETE_ARGS")).split()
    with warnings.catch_warnings():
        warnings.showwarning = lambda message, *_: say(str(message), "warning")
        with alone.results_alone() if "--json" in typed else nullcontext():
            command = typer.main.get_command(built([*typed, *completing]))
            if "--help" in typed:
                attack_help.fill_in(command)
            code = command(typed, prog_name="robustlab", standalone_mode=False)
    sys.stdout.flush()
    return code if isinstance(code, int) else Code.DONE
