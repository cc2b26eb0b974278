"""Suspected labels are those that cleanlab suspects; skipped where it is not installed."""

from __future__ import annotations

import warnings

import pytest
import torch

from robustlab.studies.mining import label_errors

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    cleanlab = pytest.importorskip("cleanlab")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("classes", [2, 3, 5, 10])
def test_the_same_labels_are_suspected(classes: int) -> None:
    """Both round the same real counts to whole ones, by different rules: one example a cell may differ."""
    from cleanlab.count import get_confident_thresholds
    from cleanlab.filter import find_label_issues

    g = torch.Generator().manual_seed(classes)
    true = torch.randint(classes, (3000,), generator=g)
    logits = 1.5 * torch.randn(3000, classes, generator=g)
    logits[torch.arange(3000), true] += 3
    noisy = torch.rand(3000, generator=g) < 0.15
    y = torch.where(noisy, torch.randint(classes, (3000,), generator=g), true)
    probs = logits.double().softmax(dim=1)
    ours = label_errors(probs, y)
    theirs = torch.from_numpy(find_label_issues(y.numpy(), probs.numpy(), n_jobs=1))
    flagged = torch.zeros(3000, dtype=torch.bool)
    flagged[ours.ids] = True
    thresholds = torch.from_numpy(get_confident_thresholds(y.numpy(), probs.numpy()))
    torch.testing.assert_close(ours.thresholds, thresholds)
    assert theirs.sum() > 200
    assert (flagged ^ theirs).sum() <= 4
