"""Explanations of one or two models on the same images: maps, numbers of them, checks and attacks, resumable."""
