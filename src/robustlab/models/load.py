"""Models by name."""

from __future__ import annotations

import importlib
import os
import pkgutil
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import cast

import torch
from torch import nn

from robustlab.core.architecture import framed_like
from robustlab.core.errors import UserCodeError
from robustlab.core.kinds import typed
from robustlab.core.text import meant
from robustlab.core.user_code import called, no_model
from robustlab.models.architecture import Architecture
from robustlab.models.efficientnet import NAME as LITE0
from robustlab.models.efficientnet import efficientnet_lite0
from robustlab.models.from_file import from_file, is_python_path
from robustlab.models.layers import normalised
from robustlab.models.registry import MODELS
from robustlab.models.scaled import fitted_name
from robustlab.models.sentence_classifier import SentenceClassifier
from robustlab.models.smooth import Activation, smooth
from robustlab.models.split_bn import split_bn
from robustlab.models.tfidf import TfidfClassifier
from robustlab.models.timm_models import Shape, check_known, timm_model
from robustlab.models.transfer import for_images
from robustlab.models.word_cnn import WordCNN

_TEXT = {"word-cnn": WordCNN, "tfidf": TfidfClassifier, "sentence-classifier": SentenceClassifier}
"""Classifiers of texts, which have a vocabulary: they are trained, or loaded from a file."""
_SUFFIXES = {".safetensors", ".pt", ".pth", ".bin", ".ckpt", ".tar"}


@typed
def names() -> tuple[str, ...]:
    """Names for ``load``."""
    return (*MODELS, LITE0, "timm:NAME", "package.module:function")


@typed
def load(
    name: str | Path | None = None,
    *,
    classes: int | None = None,
    channels: int | None = None,
    size: int | None = None,
    checkpoint: str | Path | None = None,
    pretrained: bool | None = None,
    seed: int = 0,
) -> nn.Module:
    """A classifier for images in [0, 1], or one for texts from its file, in eval mode, on the CPU.

    Args:
        name: "shallow-cnn", "batchnorm-cnn", "residual-cnn", "inverted-cnn", "patch-mixer", "efficientnet-lite0", a
            timm name with or without "timm:", a Python path "package.module:function" whose function returns the model,
            or a checkpoint's path; None: the name in the checkpoint. Options may follow a timm name and
            "efficientnet-lite0": "timm:efficientnet_b0,stride=1,width=0.5".
        classes: number K of classes; None: the number in the checkpoint, the published number, or 10.
        channels: of the images; None: the number in the checkpoint, the published number, or 1.
        size: height and width of the images in pixels; None: the size in the checkpoint, the published size, or 28.
        checkpoint: file with the weights, written by ``save`` or by training, or any state dict. No code in it is
            run: it can name built-in and timm networks only; a Python path counts in ``name`` alone.
        pretrained: with published weights; None: only if neither classes nor a checkpoint is given.
        seed: of the initial weights; the global random state is not touched.

    Raises:
        ValueError: unknown name, or none given.
        CheckpointError: the file is damaged, or of another architecture.
        DataError: published weights are not available.
    """
    name = str(name) if isinstance(name, Path) else name
    if name is not None and checkpoint is None and _is_file(name):
        name, checkpoint = None, name
    wanted = {"name": name, "classes": classes, "channels": channels, "size": size}
    typed = cast(Architecture, {key: value for key, value in wanted.items() if value is not None})
    published = classes is None if pretrained is None else pretrained
    build = partial(_seeded, seed=seed)
    if checkpoint is not None:
        return from_file(checkpoint, typed, {*MODELS.names(), *_TEXT}, build).eval()
    if name is None:
        raise ValueError(f"no model is named: choose {', '.join(names())}, or give checkpoint=")
    return build(typed, pretrained=published).eval()


def _is_file(name: str) -> bool:
    """True for the name of a weight file; a bare word is none, even if such a file exists."""
    return Path(name).suffix in _SUFFIXES or (Path(name).name != name and Path(name).is_file())


