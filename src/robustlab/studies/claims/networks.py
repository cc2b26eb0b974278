"""Networks of the first papers, which only claims need; ``models.load`` finds them by their Python path."""

from __future__ import annotations

from torch import Tensor, nn


def linear() -> nn.Module:
    """Softmax regression on 28x28 images."""
    return nn.Sequential(nn.Flatten(), nn.Linear(784, 10))


def maxout() -> nn.Module:
    """Two layers of 240 maxout units with 5 pieces each on 28x28 images, then a linear one; without dropout.

    Source: Goodfellow et al., Maxout Networks, ICML 2013, section 5.1 for the kind of network; the sizes are those of
    the code that goes with it.
    """
    return nn.Sequential(nn.Flatten(), Maxout(784, 240, 5), Maxout(240, 240, 5), nn.Linear(240, 10))


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
