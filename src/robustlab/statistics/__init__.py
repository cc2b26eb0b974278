"""Intervals, paired tests, power, ranking, calibration and weighted estimates: numbers with their uncertainty."""

from robustlab.statistics.calibration import Calibration, aurra, calibration, rms_calibration_error
from robustlab.statistics.estimate import Estimate, beta_interval, bootstrap_variance, mean_interval
from robustlab.statistics.intervals import Interval, TInterval, clopper_pearson, t_interval
from robustlab.statistics.paired import PairedMeans, holm, mcnemar, paired_difference, paired_means
from robustlab.statistics.power import examples_needed, mcnemar_power
from robustlab.statistics.ranking import Detection, average_precision, detection
from robustlab.statistics.weighted import WeightedSum, weighted_sum

__all__ = [
    "Calibration", "Detection", "Estimate", "Interval", "PairedMeans", "TInterval", "WeightedSum", "aurra",
    "average_precision", "beta_interval", "bootstrap_variance", "calibration", "clopper_pearson", "detection",
    "examples_needed", "holm", "mcnemar", "mcnemar_power", "mean_interval", "paired_difference", "paired_means",
    "rms_calibration_error", "t_interval", "weighted_sum",
]  # fmt: skip
