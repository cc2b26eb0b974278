"""Dictionary, word vectors, opinion words and stop words against other computations."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from robustlab.core.errors import DataError
from robustlab.data import text_resource
from robustlab.text.opinion import OpinionWords, opinion_words_in
from robustlab.text.stop_words import stop_words
from robustlab.text.vectors import Vectors, vectors_in
from robustlab.text.wordnet import WordNet, wordnet_in

CANDIDATES = Path(__file__).parent / "reference" / "wordnet_candidates.json"


def there(name: str) -> Path:
    try:
        return text_resource(name, fetch=False)
    except DataError:
        pytest.skip(f"the text resource {name} is not on this machine: robustlab data --text {name}")


def test_synonyms_are_the_candidates_of_the_reference() -> None:
    dictionary = wordnet_in(there("wordnet"))
    expected = json.loads(CANDIDATES.read_text())
    assert len(expected) == 1622
    assert {word: list(dictionary.synonyms(word)) for word in expected} == expected


@pytest.fixture
def small(tmp_path: Path) -> WordNet:
    """A dictionary of five words: film and movie, good and well (adverb), go."""
    data = {
        "noun": b"00000000 06 n 03 film 0 movie 0 moving_picture 0 000 | a show\n",
        "verb": b"00000000 38 v 02 go 0 travel 1 000 | move\n",
        "adj": b"00000000 00 a 02 good 0 Okay(p) 0 000 | fine\n",
        "adv": b"",
    }
    index = {
        "noun": b"  1 licence\nfilm n 1 0 1 0 00000000  \nmovie n 1 0 1 0 00000000  \n",
        "verb": b"go v 1 0 1 0 00000000  \n",
        "adj": b"good a 1 0 1 0 00000000  \n",
        "adv": b"",
    }
    irregular = {"noun": b"", "verb": b"went go\n", "adj": b"better good well\n", "adv": b""}
    for part in data:
        (tmp_path / f"data.{part}").write_bytes(data[part])
        (tmp_path / f"index.{part}").write_bytes(index[part])
        (tmp_path / f"{part}.exc").write_bytes(irregular[part])
    return WordNet(tmp_path)


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("film", ("movie",)),
        ("Films", ("film", "movie")),
        ("went", ("go", "travel")),
        ("going", ("go", "travel")),
        ("better", ("Okay", "good")),
        ("fil", ()),
        ("filmz", ()),
        ("film n", ()),
        ("film n 1", ()),
        ("", ()),
        ("é\ud800", ()),
        ("  1", ()),
    ],
)
def test_words_find_their_base_forms_and_nothing_else(small: WordNet, word: str, expected: tuple[str, ...]) -> None:
    assert small.synonyms(word) == expected
    assert small.synonyms(word) == expected


def test_opinion_words_have_a_sign_from_their_rating() -> None:
    words = opinion_words_in(there("vader"))
    assert [words.sign(word) for word in ("good", "Great", "awful", "DULL", "table", "ok")] == [1, 1, -1, -1, 0, 1]
    assert words.rating("good") == 1.9
    assert len(words.ratings) == 7506
    assert words.turned("good", "bad")
    assert not words.turned("good", "great")
    assert not words.turned("good", "table")


def test_a_rating_at_the_bound_is_an_opinion() -> None:
    words = OpinionWords({"a": 1.0, "b": 0.99, "c": -1.0})
    assert [words.sign(word) for word in "abc"] == [1, 0, -1]


def test_stop_words_are_compared_with_capitals() -> None:
    assert len(stop_words()) == 266
    assert "the" in stop_words()
    assert "The" not in stop_words()


@pytest.fixture(scope="module")
def toy() -> Vectors:
    rng = np.random.default_rng(0)
    matrix = rng.integers(-3, 4, (60, 4)).astype(np.float32)
    matrix[7] = 0
    matrix[20:24] = matrix[24]
    return Vectors(tuple(f"w{k:02d}" for k in rng.permutation(60)), matrix)


def by_hand(vectors: Vectors, word: str, n: int) -> list[tuple[str, float]]:
    matrix = vectors.matrix.astype(np.longdouble)
    own = matrix[vectors.words.index(word)]
    found = []
    for other, vector in zip(vectors.words, matrix, strict=True):
        sizes = np.sqrt((own @ own) * (vector @ vector))
        found.append((-round(float(own @ vector / sizes) if sizes else 0.0, 9), other))
    return [(other, -cosine) for cosine, other in sorted(found) if other != word][:n]


@pytest.mark.parametrize("n", [0, 1, 5, 59, 100])
def test_neighbours_are_the_largest_cosines_with_ties_by_word(toy: Vectors, n: int) -> None:
    together = toy.all_neighbours(toy.words, n)
    for word, found in zip(toy.words, together, strict=True):
        expected = by_hand(toy, word, n)
        assert [other for other, _ in found] == [other for other, _ in expected]
        assert [cosine for _, cosine in found] == pytest.approx([cosine for _, cosine in expected], abs=2e-9)


def test_neighbours_do_not_depend_on_what_is_asked_with_them(toy: Vectors) -> None:
    alone = [Vectors(toy.words, toy.matrix).neighbours(word, 5) for word in toy.words]
    assert toy.all_neighbours(toy.words[::-1], 5) == alone[::-1]
    assert toy.neighbours(toy.words[3].upper(), 5) == alone[3]


def test_unknown_words_have_no_neighbours_no_vector_and_no_cosine(toy: Vectors) -> None:
    assert toy.neighbours("nowhere", 5) == ()
    assert toy.vector("nowhere") is None
    assert (toy.cosine("w01", "nowhere"), toy.distance("nowhere", "w01")) == (None, None)
    assert "W01" in toy
    assert "nowhere" not in toy
    assert None not in toy


def test_cosine_and_squared_distance_are_those_of_the_plane() -> None:
    found = Vectors(("east", "north", "far"), np.array([[1, 0], [0, 1], [3, 4]], np.float32))
    assert (found.cosine("east", "north"), found.cosine("East", "far")) == (0.0, 0.6)
    assert (found.distance("east", "north"), found.distance("east", "far")) == (2.0, 20.0)


def test_published_vectors_are_mapped_and_their_neighbours_are_those_of_brute_force() -> None:
    vectors = vectors_in(there("glove"))
    assert vectors.matrix.shape == (400_000, 50)
    assert isinstance(vectors.matrix, np.memmap)
    whole = vectors.matrix.astype(np.float64)
    whole /= np.linalg.norm(whole, axis=1, keepdims=True)
    for word, found in zip(("good", "plot"), vectors.all_neighbours(["good", "plot"], 50), strict=True):
        row = vectors.words.index(word)
        order = np.argsort(-(whole @ whole[row]), kind="stable")[:51]
        assert [other for other, _ in found] == [vectors.words[k] for k in order if k != row]
    assert (vectors.cosine("king", "queen") or 0) > (vectors.cosine("king", "table") or 0)


def test_vectors_in_a_text_file_are_read(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("2 3\nup 1 2 3\ndown -1 -2 -3.5\n")
    found = vectors_in(path)
    assert found.words == ("up", "down")
    assert found.matrix.tolist() == [[1, 2, 3], [-1, -2, -3.5]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("up 1 2\ndown 1\n", "line 2 has 1 numbers, the first 2"),
        ("up 1 two\n", "line 1 is no word with its numbers"),
        ("", "holds no word vectors"),
    ],
)
def test_a_file_without_vectors_is_one_sentence(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text(text)
    with pytest.raises(DataError, match=message):
        vectors_in(path)


def test_a_folder_without_vectors_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"holds no word vectors: it needs one \.npy file"):
        vectors_in(tmp_path)
    with pytest.raises(DataError, match=r"2 words need as many vectors, got an array \(3, 1\)"):
        Vectors(("a", "b"), np.zeros((3, 1), np.float32))
