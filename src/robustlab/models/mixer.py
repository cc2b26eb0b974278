"""A small network without convolutions: patches that are mixed by dense layers."""

from __future__ import annotations

from torch import Tensor, nn

from robustlab.core.kinds import typed
from robustlab.core.types import Logits
from robustlab.models.architecture import described
from robustlab.models.registry import register

_PATCH, _WIDTH, _BLOCKS = 4, 96, 4


@typed
class PatchMixer(nn.Module):
    """An MLP-Mixer: the image is cut into patches, and dense layers mix patches and features in turn.

    Patches of 4x4 pixels, each made 96 features; four blocks; LayerNorm; mean over the patches; dense K: 191,942
    parameters for 28x28 grey images and 10 classes.

    Args:
        classes: number K of classes.
        channels: of the input images.
        size: height and width of the input images, in pixels, at least 4; what exceeds whole patches is cut off.

    Raises: ValueError for images smaller than a patch.

    Source: Tolstikhin et al., MLP-Mixer: An all-MLP Architecture for Vision, NeurIPS 2021.
    """

    def __init__(self, classes: int = 10, channels: int = 1, size: int = 28) -> None:
        side = size // _PATCH
        if side < 1:
            raise ValueError(f"images of {size}x{size} are smaller than a patch of {_PATCH}x{_PATCH}")
        super().__init__()
        self.patches = nn.Conv2d(channels, _WIDTH, _PATCH, stride=_PATCH)
        self.blocks = nn.Sequential(*(Mixing(side * side, _WIDTH) for _ in range(_BLOCKS)), nn.LayerNorm(_WIDTH))
        self.head = nn.Linear(_WIDTH, classes)
        described(self, {"name": "patch-mixer", "classes": classes, "channels": channels, "size": size})

    def forward(self, x: Tensor) -> Logits:
        """Images (N, C, H, W) in [0, 1] to logits (N, K)."""
        features = self.patches(x).flatten(2).transpose(1, 2)
        logits: Logits = self.head(self.blocks(features).mean(dim=1))
        return logits


class Mixing(nn.Module):
    """Mixes patches for each feature, then features for each patch.

        x' = x + mlp(norm(x)^T)^T,   x' + mlp(norm(x'))

    Args:
        patches: number of patches.
        width: features of each.
    """

    def __init__(self, patches: int, width: int) -> None:
        super().__init__()
        self.norms = nn.ModuleList(nn.LayerNorm(width) for _ in "ab")
        self.over_patches, self.over_features = _mlp(patches, 2 * patches), _mlp(width, 2 * width)

    def forward(self, x: Tensor) -> Tensor:
        """Features (N, patches, width) to the same shape."""
        x = x + self.over_patches(self.norms[0](x).transpose(1, 2)).transpose(1, 2)
        mixed: Tensor = x + self.over_features(self.norms[1](x))
        return mixed


def _mlp(size: int, inner: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, inner), nn.GELU(), nn.Linear(inner, size))


register("patch-mixer", PatchMixer)
