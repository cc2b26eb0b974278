"""Findings as SARIF 2.1.0, which code-scanning pages show (OASIS standard, 2020)."""

from __future__ import annotations

import json
from collections.abc import Sequence
from importlib.metadata import version

from robustlab.core.finding import Finding
from robustlab.core.kinds import typed
from robustlab.report.measured import Measured, lines_of
from robustlab.report.plain import both

_LEVELS = {"serious": "error", "warning": "warning", "info": "note"}
GATE = "robust-accuracy"
SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


@typed
def to_sarif(evaluations: Sequence[Measured], *, fail_under: float | None = None) -> str:
    """A SARIF log with a rule per kind of finding and a result per finding.

    Args:
        evaluations: one or more.
        fail_under: the smallest lower bound of robust accuracy at the largest eps (on texts: under all recipes) that
            passes, in 0..1; a model below it is a result of the rule "robust-accuracy". None: no such rule.
    """
    cases = [(e, f) for e in evaluations for f in e.findings]
    rules = {f.code: _rule(f.code, f.title, f.advice) for _, f in cases}
    results = [_result(e, f.code, _LEVELS[f.severity], _words(f)) for e, f in cases]
    for e in evaluations:
        judged = lines_of(e)[-1:]
        if fail_under is not None and judged and not judged[0].fraction.low >= fail_under:
            text = f"Robust accuracy {both(judged[0].fraction)} {judged[0].where}, required: {fail_under:g}."
            rules[GATE] = _rule(
                GATE, "Robust accuracy is below the required minimum.", "Harden the model, or lower the bar."
            )
            results.append(_result(e, GATE, "error", text))
    driver = {"name": "robustlab", "version": version("robustlab"), "rules": list(rules.values())}
    log = {"$schema": SCHEMA, "version": "2.1.0", "runs": [{"tool": {"driver": driver}, "results": results}]}
    return json.dumps(log, indent=1, ensure_ascii=False) + "\n"


def _rule(code: str, title: str, advice: str) -> dict[str, object]:
    return {"id": code, "shortDescription": {"text": title}, "help": {"text": advice or title}}


def _words(finding: Finding) -> str:
    evidence = ", ".join(f"{key} {value}" for key, value in finding.evidence.items())
    return " ".join(filter(None, (finding.title, finding.advice, f"({evidence})" if evidence else "")))


def _result(e: Measured, code: str, level: str, text: str) -> dict[str, object]:
    report = {"physicalLocation": {"artifactLocation": {"uri": "report.json"}, "region": {"startLine": 1}}}
    model = {"logicalLocations": [{"name": e.model.name, "kind": "module"}]}
    return {
        "ruleId": code,
        "level": level,
        "message": {"text": f"{e.model.name}: {text}"},
        "locations": [report | model],
        "partialFingerprints": {"robustlab/v1": f"{e.model.sha256}:{code}"},
    }
