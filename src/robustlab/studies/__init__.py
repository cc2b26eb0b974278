"""What needs both jobs, training and evaluation: the demo."""

from robustlab.studies.demo import Demo, Step, demo

__all__ = ["Demo", "Step", "demo"]
