"""A section for a model card in Markdown: results, their measurement, and their limits."""

from __future__ import annotations

from collections.abc import Sequence

from robustlab.core.kinds import typed
from robustlab.evaluation.record import Evaluation
from robustlab.report.plain import both, md_table, md_text
from robustlab.report.words import budget, mark, percent, sample


@typed
def to_model_card(evaluations: Sequence[Evaluation]) -> str:
    """The section "Adversarial robustness", with headings of the second and third level.

    Args:
        evaluations: one or more; each gets a table.
    """
    parts = ["## Adversarial robustness"]
    for e in evaluations:
        parts += [f"### {md_text(e.model.name)} on {md_text(e.data.name)}"] if len(evaluations) > 1 else []
        parts += [_table(e), _how(e), _trust(e)]
    return "\n\n".join(parts) + "\n"


def _table(e: Evaluation) -> str:
    rows = [["clean", both(e.clean.accuracy)]]
    rows += [[f"{e.threat.norm} eps {budget(w.eps)}, worst of all attacks", both(w.robust)] for w in e.worst]
    why = mark(e.findings)
    rows += [["**Mark**", f"**{why}**"]] if why else []
    return md_table(["Accuracy", f"{md_text(e.data.name)} (n = {e.data.n})"], rows)


def _how(e: Evaluation) -> str:
    attacks = ", ".join(md_text(a.name) for a in e.attacks)
    caveats = " ".join(md_text(c) for c in e.caveats)
    return (
        f"{md_text(sample(e.data))} Attacks: {attacks}. Inputs lie in {list(e.threat.bounds)}. Brackets are exact "
        f"{percent(e.clean.accuracy.level, 0)} intervals over examples. {caveats} Measured with robustlab "
        f"{e.run.versions.get('robustlab', '')}, torch {e.run.versions.get('torch', '')}, seed {e.run.seed}; weights "
        f"`{e.model.sha256[:16]}`, data `{e.data.sha256[:16]}`."
    ).replace("  ", " ")


def _trust(e: Evaluation) -> str:
    lines = ["Robust accuracy is an upper bound: other attacks may find more adversarial examples. It is no guarantee."]
    lines += [f"- **{f.severity}**, `{f.code}`: {md_text(f.title)} {md_text(f.advice)}" for f in e.findings]
    return "\n".join([lines[0], *(["", *lines[1:]] if len(lines) > 1 else [])])
