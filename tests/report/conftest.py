"""Evaluations written down by hand, as ``evaluate`` would record them, with real handwritten digits as pictures."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from scipy.stats import beta
from sklearn.datasets import load_digits

from robustlab.core.finding import Finding
from robustlab.evaluation.compare import Comparison
from robustlab.evaluation.record import (
    WORST,
    AttackInfo,
    AttackResult,
    ClassResult,
    CleanResult,
    Confusion,
    Curve,
    CurvePoint,
    DataInfo,
    Evaluation,
    GalleryItem,
    ModelInfo,
    Queries,
    Recheck,
    RunInfo,
    Sizes,
    Spread,
    ThreatInfo,
    WorstCase,
)
from robustlab.statistics.intervals import Interval

EPS = (0.02, 0.05, 0.1)
N = 200


Recorder = Callable[..., Evaluation]


def fraction(count: int, n: int = N) -> Interval:
    low = float(beta.ppf(0.025, count, n - count + 1)) if count else 0.0
    high = float(beta.ppf(0.975, count + 1, n - count)) if count < n else 1.0
    return Interval(count / n if n else float("nan"), low, high, count, n)


def per_class(classes: tuple[str, ...], clean: int, robust: int) -> tuple[ClassResult, ...]:
    k = len(classes)
    return tuple(ClassResult(i, c, N // k, clean // k, robust // k) for i, c in enumerate(classes))


def confusion(k: int, right: int) -> Confusion:
    n, cells = N // k, []
    for true in range(k):
        cells += [(true, true, right // k), (true, (true + 1) % k, n - right // k)]
    return Confusion(tuple(sorted(cell for cell in cells if cell[2])))


def _result(attack: str, eps: float, robust: int, classes: tuple[str, ...], reused: int) -> AttackResult:
    spread = Spread(eps * 0.9, eps, eps)
    return AttackResult(
        attack=attack,
        eps=eps,
        robust=fraction(robust),
        success=fraction(180 - robust, 180),
        target_reached=fraction(180 - robust, 180) if attack == "targeted" else None,
        attacked=180 - reused,
        reused=reused,
        nonfinite=0,
        outside=0,
        sizes=Sizes(spread, spread, spread, 180 - robust),
        queries=Queries(12.25, 11.0),
        seconds=1.5,
        per_class=per_class(classes, 180, robust),
        confusion=confusion(len(classes), robust),
        mean_confidence=0.8,
    )


def _curve(name: str, results: list[AttackResult]) -> Curve:
    points = [CurvePoint(0.0, fraction(180), 0)]
    for r in results:
        points.append(CurvePoint(r.eps, r.robust, r.reused, Recheck(10, 1) if r.reused else None))
    return Curve(name, tuple(points))


def _gallery(directory: Path) -> tuple[GalleryItem, ...]:
    from safetensors.torch import save_file

    x = torch.tensor(load_digits().images[:3] / 16, dtype=torch.float32)[:, None]
    x_adv = (x + 0.1 * torch.where(torch.arange(8) % 2 == 0, 1.0, -1.0)).clamp(0, 1)
    (directory / "adversarial").mkdir(parents=True)
    save_file({"x": x, "x_adv": x_adv}, directory / "adversarial" / "gallery.safetensors")
    return tuple(
        GalleryItem("adversarial/gallery.safetensors", i, 40 + i, "PGD-10", 0.1, i, i, 0.98, 3, 0.7, 0.1, 0.6, 4.0)
        for i in range(3)
    )


def _run(name: str) -> RunInfo:
    return RunInfo(
        id=f"run-of-{name}",
        created="2026-11-22T18:00:00Z",
        command=f"robustlab evaluate {name} --data digits",
        versions={"robustlab": "0.1", "torch": "2.11"},
        seed=0,
        batch_size=64,
        batch_plan="in id order",
        threads=2,
        device="cpu",
        dtype="float32",
        search_dtype="float32",
        hardware="2 cores",
        seconds=4.5,
    )


@pytest.fixture
def recorded(tmp_path: Path) -> Recorder:
    """Makes evaluations whose run directories are below ``tmp_path``."""

    def make(
        name: str = "small",
        *,
        robust: tuple[int, ...] = (150, 90, 24),
        classes: tuple[str, ...] = ("zero", "one", "two", "three"),
        findings: tuple[Finding, ...] = (),
        data: str = "digits",
        norm: str = "Linf",
    ) -> Evaluation:
        directory = tmp_path / f"run-{len(list(tmp_path.glob('run-*')))}"
        attacks = ("FGSM", "PGD-10", "targeted")
        by_attack = {
            a: [
                _result(a, e, r + 4 * i, classes, reused=180 - robust[0] if e > EPS[0] else 0)
                for e, r in zip(EPS, robust, strict=True)
            ]
            for i, a in zip((2, 0, 1), attacks, strict=True)
        }
        worst = [by_attack["PGD-10"][i] for i in range(len(EPS))]
        return Evaluation(
            model=ModelInfo(name, 1234, "ab" * 32, len(classes), "float32"),
            data=DataInfo(
                data, "test", N, 360, "simple random sample by a hash of the id, seed 0", classes, "cd" * 32, (1, 8, 8)
            ),
            threat=ThreatInfo(norm, (0.0, 1.0)),
            run=_run(name),
            attacks=tuple(AttackInfo(a, f"{a}(...)", a == "targeted") for a in attacks),
            clean=CleanResult(fraction(180), per_class(classes, 180, 180), confusion(len(classes), 180), 0.93, 0, 0.2),
            results=tuple(r for a in attacks for r in by_attack[a]),
            worst=tuple(WorstCase(r.eps, attacks, r.robust, r.success, r.per_class) for r in worst),
            curves=(*(_curve(a, by_attack[a]) for a in attacks), _curve(WORST, worst)),
            findings=findings,
            gallery=_gallery(directory),
            directory=directory,
        )

    return make


@pytest.fixture
def comparison() -> Comparison:
    """Second model clearly better."""
    return Comparison("small", "hardened", WORST, 0.1, N, 20, 4, 130, 46, 0.63, 0.55, 0.7, 1e-20)


@pytest.fixture
def serious() -> Finding:
    """One that must come first."""
    return Finding(
        code="probabilities-for-logits",
        severity="serious",
        title="The model returns probabilities, not logits.",
        evidence={"row_sum": 1.0, "smallest": 0.0},
        advice="Remove the softmax from its end: gradients vanish through it.",
    )
