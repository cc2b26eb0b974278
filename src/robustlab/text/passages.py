"""Passages of texts: some words around one, and the case of a word."""

from __future__ import annotations

from robustlab.text.words import Words


def passage(words: Words, position: int, size: int) -> str:
    """The part of a text with a number of words around one; nearer to an end, the first or last ``size`` words.

    The text before the first and after the last of them is left out. An even number takes one more before the word
    than after it.
    """
    length = len(words.words)
    start = max(0, min(position - size // 2, length - size))
    end = min(length, start + size)
    if start >= end:
        return words.text
    pairs = zip(words.words[start:end], [*words.gaps[start + 1 : end], ""], strict=True)
    return "".join([part for pair in pairs for part in pair])


def matched_case(word: str, model: str) -> str:
    """A word in the case of another: lower, UPPER or Capitalized; unchanged for any other."""
    if model.islower():
        return word.lower()
    if model.isupper() and len(model) > 1:
        return word.upper()
    if model[:1].isupper() and (len(model) == 1 or model[1:].islower()):
        return word[:1].upper() + word[1:].lower()
    return word
