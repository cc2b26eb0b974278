"""Data sets: real images in [0, 1] with labels, by name or from the user's own tensors, data sets and folders."""

from robustlab.data.catalogue import load, names
from robustlab.data.memory import InMemory

__all__ = ["InMemory", "load", "names"]
