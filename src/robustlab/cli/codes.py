"""Exit codes of the command, said once: the help, the guide and the commands take them from here."""

from __future__ import annotations

from enum import IntEnum


class Code(IntEnum):
    """How a command ended; 0 is said only where everything that was asked for was done, verdict included."""

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
    Code.DONE: "done, and what `--fail-under` or `--strict` asks for is so",
    Code.FAULT: "a fault of robustlab itself; please report what it printed",
    Code.WRONG: "wrong use, a failure of the model, its function, data or files (whatever they raise, `sys.exit(0)` "
    "included), or something that the machine lacks; one line says what, `--debug` shows the traceback",
    Code.BELOW: "the lower bound of robust accuracy, or of mean accuracy under corruption, is below `--fail-under`",
    Code.SERIOUS: "a serious finding, with `--strict` or before an attack that it makes meaningless",
    Code.DIVERGED: "training diverged: the loss is no number any more; the last complete epoch is kept, one line says "
    "where",
    Code.STOPPED: "interrupted (Ctrl-C, SIGINT), at whatever moment; a run says how to go on",
    Code.CLOSED: "nobody reads standard output any more (`robustlab ... | head`), so not all was said",
    Code.TERMINATED: "ended from outside (SIGTERM); a run goes on with the same command, like after every other end",
}
"""In Markdown, by code."""


def table() -> str:
    """All codes as a table in Markdown."""
    rows = [f"| {code.value} | {meaning} |" for code, meaning in MEANINGS.items()]
    return "\n".join(["| exit code | meaning |", "|---|---|", *rows])


def listed() -> str:
    """All codes as a list in Markdown, for the help."""
    return "\n\n".join(["Exit codes:", *(f"- {code.value}: {meaning}" for code, meaning in MEANINGS.items())])
