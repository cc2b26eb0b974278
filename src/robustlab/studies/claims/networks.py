"""Networks that only claims need; ``models.load`` finds them by their Python path."""

from __future__ import annotations

from torch import Tensor, nn

_BLOCKS = 2
_STAGES = 4


def linear() -> nn.Module:
    """Softmax regression on 28x28 images."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def maxout() -> nn.Module:
    """Two layers of 240 maxout units with 5 pieces each on 28x28 images, then a linear one; without dropout.

    Source: Goodfellow et al., Maxout Networks, ICML 2013, section 5.1 for the kind of network; the sizes are those of
    the code that goes with it.
    """
    return nn.Sequential(nn.Flatten(), Maxout(784, 240, 5), Maxout(240, 240, 5), nn.Linear(240, 10))


def resnet_of_equal_work() -> nn.Module:
    """A ResNet of 3.6 million multiply-adds on 28x28 pixels; EfficientNet-B0 of a quarter of the width has 3.3."""
    return _resnet(11)


def resnet_of_equal_time() -> nn.Module:
    """A ResNet that trains about as fast as that EfficientNet-B0 on one thread, with ten times the multiply-adds."""
    return _resnet(34)


def _resnet(width: int) -> nn.Module:
    """ResNet-18 for small grey images: a 3x3 convolution of stride 2 in front, no pooling after it, other widths.

    Args:
        width: channels of the first stage; each later one has twice as many as the one before.

    Source: He et al., Deep Residual Learning for Image Recognition, CVPR 2016; the blocks are torchvision's.
    """
    from torchvision.models.resnet import BasicBlock, conv1x1

    layers: list[nn.Module] = [
        nn.Conv2d(1, width, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]
    inputs = width
    for stage in range(_STAGES):
        outputs = width * 2**stage
        for block in range(_BLOCKS):
            stride = 2 if stage and not block else 1
            same = inputs == outputs
            shortcut = None if same else nn.Sequential(conv1x1(inputs, outputs, stride), nn.BatchNorm2d(outputs))
            layers.append(BasicBlock(inputs, outputs, stride, shortcut))
            inputs = outputs
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inputs, 10))


class Maxout(nn.Module):
    """The largest of several linear functions.

        h_i(x) = max_j  w_ij . x + b_ij

    Args:
        inputs: number of inputs.
        units: number of outputs.
        pieces: linear functions of each output.
    """

    def __init__(self, inputs: int, units: int, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces
        self.linear = nn.Linear(inputs, units * pieces)

    def forward(self, x: Tensor) -> Tensor:
        """Rows (N, inputs) to rows (N, units)."""
        pieces: Tensor = self.linear(x)
        largest: Tensor = pieces.reshape(len(x), -1, self.pieces).amax(dim=2)
        return largest
