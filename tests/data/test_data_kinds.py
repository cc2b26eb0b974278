"""Every kind of data that users bring becomes the same examples, or an error whose remedy works."""

from __future__ import annotations

import io
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import ConcatDataset, DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torch.utils.data.sampler import SubsetRandomSampler

from robustlab.core.errors import DataError
from robustlab.data import Framing, examples

BYTES = np.random.default_rng(0).integers(0, 256, (6, 3, 8, 8), dtype=np.uint8)
X = torch.from_numpy(BYTES).div(255.0)
Y = [0, 1, 2, 2, 1, 0]
PICTURES = [Image.fromarray(one.transpose(1, 2, 0)) for one in BYTES]


def encoded(picture: Image.Image) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


class ClassLabel:
    """The method of Hugging Face."""

    def __init__(self, names: list[str]) -> None:
        self.names = names


class HuggingFace:
    """A stand-in for ``datasets.Dataset``: rows are dictionaries, columns lists; no torch data set."""

    def __init__(self, names: list[str] | None = None, *, image: str = "image", label: str = "label") -> None:
        self.column_names = [image, "id", label]
        self.features: dict[str, object] = {image: object(), "id": object()}
        self.features[label] = ClassLabel(names) if names else object()
        self.columns: dict[str, list[Any]] = {image: PICTURES, "id": list(range(6)), label: Y}

    def __len__(self) -> int:
        return 6

    def __getitem__(self, key: int | str) -> Any:  # noqa: ANN401 -- as theirs
        return self.columns[key] if isinstance(key, str) else {name: self.columns[name][key] for name in self.columns}

    def batch(self, batch_size: int) -> None:
        """A method of the same name with another meaning."""


class DatasetDict(dict[str, HuggingFace]):
    """The method of pandas."""


class Frame:
    """A stand-in for a table of pandas."""

    def __init__(self, **columns: list[Any]) -> None:
        self.kept = columns
        self.iloc = object()

    @property
    def columns(self) -> list[str]:
        return list(self.kept)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, names: str | list[str]) -> Any:  # noqa: ANN401 -- as theirs
        if isinstance(names, list):
            return Series(np.stack([self.kept[name] for name in names], axis=1))
        return Series(np.array(self.kept[names], object if isinstance(self.kept[names][0], str) else None))


class Series:
    """A column, or some."""

    def __init__(self, values: Any) -> None:  # noqa: ANN401 -- as theirs
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def to_numpy(self) -> Any:  # noqa: ANN401 -- as theirs
        return self.values

    def tolist(self) -> list[Any]:
        return list(self.values)


class Pictures(Dataset[tuple[Image.Image, int]]):
    """A set like torchvision's, labelled in one attribute or in none, with names or without."""

    def __init__(self, attribute: str = "targets", classes: list[str] | None = None) -> None:
        setattr(self, attribute, [*Y])
        if classes:
            self.classes = classes

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[Image.Image, int]:
        return PICTURES[range(6)[index]], Y[index]


def written(folder: Path) -> list[str]:
    for number, picture in enumerate(PICTURES):
        picture.save(folder / f"{number}.png")
    return [str(folder / f"{number}.png") for number in range(6)]


def npz(folder: Path, **arrays: object) -> Path:
    np.savez(folder / "mine.npz", **arrays)  # type: ignore[arg-type]
    return folder / "mine.npz"


