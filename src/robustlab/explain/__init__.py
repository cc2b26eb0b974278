"""Explanations: attribution maps, checks of their worth, attacks on them, and what a network has learned."""

from robustlab.explain.call import explain
from robustlab.explain.case import Case
from robustlab.explain.gradient import Gradient, GradientTimesInput
from robustlab.explain.maps import Maps
from robustlab.explain.registry import METHODS, Method, MethodSpec, make_method

__all__ = [
    "METHODS",
    "Case",
    "Gradient",
    "GradientTimesInput",
    "Maps",
    "Method",
    "MethodSpec",
    "explain",
    "make_method",
]
