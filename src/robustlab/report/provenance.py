"""Findings and provenance of evaluations, for every page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from robustlab.core.finding import Finding
from robustlab.evaluation.record import DataInfo, ModelInfo, RunInfo


class HasFindings(Protocol):
    """An evaluation of any kind."""

    @property
    def model(self) -> ModelInfo:
        """Evaluated model."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """Findings, serious ones first."""


@dataclass(frozen=True)
class Fact:
    """One line of "how to reproduce"; one value if it is the same for all models."""

    name: str
    values: tuple[str, ...]


@dataclass(frozen=True)
class Findings:
    """Findings of one kind, of one or several models and attacks, the gravest first."""

    cases: tuple[tuple[str, Finding], ...]
    """Names of models, each with a finding."""

    @property
    def gravest(self) -> Finding:
        """First case, shown for all of them."""
        return self.cases[0][1]


def gathered(evaluations: Sequence[HasFindings]) -> list[Findings]:
    """Findings of all evaluations by kind, serious kinds first."""
    grave = ("serious", "warning", "info")
    cases = [(e.model.name, f) for e in evaluations for f in e.findings]
    cases.sort(key=lambda case: grave.index(case[1].severity))
    kinds = dict.fromkeys((f.code, f.advice) for _, f in cases)
    return [Findings(tuple(case for case in cases if (case[1].code, case[1].advice) == kind)) for kind in kinds]


def in_rows(columns: Sequence[Mapping[str, str]]) -> list[Fact]:
    """Facts of several models by name, side by side; "" where one has none of that name."""
    names = dict.fromkeys(name for column in columns for name in column)
    facts = []
    for name in names:
        values = tuple(column.get(name, "") for column in columns)
        facts.append(Fact(name, values[:1] if len(set(values)) == 1 else values))
    return facts


def facts_of(model: ModelInfo, data: DataInfo, run: RunInfo) -> dict[str, str]:
    """Facts on how a result was made, by name."""
    return {
        "Run": run.id,
        "Made": run.created,
        "Seed": str(run.seed),
        "Batches": f"{run.batch_size}; {run.batch_plan}",
        "Device": f"{run.device}, {run.hardware}, {run.threads} thread{'s' if run.threads != 1 else ''}",
        "Precision": run.dtype if run.search_dtype == run.dtype else f"{run.dtype}, search in {run.search_dtype}",
        "Interruptions": str(run.sessions - 1),
        "Versions": ", ".join(f"{name} {version}" for name, version in run.versions.items()),
        "Model": f"{model.parameters:,} parameters, {model.dtype}",
        "Weights (SHA-256)": model.sha256,
        "Data": f"{data.name}{f', {data.split}' if data.split else ''}, shape {data.shape}",
        "Data (SHA-256)": data.sha256,
    }