PAIRS: list[Any] = list(zip(X, Y, strict=True))
LAST = BYTES.transpose(0, 2, 3, 1)
KINDS: dict[str, Callable[[Path], Any]] = {
    "arrays": lambda _: (X.numpy(), np.array(Y)),
    "arrays of bytes": lambda _: (BYTES, np.array(Y, np.uint8)),
    "labels in a list": lambda _: (X, Y),
    "a list of inputs and labels": lambda _: [X, torch.tensor(Y)],
    "images and labels in lists": lambda _: (PICTURES, Y),
    "TensorDataset": lambda _: TensorDataset(X, torch.tensor(Y)),
    "pairs": lambda _: PAIRS,
    "pairs in a tuple": lambda _: tuple(PAIRS),
    "pairs with pictures": lambda _: list(zip(PICTURES, Y, strict=True)),
    "pairs with arrays, colours last": lambda _: list(zip(LAST, Y, strict=True)),
    "pairs with paths": lambda path: list(zip(written(path), Y, strict=True)),
    "pairs with labels as tensors": lambda _: [(x, torch.tensor([y])) for x, y in PAIRS],
    "dictionary": lambda _: {"image": X, "label": torch.tensor(Y)},
    "dictionary of lists": lambda _: {"image": PICTURES, "label": Y},
    "dictionaries": lambda _: [{"image": x, "label": y} for x, y in PAIRS],
    "dictionaries of webdataset": lambda _: [
        {"png": x, "cls": y, "__key__": "k"} for x, y in zip(PICTURES, Y, strict=True)
    ],
    "splits": lambda _: {"train": Pictures(), "test": TensorDataset(X, torch.tensor(Y))},
    "Subset": lambda _: Subset(ConcatDataset([Pictures(), Pictures()]), range(6, 12)),
    "ConcatDataset": lambda _: ConcatDataset([TensorDataset(X[:4], torch.tensor(Y[:4])), PAIRS[4:]]),  # type: ignore[list-item]
    "Subset of a Subset": lambda _: Subset(Subset(Pictures(), [5, 4, 3, 2, 1, 0]), [5, 4, 3, 2, 1, 0]),
    "torchvision, targets": lambda _: Pictures(),
    "torchvision, labels": lambda _: Pictures("labels"),
    "torchvision, _labels": lambda _: Pictures("_labels"),
    "no word of classes": lambda _: Pictures("unknown"),
    "DataLoader": lambda _: DataLoader(TensorDataset(X, torch.tensor(Y)), batch_size=4, shuffle=True),
    "Hugging Face": lambda _: HuggingFace(),
    "Hugging Face, other names": lambda _: HuggingFace(image="img", label="fine_label"),
    "DatasetDict": lambda _: DatasetDict(train=HuggingFace(), test=HuggingFace()),
    "DatasetDict of one": lambda _: DatasetDict(train=HuggingFace()),
    "table with paths": lambda path: Frame(path=written(path), label=Y),
    "table with bytes": lambda _: Frame(image=[{"bytes": encoded(p), "path": None} for p in PICTURES], label=Y),
    "npz": lambda path: npz(path, x=X.numpy(), y=np.array(Y)),
    "npz, colours last": lambda path: npz(path, images=LAST, labels=np.array(Y)[:, None]),
    "npz as text": lambda path: str(npz(path, x_test=LAST, y_test=np.array(Y), x_train=LAST[:2], y_train=[0, 1])),
}


