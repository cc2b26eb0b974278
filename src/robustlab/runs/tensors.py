"""Tensors of a run in safetensors files."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from robustlab.core import RunError
from robustlab.runs.files import digest, replace_atomically, write_bytes


def save_tensors(
    path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str] | None = None, *, durable: bool = True
) -> None:
    """Writes a safetensors file in one step.

    Args:
        path: of the file.
        tensors: on the CPU, contiguous, each with memory of its own.
        metadata: texts to store with them.
        durable: True: the file survives a stop of the machine too, not only of the process.

    Raises: OSError if it cannot be written, or safetensors cannot hold such tensors; an earlier file is kept.
    """
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    texts = None if metadata is None else dict(metadata)
    try:
        replace_atomically(path, lambda part: save_file(dict(tensors), part, metadata=texts), durable=durable)
    except (SafetensorError, ValueError, RuntimeError) as error:
        raise OSError(_line(error)) from error


def tensors_in(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors in a safetensors file, and its texts.

    Raises: OSError if it cannot be read; ValueError, in one line, if it is damaged.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            return {key: file.get_tensor(key) for key in file.keys()}, dict(file.metadata() or {})  # noqa: SIM118
    except OSError:
        raise
    except (SafetensorError, KeyError, AttributeError, TypeError, RuntimeError) as error:
        raise ValueError(_line(error)) from error


def _line(error: Exception) -> str:
    """The first line of a library's message."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> bytes:
    """Writes tensors as safetensors without waiting for the disk; the digest shows a loss by a power cut.

    Returns: a digest of the file.
    """
    from safetensors.torch import save

    content = save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})
    write_bytes(path, content, durable=False)
    return digest(content)


def read_tensors(path: Path, *names: str) -> dict[str, Tensor]:
    """Reads tensors that ``write_tensors`` wrote.

    Args:
        path: of the file.
        *names: of tensors that must be there.

    Raises: RunError if the file is missing or damaged, or lacks a tensor.
    """
    try:
        tensors, _ = tensors_in(path)
    except (OSError, ValueError) as error:
        raise RunError(f"{path} cannot be read ({error}): run the evaluation again to write it anew") from error
    lacking = [name for name in names if name not in tensors]
    if lacking:
        raise RunError(f"{path} lacks {', '.join(lacking)}: run the evaluation again to write it anew")
    return tensors


def read_row(path: Path, number: int) -> Tensor:
    """The x_adv of one example in a file of a batch; the rest of the file is not read.

    Raises: RunError if the file is missing or damaged, or the example is not in it.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as file:
            row = int((file.get_tensor("ids") == number).nonzero()[0, 0])
            x_adv: Tensor = file.get_slice("x_adv")[row]
    except (OSError, SafetensorError, IndexError) as error:
        raise RunError(f"{path} cannot be read ({error}): run the evaluation again to write it anew") from error
    return x_adv
