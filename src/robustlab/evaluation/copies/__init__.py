"""Corrupted copies of data sets on disk: written an image at a time, resumable, checked when they are read."""
