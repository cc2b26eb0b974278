"""Attacks on classifiers of texts: run, result, findings and comparison."""
