"""Two small networks made of the blocks of large ones: residual blocks and those of EfficientNetV2."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F

from robustlab.core.kinds import typed
from robustlab.core.types import Logits
from robustlab.models.architecture import described
from robustlab.models.registry import register

_WIDTHS = (32, 64, 128)


@typed
class ResidualCNN(nn.Module):
    """A residual network: a convolution with stride 2, then residual blocks of 32, 64 and 128 channels.

    conv3x3/2 to 32, BatchNorm, ReLU; a block of two 3x3 convolutions to 32, one to 64 and one to 128 with stride 2
    each; mean over the image; dense K: 308,074 parameters for grey images and 10 classes, whatever their size.

    Args:
        classes: number K of classes.
        channels: of the input images.
        size: height and width of the input images, in pixels; stored for building the network again.

    Source: the blocks are those of He et al., Deep Residual Learning for Image Recognition, CVPR 2016, with projection
    shortcuts where the shape changes.
    """

    def __init__(self, classes: int = 10, channels: int = 1, size: int = 28) -> None:
        super().__init__()
        first, *others = _WIDTHS
        self.stem = nn.Sequential(*_normed(channels, first, 3, stride=2), nn.ReLU())
        inputs = (first, *others[:-1])
        later = (Residual(i, o, stride=2) for i, o in zip(inputs, others, strict=True))
        self.blocks = nn.Sequential(Residual(first, first), *later)
        self.head = nn.Linear(_WIDTHS[-1], classes)
        described(self, {"name": "residual-cnn", "classes": classes, "channels": channels, "size": size})

    def forward(self, x: Tensor) -> Logits:
        """Images (N, C, H, W) in [0, 1] to logits (N, K)."""
        logits: Logits = self.head(self.blocks(self.stem(x)).mean(dim=(2, 3)))
        return logits


class Residual(nn.Module):
    """Two convolutions with a shortcut.

        relu(norm(conv(relu(norm(conv(x))))) + shortcut(x))

    Args:
        inputs: channels that come in.
        outputs: channels that go out.
        stride: of the first convolution and of the shortcut.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.path = nn.Sequential(*_normed(inputs, outputs, 3, stride=stride), nn.ReLU(), *_normed(outputs, outputs, 3))
        same = inputs == outputs and stride == 1
        self.shortcut = nn.Identity() if same else nn.Sequential(*_normed(inputs, outputs, 1, stride=stride))

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, C, H, W) to (N, C', H', W')."""
        return F.relu(self.path(x) + self.shortcut(x))


@typed
class InvertedCNN(nn.Module):
    """A small EfficientNetV2: inverted residual blocks whose first two convolutions are fused into one.

    conv3x3/2 to 16, BatchNorm, SiLU; a block to 16, one to 32 with stride 2, one to 32, one to 64 with stride 2, one to
    64, each four times as wide inside; conv1x1 to 256, BatchNorm, SiLU; mean over the image; dense K: 292,698
    parameters for grey images and 10 classes, whatever their size.

    Args:
        classes: number K of classes.
        channels: of the input images.
        size: height and width of the input images, in pixels; stored for building the network again.

    Source: Tan, Le, EfficientNetV2, ICML 2021, the blocks of its first stages; ours halves the image three times, not
    five, and drops no blocks.
    """

    def __init__(self, classes: int = 10, channels: int = 1, size: int = 28) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *_normed(channels, 16, 3, stride=2),
            nn.SiLU(),
            FusedInverted(16, 16),
            FusedInverted(16, 32, stride=2),
            FusedInverted(32, 32),
            FusedInverted(32, 64, stride=2),
            FusedInverted(64, 64),
            *_normed(64, 256, 1),
            nn.SiLU(),
        )
        self.head = nn.Linear(256, classes)
        described(self, {"name": "inverted-cnn", "classes": classes, "channels": channels, "size": size})

    def forward(self, x: Tensor) -> Logits:
        """Images (N, C, H, W) in [0, 1] to logits (N, K)."""
        logits: Logits = self.head(self.features(x).mean(dim=(2, 3)))
        return logits


class FusedInverted(nn.Module):
    """EfficientNetV2's fused block.

        narrow(silu(norm(conv3x3(x)))), plus x where the shape stays

    Args:
        inputs: channels that come in; inside there are four times as many.
        outputs: channels that go out.
        stride: of the convolution.
    """

    def __init__(self, inputs: int, outputs: int, *, stride: int = 1) -> None:
        super().__init__()
        self.same = inputs == outputs and stride == 1
        self.path = nn.Sequential(
            *_normed(inputs, 4 * inputs, 3, stride=stride), nn.SiLU(), *_normed(4 * inputs, outputs, 1)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Feature maps (N, C, H, W) to (N, C', H', W')."""
        made: Tensor = self.path(x)
        return made + x if self.same else made


def _normed(inputs: int, outputs: int, side: int, *, stride: int = 1) -> tuple[nn.Conv2d, nn.BatchNorm2d]:
    # The normalisation has its own offset: a bias before it would do nothing.
    conv = nn.Conv2d(inputs, outputs, side, stride=stride, padding=side // 2, bias=False)
    return conv, nn.BatchNorm2d(outputs)


register("residual-cnn", ResidualCNN)
register("inverted-cnn", InvertedCNN)
