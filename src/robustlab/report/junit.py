"""Results as JUnit XML, which build servers show as test cases."""

from __future__ import annotations

from collections.abc import Sequence
from xml.etree import ElementTree as Xml

from robustlab.core.finding import Finding
from robustlab.core.kinds import typed
from robustlab.report.measured import Line, Measured, lines_of
from robustlab.report.plain import both, xml_text


@typed
def to_junit(evaluations: Sequence[Measured], *, fail_under: float | None = None, strict: bool = False) -> str:
    """A test suite per model: its clean accuracy, its robust accuracy at each eps, and each finding.

    A case fails if the command would end with an error code: the lower bound of robust accuracy at the largest
    eps (on texts: under all recipes) is below ``fail_under``, or there is a serious finding and ``strict`` is set.

    Args:
        evaluations: one or more.
        fail_under: the smallest lower bound of robust accuracy that passes, in 0..1; None: every one.
        strict: whether serious findings fail.
    """
    root = Xml.Element("testsuites", name="robustlab")
    for e in evaluations:
        _suite(root, e, fail_under, strict=strict)
    Xml.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + Xml.tostring(root, encoding="unicode") + "\n"


def _suite(root: Xml.Element, e: Measured, fail_under: float | None, *, strict: bool) -> None:
    name = xml_text(f"{e.model.name} on {e.data.name}")
    cases = [_case(name, "clean accuracy", both(e.clean.accuracy), e.clean.seconds)]
    lines = lines_of(e)
    cases += [_robust(name, line, fail_under if line == lines[-1] else None) for line in lines]
    cases += [_finding(name, finding, strict=strict) for finding in e.findings]
    failures = sum(case.find("failure") is not None for case in cases)
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": "0"}
    about = {"name": name, "time": f"{e.run.seconds:.3f}", "timestamp": e.run.created}
    suite = Xml.SubElement(root, "testsuite", about | counts)
    suite.extend(cases)


def _case(suite: str, name: str, output: str, seconds: float = 0.0) -> Xml.Element:
    case = Xml.Element("testcase", classname=suite, name=xml_text(name), time=f"{seconds:.3f}")
    Xml.SubElement(case, "system-out").text = xml_text(output)
    return case


def _robust(suite: str, line: Line, fail_under: float | None) -> Xml.Element:
    """One accuracy; ``fail_under`` None: it is not judged."""
    case = _case(suite, line.name, both(line.fraction), line.seconds)
    if fail_under is not None and not line.fraction.low >= fail_under:
        message = f"the lower bound {line.fraction.low:.4f} is below {fail_under:g}"
        case.insert(0, Xml.Element("failure", message=message, type="robust-accuracy"))
    return case


def _finding(suite: str, finding: Finding, *, strict: bool) -> Xml.Element:
    evidence = ", ".join(f"{key} {value}" for key, value in finding.evidence.items())
    case = _case(suite, f"finding {finding.code}", f"{finding.severity}: {finding.title} {finding.advice} {evidence}")
    if strict and finding.severity == "serious":
        case.insert(0, Xml.Element("failure", message=xml_text(finding.title), type=finding.code))
    return case
