"""Classifiers: small ones to train, published ones with their normalisation as first layer, and the user's own."""

from robustlab.core import smooth_gradients, taking
from robustlab.models import faults
from robustlab.models.adapted import adapted, black_box
from robustlab.models.at_size import at_size
from robustlab.models.checkpoint import save
from robustlab.models.compact import InvertedCNN, ResidualCNN
from robustlab.models.efficientnet import efficientnet_lite0
from robustlab.models.layers import Normalise, normalised
from robustlab.models.load import load, names
from robustlab.models.mixer import PatchMixer
from robustlab.models.registry import register
from robustlab.models.sentence_classifier import SentenceClassifier, sentence_classifier
from robustlab.models.small import BatchNormCNN, ShallowCNN
from robustlab.models.smooth import ParametricSoftplus, SmoothReLU, functional_relus, smooth
from robustlab.models.split_bn import exported, merged, split_bn
from robustlab.models.tfidf import TfidfClassifier, fit_tfidf, tfidf_from, tfidf_of
from robustlab.models.timm_models import Shape
from robustlab.models.word_cnn import WordCNN, vocabulary_of, word_cnn

__all__ = [
    "BatchNormCNN",
    "InvertedCNN",
    "Normalise",
    "ParametricSoftplus",
    "PatchMixer",
    "ResidualCNN",
    "SentenceClassifier",
    "ShallowCNN",
    "Shape",
    "SmoothReLU",
    "TfidfClassifier",
    "WordCNN",
    "adapted",
    "at_size",
    "black_box",
    "efficientnet_lite0",
    "exported",
    "faults",
    "fit_tfidf",
    "functional_relus",
    "load",
    "merged",
    "names",
    "normalised",
    "register",
    "save",
    "sentence_classifier",
    "smooth",
    "smooth_gradients",
    "split_bn",
    "taking",
    "tfidf_from",
    "tfidf_of",
    "vocabulary_of",
    "word_cnn",
]
