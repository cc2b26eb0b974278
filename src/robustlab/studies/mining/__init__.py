"""Natural adversarial examples mined from any data set: real, unmodified, and wrong by a whole committee of models."""
