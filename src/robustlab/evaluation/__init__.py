"""Measures how robust a model is, and how far the measurement can be trusted."""
