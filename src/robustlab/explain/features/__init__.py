"""What a network has learned: images of classes, the nearest image of another class, and starts for both."""

from robustlab.explain.features.class_images import class_images
from robustlab.explain.features.counterfactual import Counterfactuals, counterfactuals
from robustlab.explain.features.starts import class_seeds, noise_images

__all__ = [
    "Counterfactuals",
    "class_images",
    "class_seeds",
    "counterfactuals",
    "noise_images",
]