@pytest.mark.parametrize("kind", KINDS)
def test_all_kinds_give_the_same_examples(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    found = examples(KINDS[kind](tmp_path))
    assert found.classes == ("0", "1", "2")
    assert len(found) == 6
    batch = found.batch(torch.tensor([4, 1, 3, 0]))
    assert torch.allclose(batch.x, X[[4, 1, 3, 0]], atol=1e-7, rtol=0)
    assert batch.y.tolist() == [1, 1, 2, 0]
    assert batch.y.dtype is torch.int64
    assert batch.ids.tolist() == [4, 1, 3, 0]


@pytest.mark.parametrize(
    "data",
    [
        HuggingFace(["ant", "bee", "cat", "dog"]),
        Pictures(classes=["ant", "bee", "cat", "dog"]),
        Subset(Pictures(classes=["ant", "bee", "cat", "dog"]), [3, 2]),
        ConcatDataset([Pictures(classes=["ant", "bee", "cat", "dog"])] * 2),
    ],
    ids=["features", "classes", "Subset", "ConcatDataset"],
)
def test_names_of_classes_are_taken_from_where_they_are(data: Any) -> None:  # noqa: ANN401 -- of each kind
    assert examples(data).classes == ("ant", "bee", "cat", "dog")
    assert examples(data, classes=("a", "b", "c")).classes == ("a", "b", "c")
    assert examples(data, classes=5).classes == ("0", "1", "2", "3", "4")


@pytest.mark.parametrize(
    "make",
    [
        lambda words: list(zip(X, words, strict=True)),
        lambda words: (X, words),
        lambda words: (X, np.array(words)),
        lambda words: Frame(image=PICTURES, label=words),
        lambda words: [{"image": x, "label": word} for x, word in zip(X, words, strict=True)],
    ],
    ids=["pairs", "list", "array", "table", "dictionaries"],
)
def test_labels_may_be_words(make: Callable[[list[str]], Any]) -> None:
    found = examples(make([("cow", "ant", "bee")[y] for y in Y]))
    assert found.classes == ("ant", "bee", "cow")
    assert found.batch(torch.arange(3)).y.tolist() == [2, 0, 1]


def test_columns_may_have_any_name_or_place() -> None:
    rows = [{"scan": x, "finding": y} for x, y in PAIRS]
    triples = [("id", x, y) for x, y in PAIRS]
    with pytest.raises(ValueError, match=r"columns scan, finding: name those .* columns=\('image', 'label'\)"):
        examples(rows)
    for data, columns in ((rows, ("scan", "finding")), (triples, (1, 2))):
        found = examples(data, columns=columns)
        assert found.batch(torch.arange(2)).y.tolist() == [0, 1]
        assert found.classes == ("0", "1", "2")
    with pytest.raises(ValueError, match="has no column 'diagnosis': it has scan, finding"):
        examples(rows, columns=("scan", "diagnosis"))


def test_a_table_of_numbers_is_read_by_its_columns() -> None:
    table = Frame(height=[1.0] * 6, weight=[2.0] * 6, label=Y)
    with pytest.raises(ValueError, match="columns height, weight, label: name those"):
        examples(table)
    batch = examples(table, columns=(["height", "weight"], "label")).batch(torch.tensor([2]))
    assert batch.x.tolist() == [[1.0, 2.0]]
    assert batch.y.tolist() == [2]


class Endless(IterableDataset[tuple[Tensor, int]]):
    """A data set that is streamed."""

    def __iter__(self) -> Iterator[tuple[Tensor, int]]:
        return itertools.cycle(PAIRS)


@pytest.mark.parametrize("make", [lambda: Endless(), lambda: iter(PAIRS), lambda: DataLoader(Endless())])
def test_streams_get_advice_that_works(make: Callable[[], Any]) -> None:
    data = make()
    with pytest.raises(ValueError, match=r"examples\(list\(itertools.islice\(data, 1000\)\)\)"):
        examples(data)
    if not isinstance(data, DataLoader):
        assert examples(list(itertools.islice(data, 4))).batch(torch.arange(4)).y.tolist() == Y[:4]


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "nothing": (lambda _: None, "a NoneType is no data set"),
    "a number": (lambda _: 7, "a int is no data set"),
    "an empty list": (lambda _: [], "the list is empty"),
    "a list of inputs": (lambda _: [*X], "item 0 of list is a Tensor, expected a pair"),
    "a loader with a collate_fn": (
        lambda _: DataLoader(TensorDataset(X), collate_fn=lambda items: items),
        "has a collate_fn of its own: give its .dataset",
    ),
    "a loader with a sampler": (
        lambda _: DataLoader(Pictures(), sampler=SubsetRandomSampler([0])),
        "has a sampler of its own: give its .dataset, or a torch.utils.data.Subset",
    ),
    "splits without a test set": (lambda _: {"train": Pictures(), "extra": Pictures()}, "such as data['train']"),
    "a column of None": (lambda _: [(X[0], None)], "label None is no whole number"),
    "labels of floats": (lambda _: [(X[0], 0.5)], "label 0.5 is no whole number"),
    "labels one-hot": (lambda _: [(X[0], torch.tensor([0, 1]))], "label tensor([0, 1]) is no whole number"),
    "words among numbers": (lambda _: [(X[0], 0), (X[1], "b")], "some labels are words, others are not"),
    "images in three parts": (lambda _: [(X[0], X[0], 0)], "a tuple of 3, expected a pair (x, y): give their"),
    "objects": (lambda _: [(object(), 0)], "item 0 of list cannot be read: a object is no image"),
    "half an image": (lambda _: [(encoded(PICTURES[0])[:60], 0)], "an image of 60 bytes cannot be read"),
    "no file": (lambda path: [(str(path / "no.png"), 0)], "no.png cannot be read as an image: there is no such file"),
    "16 bits": (lambda _: (BYTES.astype(np.uint16), Y), "divide images of 16 bits by 65535"),
    "arrays of objects": (lambda _: (np.array([{}] * 6), np.array(Y)), "inputs cannot be made one tensor"),
    "npy": (lambda path: _text(path / "x.npy"), "holds inputs without labels"),
    "npz of objects": (lambda path: npz(path, x=np.array([{}, 1]), y=[0, 1]), "holds objects instead of numbers"),
    "npz of other names": (lambda path: npz(path, a=BYTES, b=Y), "has the columns a, b: name those"),
    "text as npz": (lambda path: _text(path / "x.npz"), "cannot be read as an npz file"),
    "a zip": (lambda path: _text(path / "x.zip"), "is an archive: unpack it"),
    "a table in a file": (lambda path: _text(path / "x.csv"), "is a table: give robustlab.data"),
    "a picture": (lambda path: written(path)[0], "is no folder of images and no npz file"),
    "no folder": (lambda path: path / "none", "there is no folder"),
    "no name": (lambda _: "fashion-mnits", "no data set is called 'fashion-mnits'"),
}  # fmt: skip


