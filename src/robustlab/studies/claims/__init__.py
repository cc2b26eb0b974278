"""Statements of the literature that a computer can check: one file for each, and what they are made of."""

from robustlab.studies.claims import (
    adversarial_profile,
    augmentation_helps,
    awp_helps,
    catastrophic_overfitting,
    fast_and_free,
    fgsm_fools,
    fgsm_training,
    grad_align_helps,
    graph_few_labels,
    nsl_adversarial,
    perturbed_once,
    pgd_holds,
    robust_overfitting,
    severity_orders,
    shared_mistakes,
    smooth_ablation,
    smooth_activations,
    trades_beta,
    vat_few_labels,
)

CLAIMS = (
    fgsm_fools.CLAIM,
    fgsm_training.CLAIM,
    perturbed_once.CLAIM,
    catastrophic_overfitting.CLAIM,
    grad_align_helps.CLAIM,
    pgd_holds.CLAIM,
    fast_and_free.CLAIM,
    trades_beta.CLAIM,
    robust_overfitting.CLAIM,
    awp_helps.CLAIM,
    smooth_activations.CLAIM,
    smooth_ablation.CLAIM,
    vat_few_labels.CLAIM,
    nsl_adversarial.CLAIM,
    graph_few_labels.CLAIM,
    severity_orders.CLAIM,
    adversarial_profile.CLAIM,
    augmentation_helps.CLAIM,
    shared_mistakes.TRANSFER,
    shared_mistakes.CAUSE,
)
"""All claims, in the order in which the workshop meets them."""

__all__ = ["CLAIMS"]
