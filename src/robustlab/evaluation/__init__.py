"""Measures how robust a model is, and how far the measurement can be trusted."""

from robustlab.evaluation.adaptive import Adapted, adaptive, run_adaptive
from robustlab.evaluation.adversarial_set import check_adversarial, check_adversarial_run
from robustlab.evaluation.compare import Comparison, compare
from robustlab.evaluation.doctor import diagnose
from robustlab.evaluation.gallery import pictures
from robustlab.evaluation.inputs import inspect_inputs
from robustlab.evaluation.natural.baseline import Baseline, alexnet, baseline_of
from robustlab.evaluation.natural.compare import NaturalComparison, compare_natural
from robustlab.evaluation.natural.copy_record import (
    CopyManifest,
    CopyProgress,
    CopySettings,
    damaged_files,
    is_copy,
    read_copy,
)
from robustlab.evaluation.natural.corrupted_copy import write_corrupted
from robustlab.evaluation.natural.corrupted_set import Corrupted, CorruptedSets, corrupted_sets, ready_made
from robustlab.evaluation.natural.evaluate import evaluate_natural
from robustlab.evaluation.natural.flips import FlipRate, FlipRates, flip_rates
from robustlab.evaluation.natural.gallery import natural_pictures
from robustlab.evaluation.natural.hard import (
    NaturalAdversarial,
    NaturalOutliers,
    ProtocolResult,
    natural_adversarial,
    natural_outliers,
)
from robustlab.evaluation.natural.manifest import is_natural, read_natural
from robustlab.evaluation.natural.metrics import CorruptionError, CorruptionErrors, corruption_errors
from robustlab.evaluation.natural.plan import NaturalProgress, NaturalSettings, numbers_of
from robustlab.evaluation.natural.record import NaturalEvaluation
from robustlab.evaluation.outcomes import Outcome, outcomes_of
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
from robustlab.evaluation.saved_run import SavedRun, save_images

__all__ = [
    "WORST", "Adapted", "AttackInfo", "AttackResult", "Baseline", "ClassResult", "CleanResult", "Comparison",
    "Confusion", "CopyManifest", "CopyProgress", "CopySettings", "Corrupted", "CorruptedSets", "CorruptionError",
    "CorruptionErrors", "Curve", "CurvePoint", "DataInfo", "Evaluation", "Finding", "FlipRate", "FlipRates",
    "GalleryItem", "ModelInfo", "NaturalAdversarial", "NaturalComparison", "NaturalEvaluation", "NaturalOutliers",
    "NaturalProgress", "NaturalSettings", "Outcome", "Progress", "ProtocolResult", "Queries", "Recheck", "RunInfo",
    "Saved", "SavedRun", "Settings", "Sizes", "Spread", "StageResult", "ThreatInfo", "TracePoint", "TraceRecord",
    "WorstCase", "adaptive", "alexnet", "baseline_of", "check_adversarial", "check_adversarial_run", "compare",
    "compare_natural", "corrupted_sets", "corruption_errors", "damaged_files", "diagnose", "evaluate",
    "evaluate_natural", "flip_rates", "inspect_inputs", "is_copy", "is_natural", "natural_adversarial",
    "natural_outliers", "natural_pictures", "numbers_of", "outcomes_of", "pictures", "read_copy", "read_natural",
    "read_run", "ready_made", "run_adaptive", "save_images", "verify_saved", "write_corrupted",
]  # fmt: skip
