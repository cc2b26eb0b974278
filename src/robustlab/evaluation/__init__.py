"""Measures how robust a model is, and how far the measurement can be trusted."""

from robustlab.evaluation.adaptive import Adapted, adaptive, run_adaptive
from robustlab.evaluation.adversarial_set import check_adversarial, check_adversarial_run
from robustlab.evaluation.compare import Comparison, compare
from robustlab.evaluation.doctor import diagnose
from robustlab.evaluation.gallery import pictures
from robustlab.evaluation.inputs import inspect_inputs
from robustlab.evaluation.metrics import clopper_pearson, holm, mcnemar, paired_difference
from robustlab.evaluation.paired import examples_needed, mcnemar_power
from robustlab.evaluation.plan import Progress, Settings
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
    Finding,
    GalleryItem,
    Interval,
    ModelInfo,
    Queries,
    Recheck,
    RunInfo,
    Sizes,
    Spread,
    StageResult,
    ThreatInfo,
    TracePoint,
    TraceRecord,
    WorstCase,
)
from robustlab.evaluation.run import evaluate, read_run
from robustlab.evaluation.saved import Saved, verify_saved

__all__ = [
    "WORST", "Adapted", "AttackInfo", "AttackResult", "ClassResult", "CleanResult", "Comparison", "Confusion", "Curve",
    "CurvePoint", "DataInfo", "Evaluation", "Finding", "GalleryItem", "Interval", "ModelInfo", "Progress", "Queries",
    "Recheck", "RunInfo", "Saved", "Settings", "Sizes", "Spread", "StageResult", "ThreatInfo", "TracePoint",
    "TraceRecord", "WorstCase", "adaptive", "check_adversarial", "check_adversarial_run", "clopper_pearson", "compare",
    "diagnose", "evaluate", "examples_needed", "holm", "inspect_inputs", "mcnemar", "mcnemar_power", "paired_difference",
    "pictures", "read_run", "run_adaptive", "verify_saved",
]  # fmt: skip
