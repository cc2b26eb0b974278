"""Explanations: attribution maps, checks of their worth, attacks on them, and what a network has learned."""

from robustlab.explain.call import explain
from robustlab.explain.case import Case
from robustlab.explain.features import Counterfactuals, class_images, class_seeds, counterfactuals, noise_images
from robustlab.explain.gradient import Gradient, GradientTimesInput
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
from robustlab.explain.maps import Maps
from robustlab.explain.registry import METHODS, Method, MethodSpec, make_method

__all__ = [
    "DISTANCES", "METHODS", "Case", "Counterfactuals", "Gradient", "GradientTimesInput", "MapDistance", "Maps",
    "Method", "MethodSpec", "class_images", "class_seeds", "cosine", "counterfactuals", "explain", "l2",
    "make_method", "noise_images", "rank_correlation", "ssim", "top_k_distance", "top_k_overlap",
]  # fmt: skip
