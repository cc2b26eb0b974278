"""Robustness without an attacker: corruptions, hard photographs, and the numbers that go with them."""
