"""Exit codes of the command: the help, the guide and the commands use these."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """End of a command; 0 only if everything that was requested is done, the verdict included."""

    DONE = 0
    FAULT = 1
    WRONG = 2
    BELOW = 3
    SERIOUS = 4
    DIVERGED = 5
    STOPPED = 130
    CLOSED = 141
    TERMINATED = 143


MEANINGS = {
    Code.DONE: "done, and the conditions of `--fail-under` and `--strict` hold",
    Code.FAULT: "a fault of robustlab itself; please report what it printed",
    Code.WRONG: "wrong use, a failure of the model, its function, data or files (any exception, `sys.exit(0)` too), "
    "or a resource that the machine lacks; one line names the cause, `--debug` shows the traceback",
    Code.BELOW: "the lower bound of robust accuracy, or of mean accuracy under corruption, is below `--fail-under`",
    Code.SERIOUS: "a serious finding, with `--strict` or before an attack that it makes meaningless",
    Code.DIVERGED: "training diverged: the loss is not a number; the last complete epoch is kept, one line names its "
    "place",
    Code.STOPPED: "interrupted (Ctrl-C, SIGINT) at any moment; a run prints the command that resumes it",
    Code.CLOSED: "standard output was closed (`robustlab ... | head`), so the output is incomplete",
    Code.TERMINATED: "ended from outside (SIGTERM); the same command resumes a run, as after every other end",
}
"""In Markdown, by code."""


def table() -> str:
    """All codes as a table in Markdown."""
    rows = [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(["| exit code | meaning |", "|---|---|", *rows])


def listed() -> str:
    """All codes as a list in Markdown, for the help."""
    return "\n\n".join(["Exit codes:", *(f"- {code.value}: {meaning}" for code, meaning in MEANINGS.items())])
