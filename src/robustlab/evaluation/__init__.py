"""Measures how robust a model is, and how far the measurement can be trusted."""

from robustlab.core.finding import Finding
from robustlab.evaluation.compare import Comparison, compare
from robustlab.evaluation.copies.manifest import (
    CopyManifest,
    CopySettings,
    damaged_files,
    is_copy,
    read_copy,
)
from robustlab.evaluation.copies.write import write_corrupted
from robustlab.evaluation.corruptions.baseline import Baseline, alexnet, baseline_of
from robustlab.evaluation.corruptions.compare import CorruptionComparison, compare_corruptions
from robustlab.evaluation.corruptions.corrupted_set import Corrupted, CorruptedSets, corrupted_sets, ready_made
from robustlab.evaluation.corruptions.evaluate import evaluate_corruptions
from robustlab.evaluation.corruptions.flips import FlipRate, FlipRates, flip_rates
from robustlab.evaluation.corruptions.gallery import corruption_pictures
from robustlab.evaluation.corruptions.hard import (
    NaturalAdversarial,
    NaturalOutliers,
    ProtocolResult,
    natural_adversarial,
    natural_outliers,
)
from robustlab.evaluation.corruptions.metrics import CorruptionError, CorruptionErrors, corruption_errors
from robustlab.evaluation.corruptions.plan import CorruptionSettings, numbers_of
from robustlab.evaluation.corruptions.record import CorruptionEvaluation
from robustlab.evaluation.doctor.adaptive import Adapted, adaptive, run_adaptive
from robustlab.evaluation.doctor.adversarial_set import check_adversarial, check_adversarial_run
from robustlab.evaluation.doctor.diagnose import diagnose
from robustlab.evaluation.doctor.findings import FindingSpec, register_finding
from robustlab.evaluation.doctor.inputs import inspect_inputs
from robustlab.evaluation.explanations.evaluate import evaluate_explanations
from robustlab.evaluation.explanations.plan import ExplanationPlan, ExplanationSettings
from robustlab.evaluation.explanations.read import (
    explained_pictures,
    is_explanation_run,
    read_attacked,
    read_explanations,
    read_maps,
)
from robustlab.evaluation.explanations.record import Explanations
from robustlab.evaluation.gallery import pictures
from robustlab.evaluation.outcomes import Outcome, outcomes_of
from robustlab.evaluation.plan import Settings
from robustlab.evaluation.png import Saved, verify_saved
from robustlab.evaluation.png_files import SavedRun, save_images
from robustlab.evaluation.read import is_corruption_run, read_corruptions, read_run
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
    StageResult,
    ThreatInfo,
    TracePoint,
    TraceRecord,
    WorstCase,
)
from robustlab.evaluation.run import evaluate
from robustlab.evaluation.text.compare import TextComparison, compare_searches, compare_texts
from robustlab.evaluation.text.evaluate import evaluate_text
from robustlab.evaluation.text.given import TextData
from robustlab.evaluation.text.judgements import Judged, read_judgements, write_judgements
from robustlab.evaluation.text.meaning import Meaning
from robustlab.evaluation.text.outcomes import RecordedText, is_text_run, read_texts, text_outcomes_of
from robustlab.evaluation.text.plan import TextSettings
from robustlab.evaluation.text.recipe_info import RecipeInfo
from robustlab.evaluation.text.record import RecipeResult, TextEvaluation
from robustlab.runs.progress import Progress

__all__ = [
    "WORST",
    "Adapted",
    "AttackInfo",
    "AttackResult",
    "Baseline",
    "ClassResult",
    "CleanResult",
    "Comparison",
    "Confusion",
    "CopyManifest",
    "CopySettings",
    "Corrupted",
    "CorruptedSets",
    "CorruptionComparison",
    "CorruptionError",
    "CorruptionErrors",
    "CorruptionEvaluation",
    "CorruptionSettings",
    "Curve",
    "CurvePoint",
    "DataInfo",
    "Evaluation",
    "ExplanationPlan",
    "ExplanationSettings",
    "Explanations",
    "Finding",
    "FindingSpec",
    "FlipRate",
    "FlipRates",
    "GalleryItem",
    "Judged",
    "Meaning",
    "ModelInfo",
    "NaturalAdversarial",
    "NaturalOutliers",
    "Outcome",
    "Progress",
    "ProtocolResult",
    "Queries",
    "Recheck",
    "RecipeInfo",
    "RecipeResult",
    "RecordedText",
    "RunInfo",
    "Saved",
    "SavedRun",
    "Settings",
    "Sizes",
    "Spread",
    "StageResult",
    "TextComparison",
    "TextData",
    "TextEvaluation",
    "TextSettings",
    "ThreatInfo",
    "TracePoint",
    "TraceRecord",
    "WorstCase",
    "adaptive",
    "alexnet",
    "baseline_of",
    "check_adversarial",
    "check_adversarial_run",
    "compare",
    "compare_corruptions",
    "compare_searches",
    "compare_texts",
    "corrupted_sets",
    "corruption_errors",
    "corruption_pictures",
    "damaged_files",
    "diagnose",
    "evaluate",
    "evaluate_corruptions",
    "evaluate_explanations",
    "evaluate_text",
    "explained_pictures",
    "flip_rates",
    "inspect_inputs",
    "is_copy",
    "is_corruption_run",
    "is_explanation_run",
    "is_text_run",
    "natural_adversarial",
    "natural_outliers",
    "numbers_of",
    "outcomes_of",
    "pictures",
    "read_attacked",
    "read_copy",
    "read_corruptions",
    "read_explanations",
    "read_judgements",
    "read_maps",
    "read_run",
    "read_texts",
    "ready_made",
    "register_finding",
    "run_adaptive",
    "save_images",
    "text_outcomes_of",
    "verify_saved",
    "write_corrupted",
    "write_judgements",
]  # fmt: skip
