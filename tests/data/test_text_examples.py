"""The user's own labelled texts in all forms, and in damaged ones."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from robustlab.core.errors import DataError
from robustlab.data import Sentences, text_examples

TEXTS = ["good, truly", 'a "bad" film', "so\nso", "", "😀 مرحبا"]
LABELS = [1, 0, 1, 1, 0]


class Named:
    """A feature of Hugging Face that knows its classes."""

    def __init__(self, names: list[str]) -> None:
        self.names = names


class Hub:
    """Columns by name, as a data set of Hugging Face has them."""

    def __init__(self, columns: dict[str, list[Any]], names: list[str] | None = None) -> None:
        self.columns = columns
        self.column_names = list(columns)
        self.features = {"label": Named(names)} if names else {}

    def __getitem__(self, name: str) -> list[Any]:
        return self.columns[name]

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


class Frame:
    """A data frame of pandas, as far as it is used."""

    iloc = None

    def __init__(self, columns: dict[str, list[Any]]) -> None:
        self.columns = list(columns)
        self.data = columns

    def __getitem__(self, name: str) -> np.ndarray[Any, Any]:
        return np.array(self.data[name], dtype=object)


class Items:
    """A torch data set of pairs."""

    def __getitem__(self, number: int) -> tuple[str, int]:
        return TEXTS[number], LABELS[number]

    def __len__(self) -> int:
        return len(TEXTS)


COLUMNS: dict[str, list[Any]] = {"idx": [9, 8, 7, 6, 5], "text": TEXTS, "label": LABELS}
ROWS = list(zip(TEXTS, LABELS, strict=True))


@pytest.mark.parametrize(
    "data",
    [
        (TEXTS, LABELS),
        (tuple(TEXTS), torch.tensor(LABELS)),
        (np.array(TEXTS), np.array(LABELS)),
        (TEXTS, [float(label) for label in LABELS]),
        (TEXTS, [bool(label) for label in LABELS]),
        (TEXTS, [str(label) for label in LABELS]),
        ROWS,
        [list(row) for row in ROWS],
        [{"text": text, "label": label} for text, label in ROWS],
        COLUMNS,
        {"Review": TEXTS, "SENTIMENT": LABELS},
        Hub(COLUMNS),
        {"train": Hub({"text": ["x"], "label": [0]}), "test": Hub(COLUMNS)},
        Frame(COLUMNS),
        Items(),
    ],
    ids=lambda data: type(data).__name__,
)
def test_every_form_gives_the_same_texts_and_labels(data: object) -> None:
    found = text_examples(data)
    assert found.texts == tuple(TEXTS)
    assert found.labels.tolist() == LABELS
    assert found.ids.tolist() == [0, 1, 2, 3, 4]
    assert found.classes == ("0", "1")


def written_csv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file).writerows([["id", "text", "label"], *([k, *row] for k, row in enumerate(ROWS))])


def written_tsv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter="\t").writerows([["text", "label"], *ROWS])


def written_json_lines(path: Path) -> None:
    path.write_text("\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS) + "\n\n")


def written_json(path: Path) -> None:
    path.write_text(json.dumps([{"text": text, "label": label} for text, label in ROWS]))


def written_parquet(path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    parquet.write_table(pyarrow.table({"text": TEXTS, "label": LABELS}), path)


WRITERS: dict[str, Callable[[Path], None]] = {
    "csv": written_csv,
    "tsv": written_tsv,
    "jsonl": written_json_lines,
    "json": written_json,
    "parquet": written_parquet,
}


@pytest.mark.parametrize("kind", WRITERS)
@pytest.mark.parametrize("prefixed", [True, False])
def test_every_kind_of_file_gives_the_same_texts(tmp_path: Path, kind: str, prefixed: bool) -> None:
    path = tmp_path / f"reviews.{kind}"
    WRITERS[kind](path)
    found = text_examples(f"{kind}:{path}" if prefixed else path)
    assert (found.texts, found.labels.tolist(), found.name) == (tuple(TEXTS), LABELS, path.name)


def test_quotation_marks_in_a_table_with_tabs_are_texts(tmp_path: Path) -> None:
    path = tmp_path / "glue.tsv"
    path.write_text('sentence\tlabel\n"never closed\t1\nplain "inner" one\t0\n"quoted" start\t1\n')
    assert text_examples(path).texts == ('"never closed', 'plain "inner" one', '"quoted" start')
    path.write_text('sentence\tlabel\n"opened\t1\nplain\t0\nclosed"\t1\n')
    assert text_examples(path).texts == ('"opened', "plain", 'closed"')


def test_a_text_of_a_megabyte_is_read_and_the_limit_of_others_stays(tmp_path: Path) -> None:
    path = tmp_path / "long.csv"
    path.write_text("text,label\n" + "a" * 1_000_000 + ",0\nb,1\n")
    before = csv.field_size_limit()
    assert [len(text) for text in text_examples(path).texts] == [1_000_000, 1]
    assert csv.field_size_limit() == before


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for split in ("train", "test"):
        for label in ("pos", "neg"):
            (tmp_path / "imdb" / split / label).mkdir(parents=True)
            for k in (2, 10):
                text = f"{split} {label} {k}\n"
                (tmp_path / "imdb" / split / label / f"{k}.txt").write_text(text)
    (tmp_path / "imdb" / "train" / "unsup").mkdir()
    (tmp_path / "imdb" / "train" / "unsup" / "0.txt").write_text("nobody knows")
    return tmp_path / "imdb"


def test_a_folder_per_class_is_read_by_split(folder: Path) -> None:
    found = text_examples(f"folder:{folder}")
    assert found.texts == ("test neg 10", "test neg 2", "test pos 10", "test pos 2")
    assert (found.labels.tolist(), found.classes) == ([0, 0, 1, 1], ("neg", "pos"))
    train = text_examples(folder, split="train", classes=("pos", "neg"))
    assert train.labels.tolist() == [1, 1, 0, 0]
    assert text_examples(folder / "train", split="all").classes == ("neg", "pos", "unsup")
    with pytest.raises(DataError, match="has the splits train, test, not 'validation'"):
        text_examples(folder, split="validation")
    with pytest.raises(DataError, match="has no folder 'train': all of it is read as split 'test'"):
        text_examples(folder / "test", split="train")


def test_words_are_numbered_by_alphabet_or_as_told() -> None:
    data = (["a", "b", "c"], ["mixed", "good", "bad"])
    assert text_examples(data).classes == ("bad", "good", "mixed")
    assert text_examples(data).labels.tolist() == [2, 1, 0]
    assert text_examples(data, classes=("mixed", "bad", "good")).labels.tolist() == [0, 2, 1]
    assert text_examples((["a", "b"], ["0", "none"])).classes == ("0", "none")
    assert text_examples((["a", "b"], ["1", "5"]), classes=("1", "2", "5")).labels.tolist() == [0, 2]
    assert text_examples((["a"], [1]), classes=4).classes == ("0", "1", "2", "3")


def test_the_classes_of_a_data_set_are_known() -> None:
    found = text_examples(Hub({"text": ["a", "b"], "label": [1, 1]}, ["negative", "positive"]))
    assert (found.classes, found.labels.tolist()) == (("negative", "positive"), [1, 1])


def test_sentence_pairs_are_texts_of_two_fields() -> None:
    columns: dict[str, list[Any]] = {"premise": ["a", "b"], "hypothesis": ["c", "d"], "label": [2, 0]}
    assert text_examples(Hub(columns)).texts == (("a", "c"), ("b", "d"))
    assert text_examples(columns, columns=("premise", "label")).texts == ("a", "b")
    assert text_examples(columns, columns=(("hypothesis", "premise"), "label")).texts == (("c", "a"), ("d", "b"))
    assert text_examples([(["a", "c"], 0), (["b", "d"], 1)]).texts == (("a", "c"), ("b", "d"))


def test_sentences_stay_what_they_are() -> None:
    found = text_examples((["a"], [0]))
    assert text_examples(found) is found


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "a NoneType holds no labelled texts: give"),
        (b"text", "a bytes holds no labelled texts"),
        (3, "a int holds no labelled texts"),
        (iter(ROWS), "holds no labelled texts"),
        (["good", "bad"], "the texts have no labels: give"),
        ([], "texts has no examples"),
        (("good", "bad"), "the texts are a str: give a list of them"),
        ((TEXTS, LABELS[:-1]), "5 texts and 4 labels: give one label per text"),
        ((["a", None], [0, 1]), "NoneType 'None' as the text of example 1"),
        ((["a", b"b"], [0, 1]), "bytes .* as the text of example 1"),
        ((["a", 5], [0, 1]), "int '5' as the text of example 1"),
        ((["a", float("nan")], [0, 1]), "float 'nan' as the text of example 1"),
        ((["a", ("b", "c")], [0, 1]), "texts of 1 and of 2 fields"),
        ((["a", "b"], [0, None]), "example 1 has no label"),
        ((["a", "b"], [0, float("nan")]), "example 1 has no label"),
        ((["a", "b"], ["x", ""]), "example 1 has no label"),
        ((["a", "b"], [0, 0.5]), r"label 0\.5 is no whole number"),
        ((["a", "b"], [0, "one"]), "some labels are words, others are not"),
        ((["a", "b"], [0, -1]), "label -1 in example 1"),
        ({"text": ["a"], "stars_given": [1]}, "texts has the columns text, stars_given: name those of text and label"),
        ([{"text": "a", "label": 0}, {"text": "b"}], "record 2 has no 'label', the first has"),
        ({"train": Hub(COLUMNS), "other": Hub(COLUMNS)}, "the data have the splits train, other: give one"),
    ],
)
def test_what_holds_no_labelled_texts_is_one_sentence(data: object, message: str) -> None:
    with pytest.raises(DataError, match=message) as seen:
        text_examples(data)
    assert "\n" not in str(seen.value)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.csv", b"text,label\ngood,1,more\n", r"a\.csv cannot be read: line 2 has 3 columns, the first line 2"),
        ("a.csv", b'text,label\n"good,1\n', r"a\.csv cannot be read: unexpected end of data"),
        ("a.csv", b"text,text\na,b\n", "its first line names a column twice"),
        ("a.csv", b"good film,1\nbad film,0\n", r"a\.csv has the columns good film, 1: name those of text and label"),
        ("a.csv", b"text,label\n\xff\xfe,1\n", r"a\.csv is not UTF-8 \(byte 11\): save it as UTF-8"),
        ("a.csv", b"", r"a\.csv has the columns none"),
        ("a.csv", b"text,label\n", r"a\.csv has no examples"),
        ("a.jsonl", b'{"text": "a", "label": 0}\nnonsense\n', r"a\.jsonl cannot be read: line 2: "),
        ("a.jsonl", b'{"text": "a", "label": 0}\n{"text": "b"}\n', "line 2 has no 'label', the first has"),
        ("a.json", b'{"text": "a"}', "it is no list of records such as"),
        ("a.parquet", b"nonsense", r"a\.parquet cannot be read: "),
        ("a.xlsx", b"", r"a\.xlsx is no table of texts: give one of \.csv, \.tsv"),
        ("a.txt", b"", r"a\.txt is no table of texts"),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, name: str, content: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        text_examples(tmp_path / name)


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no file .*none\.csv"):
        text_examples(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"there is no folder .*none"):
        text_examples(f"folder:{tmp_path / 'none'}")
    with pytest.raises(DataError, match=r"has no class folders with \.txt files"):
        text_examples(tmp_path)
    with pytest.raises(DataError, match="has no column 'body': it has text, label"):
        text_examples({"text": ["a"], "label": [0]}, columns=("body", "label"))
    (tmp_path / "pos").mkdir()
    (tmp_path / "pos" / "a.txt").write_bytes(b"\xff")
    with pytest.raises(DataError, match=r"a\.txt is not UTF-8"):
        text_examples(tmp_path)


def test_texts_are_values_of_the_public_kind() -> None:
    assert isinstance(text_examples((["a"], [0])), Sentences)
