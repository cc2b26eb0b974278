"""Recipes: the loss of one step of training, one file for each method."""
