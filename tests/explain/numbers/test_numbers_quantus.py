"""Numbers equal those of Quantus 0.6 on stored cases; see tests/explain/reference/README.md."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tests.explain.numbers.numbers_models import Stored, subject_of
from torch import Tensor, nn

from robustlab.explain import Number, measure
from robustlab.explain.numbers import Deletion, Infidelity, LocalLipschitz, MaxSensitivity, Sparsity
from robustlab.explain.numbers.imputation import imputed


@pytest.fixture(scope="module")
def case() -> dict[str, Tensor]:
    """Stored inputs and outputs."""
    with np.load(Path(__file__).parents[1] / "reference" / "quantus.npz") as stored:
        return {name: torch.from_numpy(stored[name]) for name in stored.files}


@pytest.fixture(scope="module")
def model(case: dict[str, Tensor]) -> nn.Module:
    """The stored model."""
    made = nn.Sequential(nn.Conv2d(1, 3, 3), nn.Tanh(), nn.Flatten(), nn.Linear(108, 3)).double().eval()
    made.load_state_dict({name[6:]: value for name, value in case.items() if name.startswith("model.")})
    return made


def test_infidelity_sensitivity_lipschitz_and_sparsity_are_those_of_quantus(
    case: dict[str, Tensor], model: nn.Module
) -> None:
    numbers: dict[str, Number] = {
        "infidelity": Infidelity(6, Stored(case["changes"])),
        "max_sensitivity": MaxSensitivity(6, Stored(case["changes"])),
        "local_lipschitz": LocalLipschitz(6, Stored(case["changes"])),
        "sparseness": Sparsity(),
    }
    found = measure("gradient", model, case["x"], case["y"], numbers)
    for name, one in found.items():
        tolerance = 1e-5 if name == "sparseness" else 1e-8
        assert one.values.tolist() == pytest.approx(case[name].tolist(), rel=tolerance), name


def test_deletion_is_the_pixel_flipping_of_quantus(case: dict[str, Tensor], model: nn.Module) -> None:
    with subject_of(model, case["x"], case["y"]) as subject:
        curve = Deletion(16, "black").curve(subject)
        area = Deletion(16, "black")(subject)
    assert torch.allclose(curve[:, 1:], case["pixel_flipping"], rtol=1e-10)
    whole = model(case["x"]).softmax(1).detach()[range(4), case["y"]]
    rest = torch.trapezoid(case["pixel_flipping"], dx=1 / 16)
    assert torch.allclose(area, rest + (whole + case["pixel_flipping"][:, 0]) / 32, rtol=1e-10)


def test_imputation_is_that_of_quantus(case: dict[str, Tensor]) -> None:
    missing = torch.zeros(64, dtype=torch.bool)
    missing[case["holes"]] = True
    filled = imputed(case["x"][:1], missing.reshape(1, 8, 8))
    assert torch.allclose(filled[0, 0], case["imputed"], atol=1e-8)