def _text(path: Path) -> Path:
    path.write_text("of no kind")
    return path


@pytest.mark.parametrize("fault", FAULTS)
def test_invalid_data_is_refused_in_one_sentence(fault: str, tmp_path: Path) -> None:
    make, message = FAULTS[fault]
    given = make(tmp_path)
    with pytest.raises((ValueError, DataError), match=re.escape(message)) as caught:
        examples(given).batch(torch.tensor([0]))
    assert "\n" not in str(caught.value)


def test_pictures_of_several_sizes_get_advice_that_works() -> None:
    data = [(PICTURES[0], 0), (PICTURES[1].resize((20, 9)), 1), (Image.new("I;16", (30, 30), 65535), 1)]
    with pytest.raises(DataError, match=r"scale them to one size, .*framing=robustlab.data.Framing\(224\)"):
        examples(data).batch(torch.arange(3))
    found = examples(data, framing=Framing(8))
    batch = found.batch(torch.arange(3))
    assert batch.x.shape == (3, 3, 8, 8)
    assert torch.allclose(batch.x[0], X[0])
    assert float(batch.x[2].min()) == 1
    assert getattr(found, "preprocessing", "") == str(Framing(8))


def test_a_large_set_is_not_read_for_its_classes() -> None:
    class Large(Pictures):
        def __len__(self) -> int:
            return 10_001

        def __getitem__(self, index: int) -> tuple[Image.Image, int]:
            raise AssertionError("read")

    with pytest.raises(ValueError, match="Large has no list of its classes: give classes="):
        examples(Large("unknown"))


def test_hugging_face_itself(tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets", reason="Hugging Face datasets is not installed")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee", "cow"])})
    made = datasets.Dataset.from_dict({"image": written(tmp_path), "label": Y}, features=features)
    for data in (made, datasets.DatasetDict({"train": made.select([0]), "test": made})):
        found = examples(data)
        assert found.classes == ("ant", "bee", "cow")
        assert torch.equal(found.batch(torch.arange(6)).x, X)
    with pytest.raises(ValueError, match="has no examples by number"):
        examples(made.to_iterable_dataset())


def test_pandas_itself(tmp_path: Path) -> None:
    pandas = pytest.importorskip("pandas", reason="pandas is not installed")
    table = pandas.DataFrame({"path": written(tmp_path), "label": [("cow", "ant", "bee")[y] for y in Y]})
    found = examples(table)
    assert found.classes == ("ant", "bee", "cow")
    assert torch.equal(found.batch(torch.arange(6)).x, X)
    numbers = pandas.DataFrame({"a": [1.0, 2.0], "b": [3.0, 4.0], "label": [0, 1]})
    assert examples(numbers, columns=(["a", "b"], "label")).batch(torch.tensor([1])).x.tolist() == [[2.0, 4.0]]
    assert examples((numbers[["a", "b"]], numbers["label"])).classes == ("0", "1")


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (lambda x: x.to_sparse(), "of layout sparse_coo: give plain values, as x.to_dense"),
        (lambda x: x.flatten(1).to_sparse_csr(), "of layout sparse_csr"),
        (lambda x: x.to("meta"), "device meta, which holds no values"),
        (lambda x: x.to(torch.complex64), "inputs are torch.complex64"),
        (lambda x: torch.quantize_per_tensor(x, 0.1, 0, torch.quint8), "inputs are torch.quint8"),
    ],
    ids=["sparse", "csr", "meta", "complex", "quantized"],
)
@pytest.mark.filterwarnings("ignore:Sparse")
@pytest.mark.filterwarnings("ignore:.*quantize_per_tensor")
def test_tensors_of_other_kinds_are_refused(kind: Callable[[Tensor], Tensor], said: str) -> None:
    x, y = kind(torch.rand(4, 1, 2, 2)), torch.tensor([0, 1, 1, 0])
    for given in ((x, y), {"x": x, "y": y}):
        with pytest.raises(ValueError, match=said):
            examples(given)


def test_inputs_that_take_part_in_a_gradient_are_read_without_it() -> None:
    x, y = torch.rand(4, 1, 2, 2, requires_grad=True), torch.tensor([0, 1, 1, 0])
    found = examples((x * 0.5, y)).batch(torch.arange(4))
    assert not found.x.requires_grad
    assert not examples(x, y).batch(torch.arange(4)).x.requires_grad
    assert torch.equal(found.x, x.detach() * 0.5)
