"""Two small networks that a laptop trains in seconds to minutes."""

from __future__ import annotations

from torch import Tensor, nn

from robustlab.core.kinds import typed
from robustlab.core.types import Logits
from robustlab.models.architecture import described
from robustlab.models.registry import register


@typed
class ShallowCNN(nn.Module):
    """The workshop's network: two strided convolutions, two poolings, two dense layers.

    conv3x3/2 to 32, ReLU, maxpool 2, conv3x3/2 to 62, ReLU, maxpool 2, flatten, dense 256, ReLU, dense K:
    84,552 parameters for 28x28 grey images and 10 classes.

    Args:
        classes: number K of classes.
        channels: of the input images.
        size: height and width of the input images, in pixels, at least 11.

    Raises: ValueError if the images are too small for the poolings.
    """

    def __init__(self, classes: int = 10, channels: int = 1, size: int = 28) -> None:
        side = (_strided(_strided(size) // 2)) // 2
        if side < 1:
            raise ValueError(f"images of {size}x{size} are too small for the shallow CNN: it needs 11x11 or more")
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(channels, 32, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(32, 62, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.MaxPool2d(2),
        )
        self.head = _dense(62 * side * side, 256, classes)
        described(self, {"name": "shallow-cnn", "classes": classes, "channels": channels, "size": size})

    def forward(self, x: Tensor) -> Logits:
        """Images (N, C, H, W) in [0, 1] to logits (N, K)."""
        logits: Logits = self.head(self.features(x))
        return logits


@typed
class BatchNormCNN(nn.Module):
    """Four convolutions with batch normalisation, then two dense layers.

    (conv3x3, BatchNorm, ReLU) to 32 with stride 2, to 32, to 64 with stride 2, to 64; flatten, dense 128, ReLU,
    dense K: 468,010 parameters for 28x28 grey images and 10 classes. The first stride keeps adversarial training
    affordable on a laptop: at full resolution the two cheapest blocks would take most of the time.

    Args:
        classes: number K of classes.
        channels: of the input images.
        size: height and width of the input images, in pixels.
    """

    def __init__(self, classes: int = 10, channels: int = 1, size: int = 28) -> None:
        side = _strided(_strided(size))
        super().__init__()
        self.features = nn.Sequential(
            *_block(channels, 32, stride=2),
            *_block(32, 32),
            *_block(32, 64, stride=2),
            *_block(64, 64),
        )
        self.head = _dense(64 * side * side, 128, classes)
        described(self, {"name": "batchnorm-cnn", "classes": classes, "channels": channels, "size": size})

    def forward(self, x: Tensor) -> Logits:
        """Images (N, C, H, W) in [0, 1] to logits (N, K)."""
        logits: Logits = self.head(self.features(x))
        return logits


def _block(inputs: int, outputs: int, *, stride: int = 1) -> tuple[nn.Module, ...]:
    # The normalisation has its own offset: a bias before it would do nothing.
    conv = nn.Conv2d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return conv, nn.BatchNorm2d(outputs), nn.ReLU()


def _dense(inputs: int, hidden: int, classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, classes))


def _strided(size: int) -> int:
    """Side of the output of a 3x3 convolution with stride 2 and padding 1."""
    return (size + 1) // 2


register("shallow-cnn", ShallowCNN)
register("batchnorm-cnn", BatchNormCNN)
