"""Explanations: attribution maps, checks of their worth, attacks on them, and what a network has learned."""

from robustlab.explain.attention import AttentionRollout, TokenGradCAM
from robustlab.explain.borrowed import DeepLift, GradCAM, GuidedBackprop
from robustlab.explain.call import explain
from robustlab.explain.case import Case
from robustlab.explain.checks import (
    CHECKS,
    Check,
    CheckCurve,
    CheckOutcome,
    CheckReport,
    CheckSpec,
    CheckSubject,
    check_maps,
    shuffled_labels,
)
from robustlab.explain.features import (
    Counterfactuals,
    Inversions,
    Visualisations,
    class_images,
    class_seeds,
    counterfactuals,
    invert_features,
    noise_images,
    visualise,
)
from robustlab.explain.gradient import Gradient, GradientTimesInput
from robustlab.explain.gradient_shap import GradientShap
from robustlab.explain.integrated import IntegratedGradients
from robustlab.explain.map_attack import MapAttack, MapAttackResult
from robustlab.explain.map_distances import (
    DISTANCES,
    MapDistance,
    cosine,
    l2,
    rank_correlation,
    ssim,
    top_k_distance,
    top_k_overlap,
)
from robustlab.explain.map_stability import MapStability, map_stability
from robustlab.explain.maps import Maps
from robustlab.explain.numbers import (
    NUMBERS,
    Measured,
    Number,
    NumberDifference,
    NumberSpec,
    compare_numbers,
    make_number,
    measure,
)
from robustlab.explain.occlusion import Occlusion
from robustlab.explain.registry import METHODS, Method, MethodSpec, make_method
from robustlab.explain.smooth_twin import SmoothTwin, smooth_twin
from robustlab.explain.smoothgrad import SmoothGrad
from robustlab.explain.word_maps import WordMaps
from robustlab.explain.words import TokenModel, integrate_words, occlude_words

__all__ = [
    "CHECKS", "DISTANCES", "METHODS", "NUMBERS", "AttentionRollout", "Case", "Check", "CheckCurve", "CheckOutcome",
    "CheckReport", "CheckSpec", "CheckSubject", "Counterfactuals", "DeepLift", "GradCAM", "Gradient",
    "GradientShap", "GradientTimesInput", "GuidedBackprop", "IntegratedGradients", "Inversions", "MapAttack",
    "MapAttackResult", "MapDistance", "MapStability", "Maps", "Measured", "Method", "MethodSpec", "Number",
    "NumberDifference", "NumberSpec", "Occlusion", "SmoothGrad", "SmoothTwin", "TokenGradCAM", "TokenModel",
    "Visualisations", "WordMaps", "check_maps", "class_images", "class_seeds", "compare_numbers", "cosine",
    "counterfactuals", "explain", "integrate_words", "invert_features", "l2", "make_method", "make_number",
    "map_stability", "measure", "noise_images", "occlude_words", "rank_correlation", "shuffled_labels",
    "smooth_twin", "ssim", "top_k_distance", "top_k_overlap", "visualise",
]  # fmt: skip
