"""Reference pictures as tensors, and the seeds that they were made with."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

REFERENCE = Path(__file__).with_name("reference")


@pytest.fixture(scope="session")
def picture() -> Callable[[str], Tensor]:
    """Loads a reference picture by its path, as an image (1, 3, H, W) in [0, 1]."""

    def load(path: str) -> Tensor:
        with Image.open(REFERENCE / f"{path}.png") as file:
            return torch.from_numpy(np.array(file.convert("RGB"))).permute(2, 0, 1)[None].float() / 255

    return load


@pytest.fixture(scope="session")
def seeds() -> dict[str, int]:
    """Seeds of the pictures of astronaut_96x136 by corruption and severity, as in "fog_3"."""
    found: dict[str, int] = json.loads((REFERENCE / "seeds.json").read_text())
    return found
