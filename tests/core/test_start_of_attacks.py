"""The first attack of a process starts at once: nothing of torch's compiler is imported for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

PROGRAM = """
import sys
import torch
from torch import nn
from robustlab import PGD, Linf, ThreatModel

model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.ReLU(), nn.Flatten(), nn.Linear(72, 3)).eval()
PGD(ThreatModel(Linf(), 0.1), steps=2)(model, torch.rand(4, 1, 8, 8), torch.tensor([0, 1, 2, 0]))
print([name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules])
"""


@pytest.mark.slow
def test_an_attack_imports_nothing_of_the_compiler() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
