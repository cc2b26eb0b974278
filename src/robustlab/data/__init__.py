"""Data sets: real images in [0, 1] with labels, by name or from the user's own tensors, data sets and folders."""

from robustlab.data.catalogue import describe, load
from robustlab.data.framing import Framing
from robustlab.data.imagenet import imagenet_a_classes, imagenet_classes
from robustlab.data.images import read_image
from robustlab.data.memory import InMemory
from robustlab.data.movie_sentences import movie_sentences
from robustlab.data.named import DataSet, Description, Request, names, register
from robustlab.data.natural_sets import of_classes
from robustlab.data.photos import Photograph, photographs
from robustlab.data.ready_made import CorruptedCopies
from robustlab.data.sentences import Sentences
from robustlab.data.splits import apart, parts, sample
from robustlab.data.text_examples import text_examples
from robustlab.data.text_resources import (
    TEXT_RESOURCES,
    TextDescription,
    TextResource,
    describe_text,
    text_resource,
)
from robustlab.data.tokens import Tokens
from robustlab.data.unlabelled import WithoutLabels
from robustlab.data.wrapped import examples
from robustlab.runs.progress import progress_bars

__all__ = [
    "TEXT_RESOURCES",
    "CorruptedCopies",
    "DataSet",
    "Description",
    "Framing",
    "InMemory",
    "Photograph",
    "Request",
    "Sentences",
    "TextDescription",
    "TextResource",
    "Tokens",
    "WithoutLabels",
    "apart",
    "describe",
    "describe_text",
    "examples",
    "imagenet_a_classes",
    "imagenet_classes",
    "load",
    "movie_sentences",
    "names",
    "of_classes",
    "parts",
    "photographs",
    "progress_bars",
    "read_image",
    "register",
    "sample",
    "text_examples",
    "text_resource",
]
