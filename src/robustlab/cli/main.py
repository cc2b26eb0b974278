"""The command itself: which commands there are, and what becomes of errors."""

from __future__ import annotations

import importlib
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Annotated

import typer

from robustlab.cli.memory import keep_freed_memory
from robustlab.cli.show import say

WRONG, STOPPED = 2, 130
"""Exit codes: wrong use; interrupted."""
COMMANDS = (
    "demo", "data", "train", "finetune", "noisy-student", "attack", "evaluate", "compare", "report", "runs", "doctor",
    "reproduce", "sweep", "mine", "hard", "corrupt",
)  # fmt: skip

app = typer.Typer(
    name="robustlab",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    epilog="Example: robustlab evaluate my_package.models:classifier --data folder:photos --eps 8/255",
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(version("robustlab"))
        raise typer.Exit


Version = Annotated[
    bool, typer.Option("--version", help="Print the version and stop.", is_eager=True, callback=_print_version)
]
Debug = Annotated[bool, typer.Option("--debug", help="Show the traceback of an error; works anywhere.")]


@app.callback()
def robustlab(version: Version = False, debug: Debug = False) -> None:  # noqa: ARG001 -- they work by being there
    """Measures how robust a classifier is, how far the number can be trusted, and what breaks it.

    Exit codes: 0 done; 2 wrong use, or something the machine lacks; 3 accuracy below --fail-under; 4 a serious
    finding with --strict; 5 training diverged; 130 interrupted (a run can be resumed).
    """
    keep_freed_memory()


def _register() -> None:
    for name in COMMANDS:
        word = name.replace("-", "_")
        module = importlib.import_module(f"robustlab.cli.{word}")
        command: Callable[..., None] | typer.Typer = getattr(module, word)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name, epilog=f"Example: {module.EXAMPLE}")
        else:
            app.command(name, epilog=f"Example: {module.EXAMPLE}")(command)


_register()


def main(args: Sequence[str] | None = None) -> int:
    """Runs the command.

    Args:
        args: as typed, without the name of the program; None: those of the process.

    Returns: the exit code; errors that a user can do something about are one line on standard error.
    """
    typed = list(sys.argv[1:] if args is None else args)
    debug = "--debug" in typed
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # so that package.module:function is found where the user stands
    try:
        with warnings.catch_warnings():
            warnings.showwarning = lambda message, *_: say(str(message), "warning")
            code = app([a for a in typed if a != "--debug"], prog_name="robustlab", standalone_mode=False)
    except KeyboardInterrupt:
        return STOPPED
    except Exception as error:
        if debug:
            raise
        return _explained(error)
    return code if isinstance(code, int) else 0


def _explained(error: Exception) -> int:
    """Says what a known error says; others are faults of ours and keep their traceback."""
    from robustlab.core.errors import RobustlabError

    usage = getattr(error, "format_message", None)  # how typer's own errors say it
    if usage is not None:
        where = getattr(getattr(error, "ctx", None), "command_path", "robustlab")
        say(f"{usage().rstrip('.')}. See '{where} --help'.", "error")
    elif isinstance(error, RobustlabError | ValueError):
        say(str(error) or type(error).__name__, "error")
    else:
        raise error
    return WRONG
