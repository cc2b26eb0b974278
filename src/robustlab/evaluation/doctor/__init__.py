"""Doctors: faults of the data, the model and the search that make a robust accuracy untrustworthy."""
