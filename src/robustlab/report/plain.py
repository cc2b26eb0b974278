"""Text for spreadsheets and for Markdown, escaped so that it stays text."""

from __future__ import annotations

import html
import re
from collections.abc import Sequence

from robustlab.core.finding import Finding
from robustlab.report.words import Fraction, interval, mark, percent


def csv_text(text: str) -> str:
    """Text escaped so that a spreadsheet does not evaluate it as a formula."""
    return "'" + text if text[:1] in {"=", "+", "-", "@", "\t", "\r"} else text


def xml_text(text: str) -> str:
    """Text without the control characters that XML 1.0 cannot hold."""
    return "".join(c for c in text if c in "\t\n\r" or (ord(c) >= 0x20 and not 0xD800 <= ord(c) <= 0xDFFF))


def md_text(text: str) -> str:
    """Text of a user as plain text: no HTML, no Markdown, one line."""
    one_line = " ".join(text.split())
    return re.sub(r"([\\`*_\[\]|~#])", r"\\\1", html.escape(one_line, quote=False))


def md_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def next_part(steps: Sequence[str]) -> list[str]:
    """A section of Markdown on what to do next; nothing where there are no steps."""
    return ["## What to do next", "\n".join(f"1. {md_text(step)}" for step in steps)] if steps else []


def marked(name: str, findings: Sequence[Finding]) -> str:
    """The name of a model in Markdown, with the reason why its numbers are not to be trusted, if there is one."""
    why = mark(findings)
    return f"{md_text(name)} **({why})**" if why else md_text(name)


def both(fraction: Fraction) -> str:
    """A fraction and its interval."""
    return f"{percent(fraction.value)} {interval(fraction)}"
