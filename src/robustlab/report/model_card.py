"""A section for a model card in Markdown: results, their measurement, and their limits."""

from __future__ import annotations

from collections.abc import Sequence

from robustlab.core.kinds import typed
from robustlab.evaluation.text.record import TextEvaluation
from robustlab.report.measured import Measured, lines_of
from robustlab.report.plain import both, md_table, md_text
from robustlab.report.words import budget, mark, percent, sample
from robustlab.statistics.intervals import Interval


@typed
def to_model_card(evaluations: Sequence[Measured]) -> str:
    """The section "Adversarial robustness", with headings of the second and third level.

    Args:
        evaluations: one or more; each gets a table.
    """
    parts = ["## Adversarial robustness"]
    for e in evaluations:
        parts += [f"### {md_text(e.model.name)} on {md_text(e.data.name)}"] if len(evaluations) > 1 else []
        parts += [_table(e), _how(e), _trust(e)]
    return "\n\n".join(parts) + "\n"


def _table(e: Measured) -> str:
    rows = [["clean", both(e.clean.accuracy)]]
    rows += [[md_text(name), both(fraction)] for name, fraction in _accuracies(e)]
    why = mark(e.findings)
    rows += [["**Mark**", f"**{why}**"]] if why else []
    return md_table(["Accuracy", f"{md_text(e.data.name)} (n = {e.data.n})"], rows)


def _accuracies(e: Measured) -> list[tuple[str, Interval]]:
    if isinstance(e, TextEvaluation):
        return [(line.name, line.fraction) for line in lines_of(e)]
    return [(f"{e.threat.norm} eps {budget(w.eps)}, worst of all attacks", w.robust) for w in e.worst]


def _how(e: Measured) -> str:
    caveats = " ".join(md_text(c) for c in e.caveats)
    return (
        f"{md_text(sample(e.data))} {_attacks(e)} Brackets are exact "
        f"{percent(e.clean.accuracy.level, 0)} intervals over examples. {caveats} Measured with robustlab "
        f"{e.run.versions.get('robustlab', '')}, torch {e.run.versions.get('torch', '')}, seed {e.run.seed}; weights "
        f"`{md_text(e.model.sha256[:16])}`, data `{e.data.sha256[:16]}`."
    ).replace("  ", " ")


def _attacks(e: Measured) -> str:
    if isinstance(e, TextEvaluation):
        return f"Recipes: {', '.join(md_text(one.name) for one in e.recipes)}.{_meaning(e)}"
    attacks = ", ".join(md_text(a.name) for a in e.attacks)
    return f"Attacks: {attacks}. Inputs lie in {list(e.threat.bounds)}."


def _meaning(e: TextEvaluation) -> str:
    found = [
        f"{percent(audit.value)} of the successes of {md_text(one.recipe)}"
        for one in e.results
        if (audit := one.audit.either or one.audit.turned or one.audit.apart)
    ]
    return f" Successes that change the meaning: {', '.join(found)}." if found else ""


def _trust(e: Measured) -> str:
    lines = ["Robust accuracy is an upper bound: other attacks may find more adversarial examples. It is no guarantee."]
    lines += [f"- **{f.severity}**, `{f.code}`: {md_text(f.title)} {md_text(f.advice)}" for f in e.findings]
    return "\n".join([lines[0], *(["", *lines[1:]] if len(lines) > 1 else [])])
