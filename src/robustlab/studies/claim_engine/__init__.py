"""Experiments of claims: networks, measures, results on disk and verdicts."""
