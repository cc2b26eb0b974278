"""Victims of text attacks: any classifier of texts as one value."""

from robustlab.text.victims.build import victim
from robustlab.text.victims.doctor import PaddingFaults, beyond, padding_faults
from robustlab.text.victims.kinds import Victim, WordGradients

__all__ = ["PaddingFaults", "Victim", "WordGradients", "beyond", "padding_faults", "victim"]
