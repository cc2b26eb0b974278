"""Baseline sensitivity: maps against a baseline that change with it show the baseline as much as the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, cast

from torch import Tensor
from torch.nn import functional as F

from robustlab.core.finding import Evidence
from robustlab.core.kinds import typed
from robustlab.explain.checks.likeness import by_chance, signed
from robustlab.explain.checks.registry import CHECKS, CheckCurve, CheckOutcome, CheckSpec, CheckSubject, warning
from robustlab.explain.maps import Maps
from robustlab.explain.registry import Method

_CODE = "baseline-sensitive"
_LIKE = 0.1
"""Rank correlation between black and the mean below which maps are of the baseline: networks that know digits have 0.25
to 0.9 by integrated gradients and occlusion, a network of distances from grey -0.8."""
_MOST_CHANCE = 0.6
_BLUR = 4
"""Blurred images keep so many blocks on each side."""


@typed
@dataclass(frozen=True)
class BaselineSensitivity:
    """Finding for maps that hardly agree between baselines, for methods with a setting ``baseline``.

    The maps are compared with those by a baseline of zeros (black) and of the mean of the inputs per channel, by
    Spearman's correlation of the values per pixel. For images the curve shows the image itself, blurred, as well; it is
    not judged, as fine detail alone differs from it. Source: Sturmfels, Lundberg, Lee, Visualizing the Impact of
    Feature Attribution Baselines, Distill 2020.

    Args:
        images: most examples, the first ones.
    """

    images: int = 8

    def __call__(self, subject: CheckSubject) -> CheckOutcome:
        """Outcome with a curve over the baselines."""
        if not hasattr(subject.used, "baseline"):
            return CheckOutcome(skipped="the method has no baseline")
        few = subject[: self.images]
        likeness = {name: float(signed(few.made, maps).mean()) for name, maps in _others(few).items()}
        curve = CheckCurve(tuple(likeness), {"signed": tuple(likeness.values())}, len(few))
        if by_chance(few.made) > _MOST_CHANCE:
            return CheckOutcome(None, curve, "the maps have too few different values to be compared")
        return CheckOutcome(_judged(likeness, len(few)).finding, curve)


def _others(subject: CheckSubject) -> dict[str, Maps]:
    x = subject.x.detach()
    mean = x.mean([axis for axis in range(x.ndim) if axis != 1], keepdim=True)[0]
    found = {"black": _against(subject, 0.0), "mean": _against(subject, mean.expand(x.shape[1:]).contiguous())}
    if x.ndim == 4:
        alone = [subject[row : row + 1] for row in range(len(subject))]
        found["blurred"] = Maps.joined([_against(one, blurred(one.x)[0]) for one in alone])
    return found


def blurred(x: Tensor) -> Tensor:
    """Images (N, C, H, W) of which a few blocks are left, with smooth changes between them."""
    blocks = F.adaptive_avg_pool2d(x, (min(_BLUR, x.shape[-2]), min(_BLUR, x.shape[-1])))
    return F.interpolate(blocks, size=x.shape[-2:], mode="bilinear", align_corners=False)


def _against(subject: CheckSubject, baseline: Tensor | float) -> Maps:
    changed = replace(cast(Any, subject.used), baseline=baseline)
    return subject.again(method=cast(Method, changed))


def _judged(likeness: dict[str, float], n: int) -> CheckOutcome:
    worst = min(("black", "mean"), key=likeness.__getitem__)
    if likeness[worst] >= _LIKE:
        return CheckOutcome()
    evidence: Evidence = {"n": n, **likeness}
    return warning(
        _CODE,
        f"Maps against the baseline {worst!r} hardly agree with those shown (rank correlation {likeness[worst]:.2f}).",
        evidence,
        "State the baseline beside the picture, and show a second one: a place is important only against it.",
    )


CHECKS.register(_CODE, CheckSpec(BaselineSensitivity, "maps change with the baseline"))
