"""Texts as words: the way back is exact, whatever the text and whatever is done to it."""

from __future__ import annotations

import pytest

from robustlab.text import Words, cut

TEXTS = {
    "plain": ("One of the greatest, ever.", ["One", "of", "the", "greatest", "ever"]),
    "contractions": ("It's 'don't' rock-'n'-roll", ["It's", "don't", "rock-'n'-roll"]),
    "edges": ("--well-made-- *yes* @you a_b_", ["well-made", "yes", "you", "a_b"]),
    "none": ("... !? \n\t", []),
    "empty": ("", []),
    "emoji": ("so 😀😀 good👍🏽!", ["so", "good"]),
    "accents": ("caf\u00e9 cafe\u0301 na\u00efve", ["caf\u00e9", "cafe\u0301", "na\u00efve"]),
    "arabic": ("\u0641\u064a\u0644\u0645 good \u202bx", ["\u0641\u064a\u0644\u0645", "good", "x"]),
    "hindi": ("\u0939\u093f\u0928\u094d\u0926\u0940 film", ["\u0939\u093f\u0928\u094d\u0926\u0940", "film"]),
    "spaces": ("  a\u00a0b \u3000c\r\n", ["a", "b", "c"]),
    "numbers": ("3.5 of 10, $5", ["3", "5", "of", "10", "5"]),
    "name in another script": ("The film \u4e16\u754c is good", ["The", "film", "\u4e16\u754c", "is", "good"]),
}


@pytest.mark.parametrize(("text", "words"), TEXTS.values(), ids=TEXTS.keys())
def test_a_text_is_its_words_and_the_gaps_between(text: str, words: list[str]) -> None:
    found = cut(text)
    assert list(found.words) == words
    assert found.text == text == _joined(found)
    assert found.origin == tuple(range(len(words)))
    assert found.changed == 0


def _joined(found: Words) -> str:
    """The text from its parts, by another way than the library's."""
    text = found.gaps[0]
    for word, gap in zip(found.words, found.gaps[1:], strict=True):
        text += word + gap
    return text


@pytest.mark.parametrize("text", [text for text, words in TEXTS.values() if words])
def test_edits_at_every_position_leave_the_rest(text: str) -> None:
    before = cut(text)
    for at, word in enumerate(before.words):
        after = before.replaced(at, "a new")
        assert after.text == _joined(after)
        assert after.text.replace("a new", word, 1) == text
        assert after.words[:at] + after.words[at + 1 :] == before.words[:at] + before.words[at + 1 :]
        assert (after.edits, after.changed) == (((at, "a new"),), 1)
        gone = before.deleted(at)
        assert gone.text == _joined(gone)
        assert gone.words == before.words[:at] + before.words[at + 1 :]
        assert gone.origin == before.origin[:at] + before.origin[at + 1 :]
        more = before.inserted(at, "new")
        assert more.text == _joined(more)
        assert more.text.replace("new ", "", 1) == text
        assert more.changed == 1


def test_a_deleted_word_takes_the_space_before_it_and_the_first_the_one_after() -> None:
    text = cut("a b, c.")
    assert [text.deleted(at).text for at in range(3)] == ["b, c.", "a, c.", "a b,."]
    assert cut("one").deleted(0).text == ""
    assert cut("(a) b").deleted(0).text == "() b"


def test_words_are_put_before_a_position_or_at_the_end() -> None:
    text = cut("a b.")
    assert [text.inserted(at, "x").text for at in range(3)] == ["x a b.", "a x b.", "a b x."]
    assert cut("").inserted(0, "x").text == "x"
    assert cut("...").inserted(0, "x").text == "x..."


def test_several_edits_remember_where_words_come_from() -> None:
    text = cut("a b c d").deleted(1).inserted(0, "x").replaced(2, "C").replaced(2, "CC")
    assert text.text == "x a CC d"
    assert text.origin == (-1, 0, 2, 3)
    assert text.edits == ((1, ""), (-1, "x"), (2, "C"), (2, "CC"))
    assert text.changed == 3  # one deleted, one inserted, one replaced twice


def test_many_options_are_the_same_as_one_by_one() -> None:
    text = cut("It's (really) good!")
    options = ["so", "", "very very"]
    assert text.replaced_all(1, options) == [text.replaced(1, word) for word in options]


def test_a_script_without_spaces_needs_its_words() -> None:
    chinese = "\u8fd9\u90e8\u7535\u5f71\u5f88\u597d\u3002"
    with pytest.raises(ValueError, match="give segment=, a function from a text to its words"):
        cut(chinese)
    found = cut(chinese, lambda _: ["\u8fd9\u90e8", "\u7535\u5f71", "\u5f88", "\u597d"])
    assert found.words == ("\u8fd9\u90e8", "\u7535\u5f71", "\u5f88", "\u597d")
    assert found.replaced(3, "x").text == "\u8fd9\u90e8\u7535\u5f71\u5f88x\u3002"
    with pytest.raises(ValueError, match="which does not stand in"):
        cut(chinese, lambda _: ["\u7535\u5f71", "\u8fd9\u90e8"])


def test_ten_thousand_words_come_back() -> None:
    text = " ".join(f"word{number}," for number in range(10_000))
    found = cut(text)
    assert len(found.words) == 10_000
    assert found.replaced(9_999, "x").text == text.replace("word9999", "x")
