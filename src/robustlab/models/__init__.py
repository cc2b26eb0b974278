"""Classifiers: small ones to train, published ones with their normalisation baked in, and the user's own."""

from robustlab.models.small import BatchNormCNN, ShallowCNN

__all__ = ["BatchNormCNN", "ShallowCNN"]
