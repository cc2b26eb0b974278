"""What a network has learned: images of classes, nearest images of other classes, and features as images."""

from robustlab.explain.features.class_images import class_images
from robustlab.explain.features.counterfactual import Counterfactuals, counterfactuals
from robustlab.explain.features.inversion import Inversions, invert_features
from robustlab.explain.features.starts import class_seeds, noise_images
from robustlab.explain.features.visualisation import Visualisations, visualise

__all__ = [
    "Counterfactuals",
    "Inversions",
    "Visualisations",
    "class_images",
    "class_seeds",
    "counterfactuals",
    "invert_features",
    "noise_images",
    "visualise",
]
