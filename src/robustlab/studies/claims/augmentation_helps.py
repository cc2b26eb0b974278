"""Augmentation against corruptions: noise, and AugMix."""

from __future__ import annotations

from robustlab.core import Recipe
from robustlab.studies.claim_engine.claim import Arm, Claim, Effect, Term, register_claim
from robustlab.studies.claim_engine.corruption_measures import UnderCorruptions
from robustlab.studies.claim_engine.network import Network, Sampled
from robustlab.training import augmix, corrupted, standard


def _arm(name: str, recipe: Recipe) -> Arm:
    return Arm(name, Network(recipe, Sampled(20_000), epochs=6, precision="bf16"))


def _better(name: str, words: str) -> Effect:
    terms = Term(name, "corrupted_accuracy"), Term("standard", "corrupted_accuracy")
    return Effect(f"mean accuracy under corruptions, {words} over standard,", *terms, smallest=0.02)


CLAIM = Claim(
    name="augmentation-helps",
    statement="Training on noisy images, and AugMix, lower the mean error under corruptions.",
    paper="Rusak et al., A Simple Way to Make Neural Networks Robust Against Diverse Image Corruptions, ECCV 2020, and "
    "Hendrycks et al., AugMix, ICLR 2020",
    published="ImageNet-C, ResNet-50: mCE 76.7 as usual, 64.14 with AugMix (easyrobust's table)",
    ours="Fashion-MNIST, BatchNorm CNN in bf16, 20,000 images, 6 epochs; speckle noise of severities 1 to 3, so that "
    "none of the 15 corruptions was trained on; AugMix with its consistency loss; constants of ImageNet-C on 28x28 "
    "pixels, 1,000 test images",
    arms=(
        _arm("standard", standard()),
        _arm("noise", corrupted(standard(), ("speckle_noise",))),
        _arm("augmix", augmix()),
    ),
    measures=(UnderCorruptions(1000),),
    effects=(_better("noise", "noise"), _better("augmix", "AugMix")),
    minutes=12,
)

register_claim(CLAIM, place=180)