def _seeded(plan: Architecture, *, seed: int, pretrained: bool = False) -> nn.Module:
    """The model of an architecture with the initial weights of a seed."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return built(plan, pretrained=pretrained)


def built(plan: Architecture, *, pretrained: bool = False) -> nn.Module:
    """The model of an architecture, with initial weights from the global random state unless pretrained."""
    words = {key: value for key, value in plan.items() if isinstance(value, str)}
    model = framed_like(_named(str(plan["name"]), plan, pretrained=pretrained), words)
    if "activation" in plan:
        model = smooth(model, cast(Activation, plan["activation"]))
    if "mean" in plan:
        model = normalised(model, cast("list[float]", plan["mean"]), cast("list[float]", plan["std"]))
    if "routes" in plan:
        model = split_bn(model, cast(int, plan["routes"]))
    if "from_size" in plan:
        return for_images(model, channels=cast(int, plan["from_channels"]), size=cast(int, plan["from_size"]))
    return model


def _named(name: str, plan: Architecture, *, pretrained: bool) -> nn.Module:
    given = {key: cast(int, plan[key]) for key in ("classes", "channels", "size") if key in plan}
    if name in MODELS:
        return MODELS[name](**given)
    if name.partition(",")[0] == LITE0:
        return efficientnet_lite0(Shape(**given), pretrained=pretrained, fit=fitted_name(name)[1])
    if name in _TEXT:
        return _text_model(name, plan)
    if is_python_path(name):
        return _from_python(name)
    check_known(fitted_name(name.removeprefix("timm:"))[0], names())
    return timm_model(name, Shape(**given), pretrained=pretrained)


def _text_model(name: str, plan: Architecture) -> nn.Module:
    """A classifier of texts with the sizes in its file.

    Raises: ValueError if there is no file, or for sizes of images.
    """
    if "letters" not in plan:
        raise ValueError(f"{name} reads texts with the vocabulary of its training: give the file, load(FILE)")
    if of_images := {"channels", "size"} & plan.keys():
        raise ValueError(f"{name} reads texts, which have no {of_images.pop()}: leave it out")
    make = cast("Callable[..., nn.Module]", _TEXT[name])
    return make(**{key: value for key, value in plan.items() if key != "name"})


def _from_python(path: str) -> nn.Module:
    """Calls the user's own function for the model."""
    make = object_at(path)
    if isinstance(make, nn.Module):
        return make
    if not callable(make):
        raise ValueError(f"{path} is a {type(make).__name__}, expected a function without arguments or a torch module")
    with called(f"{path}()", advice="give a function that returns the model and needs no arguments"):
        model: object = make()
    if not isinstance(model, nn.Module):
        raise ValueError(f"{path} returned a {type(model).__name__}, expected a torch module: {_wrapped(model)}")
    return model


def object_at(path: str) -> object:
    """The user's own object at a Python path that was typed, "package.module:name".

    Raises: ValueError if there is none; UserCodeError if its module cannot be imported.
    """
    module, _, attribute = path.partition(":")
    home = _imported(module, path)
    if not hasattr(home, attribute):
        near = meant(attribute, (name for name in dir(home) if name[0] != "_"))
        raise ValueError(f"no model at {path!r}: module {module!r} has no attribute {attribute!r}{near}")
    return getattr(home, attribute)


def _imported(module: str, path: str) -> object:
    """A module of the user, maybe in the current folder.

    Raises: ValueError if there is none; UserCodeError if it cannot be imported.
    """
    if not all(part.isidentifier() for part in module.split(".")):
        spelled = module.removesuffix(".py").strip("./").replace("/", ".")
        raise ValueError(f"no model at {path!r}: write the module as Python imports it, for example {spelled}:function")
    try:
        with called(f"import of {module}", advice="check that Python can import it by itself"):
            return importlib.import_module(module)
    except UserCodeError as error:
        lost = error.__cause__.name if isinstance(error.__cause__, ModuleNotFoundError) else None
        if lost is None or not f"{module}.".startswith(f"{lost}."):
            raise
        near = meant(lost.rpartition(".")[2], _siblings(lost))
        raise ValueError(
            f"no model at {path!r}: there is no module {lost!r} here{f'{near} Else' if near else ';'} run it from the "
            f"folder that holds {lost}, or name that folder in the environment variable PYTHONPATH"
        ) from error.__cause__


def _siblings(module: str) -> list[str]:
    """Names of the modules in the folder that was searched."""
    parent = sys.modules.get(module.rpartition(".")[0])
    return [found.name for found in pkgutil.iter_modules(list(parent.__path__) if parent else [os.getcwd()])]


def _wrapped(model: object) -> str:
    """Remedy for an object that is no module."""
    if callable(model) and not isinstance(model, type):
        return "return robustlab.models.adapted(it), or black_box(it) if it works on numpy arrays"
    return no_model(model).partition(": ")[2] or "return one, or wrap what it is with robustlab.models.black_box"
