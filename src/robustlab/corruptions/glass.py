"""Glass blur: swaps of neighbouring pixels between two Gaussian blurs."""

from __future__ import annotations

import torch
from torch import Tensor

from robustlab.core import Streams
from robustlab.corruptions.gaussian import gaussian
from robustlab.corruptions.kind import Draws, Kind, Shape, cut
from robustlab.corruptions.severity import Constants
from robustlab.corruptions.suite import register


def draw_moves(streams: Streams, shape: Shape, constants: Constants) -> Draws:
    """Offsets (N, rounds, rows, columns, 2), int64: to the right and down, in -reach..reach-1.

    There is one for every pixel away from the edge, in the order of the visits: from the bottom right to the top left,
    row by row. The published code leaves out the offset ``reach``, too.
    """
    _, height, width = shape
    reach, rounds = int(constants[1]), int(constants[2])
    return (streams.integers(2 * reach, (rounds, height - 2 * reach, width - 2 * reach, 2)) - reach,)


def glass_blur(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Glass blur as published: a pixel takes the value of another, which keeps its own.

    The published code was meant to swap the two, but it exchanges views and so copies. Pixels are visited one after
    another, and a later one may get the new value of an earlier one.
    """
    return _through_glass(x, copied(draws[0], x.shape[-2], x.shape[-1]), constants[0], rounded=False)


def glass_blur_swapped(x: Tensor, draws: Draws, constants: Constants) -> Tensor:
    """Glass blur with real swaps, so that no value is lost."""
    return _through_glass(x, swapped(draws[0], x.shape[-2], x.shape[-1]), constants[0], rounded=True)


def _through_glass(x: Tensor, sources: Tensor, sigma: float, *, rounded: bool) -> Tensor:
    """Blurs, cuts to eight bits, gathers pixels from ``sources`` (N, H * W), and blurs again."""
    soft = cut(gaussian(x, sigma), rounded=rounded)
    moved = soft.flatten(2).gather(2, sources[:, None].expand(-1, x.shape[1], -1)).view_as(x)
    return gaussian(moved, sigma)


def copied(moves: Tensor, height: int, width: int) -> Tensor:
    """Final source of every pixel if pixels are copied one after another.

    A source that was visited earlier has changed already: then its own source counts, and so on. All pixels follow
    their chains of sources at once.

    Args:
        moves: offsets (N, rounds, rows, columns, 2) from ``draw_moves``.
        height: of the images.
        width: of the images.

    Returns: pixel numbers (N, height * width), int64.
    """
    total = torch.arange(height * width, device=moves.device).expand(moves.shape[0], -1)
    for one in moves.unbind(1):
        total = total.gather(1, _copied_once(one, height, width))
    return total


def _copied_once(moves: Tensor, height: int, width: int) -> Tensor:
    """The sources (N, height * width) after one round of ``moves`` (N, rows, columns, 2)."""
    count, pixels = moves.shape[0], height * width
    _, source = _visited(moves, height, width)
    first = torch.arange(count, device=moves.device)[:, None] * pixels
    places = torch.arange(pixels, device=moves.device)
    changed = source > places
    step, changed = (source + first).flatten(), changed.flatten()
    final = step.clone()
    active = changed.nonzero()[:, 0]
    while active.numel():
        at = final[active]
        final[active] = step[at]
        active = active[changed[at]]
    return final.view(count, pixels) - first


def _visited(moves: Tensor, height: int, width: int) -> tuple[Tensor, Tensor]:
    """Mask (height, width) of the pixels visited in a round, and every pixel's source (N, height * width)."""
    count, rows, columns = moves.shape[:3]
    reach = (height - rows) // 2
    inner = (slice(reach + 1, reach + 1 + rows), slice(reach + 1, reach + 1 + columns))
    visited = torch.zeros(height, width, dtype=torch.bool, device=moves.device)
    visited[inner] = True
    source = torch.arange(height * width, device=moves.device).view(height, width).repeat(count, 1, 1)
    source[:, *inner] += (moves[..., 1] * width + moves[..., 0]).flip(1, 2)
    return visited, source.flatten(1)


def swapped(moves: Tensor, height: int, width: int) -> Tensor:
    """Final source of every pixel if pixels are swapped one after another.

    Args:
        moves: offsets (N, rounds, rows, columns, 2) from ``draw_moves``.
        height: of the images.
        width: of the images.

    Returns: pixel numbers (N, height * width), int64: every number once.
    """
    visited, source = _visited(moves.flatten(0, 1), height, width)
    places = visited.flatten().nonzero()[:, 0].flip(0)
    partners = source[:, places].view(*moves.shape[:2], -1)
    return torch.tensor(
        [_swap_one(places.tolist(), of_image.tolist(), height * width) for of_image in partners],
        device=moves.device,
        dtype=torch.int64,
    ).view(moves.shape[0], height * width)


def _swap_one(places: list[int], rounds: list[list[int]], pixels: int) -> list[int]:
    """Pixel numbers of one image after all swaps, in their order."""
    order = list(range(pixels))
    for partners in rounds:
        for a, b in zip(places, partners, strict=True):
            order[a], order[b] = order[b], order[a]
    return order


def smallest_side(constants: Constants) -> int:
    """The smallest side with a pixel far enough from the edge."""
    return 2 * int(constants[1]) + 1


register(
    Kind("glass_blur", "blur", glass_blur, draw_moves, corrected=glass_blur_swapped, smallest=smallest_side),
)
