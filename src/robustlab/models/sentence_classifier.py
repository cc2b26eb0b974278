"""A small BERT with a linear head, to be fine-tuned on sentences."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from robustlab.core.errors import DataError
from robustlab.core.kinds import typed
from robustlab.core.types import Logits, Text
from robustlab.models.architecture import described
from robustlab.models.vocabulary import packed, unpacked
from robustlab.runs.json_files import json_in
from robustlab.runs.tensors import tensors_in

if TYPE_CHECKING:
    from tokenizers import Encoding, Tokenizer

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
_EPS = 1e-12
_LONGEST_WORD = 100
_NEEDED = {"model_type": "bert", "hidden_act": "gelu"}


class SentenceClassifier(nn.Module):
    """BERT encoder, mean over the tokens, dropout, dense.

    Args:
        vocabulary: pieces of words, with ``[PAD]`` first; or their number, for a network that is loaded later.
        classes: number K of classes.
        width: of a token's vector.
        layers: of the encoder.
        heads: of attention in each layer.
        inner: width of the layer between the two dense ones.
        positions: number of tokens for which there are embeddings.
        length: number of tokens at which a text is cut, with those that mark its ends.
        letters: bytes of a vocabulary that is loaded later.

    Raises: ValueError for sizes that do not fit, or a vocabulary without the special tokens.

    Source: Devlin et al., BERT, NAACL 2019, figure 4; mean pooling: Reimers and Gurevych, Sentence-BERT, EMNLP 2019.
    """

    vocabulary: Tensor

    def __init__(  # noqa: PLR0913 -- sizes, by name
        self,
        words: Sequence[str] | int,
        classes: int = 2,
        *,
        width: int = 384,
        layers: int = 6,
        heads: int = 12,
        inner: int = 1536,
        positions: int = 512,
        length: int = 64,
        letters: int = 0,
    ) -> None:
        super().__init__()
        _check(words, width, heads, positions, length)
        size = words if isinstance(words, int) else len(words)
        self.limit = length
        self.register_buffer(
            "vocabulary", torch.zeros(letters, dtype=torch.uint8) if isinstance(words, int) else packed(words)
        )
        self.embeddings = nn.Embedding(size, width, padding_idx=0)
        self.positions = nn.Embedding(positions, width)
        self.fields = nn.Embedding(2, width)
        self.norm = nn.LayerNorm(width, _EPS)
        self.layers = nn.ModuleList(_Layer(width, heads, inner) for _ in range(layers))
        self.drop = nn.Dropout(0.1)
        self.head = nn.Linear(width, classes)
        self._tokens: tuple[tuple[int, int], Tokenizer] | None = None
        sizes = {"width": width, "layers": layers, "heads": heads, "inner": inner, "positions": positions}
        sizes |= {"classes": classes, "words": size, "letters": len(self.vocabulary), "length": length}
        described(self, {"name": "sentence-classifier", **sizes})

    @property
    def words(self) -> tuple[str, ...]:
        """The pieces of words, in the order of the rows of ``embeddings``."""
        return unpacked(self.vocabulary)

    def encode(self, texts: Sequence[Text]) -> Tensor:
        """Numbers of the tokens (N, L), int64, padded with 0 to the longest text."""
        rows = [one.ids for one in self._encoded(texts, cut=True)]
        ids = torch.zeros(len(rows), max(map(len, rows), default=0), dtype=torch.int64)
        for row, found in zip(ids, rows, strict=True):
            row[: len(found)] = torch.tensor(found)
        return ids

    def spans(self, text: Text) -> list[tuple[int, int, int]]:
        """Field, first character and end of each token, cut; the tokens that mark the ends have no characters."""
        (found,) = self._encoded([text], cut=True)
        places = zip(found.type_ids, found.offsets, found.special_tokens_mask, strict=True)
        return [(0, 0, 0) if special else (field, start, end) for field, (start, end), special in places]

    def lengths(self, texts: Sequence[Text]) -> list[int]:
        """Numbers of tokens, uncut."""
        return [len(one.ids) for one in self._encoded(texts, cut=False)]

    def forward(self, ids: Tensor) -> Logits:
        """Token numbers (N, L) to logits (N, K)."""
        kept = ids != 0
        used = int(kept.any(dim=0).sum())  # padding is behind the texts
        ids, kept = ids[:, :used], kept[:, :used]
        x = self.drop(self.norm(self.embeddings(ids) + self.positions.weight[:used] + self.fields(self._fields(ids))))
        mask = kept[:, None, None, :]
        for layer in self.layers:
            x = layer(x, mask)
        weights = kept[:, :, None].to(x.dtype)
        pooled = (x * weights).sum(dim=1) / weights.sum(dim=1).clamp_min(1)
        logits: Logits = self.head(self.drop(pooled))
        return logits

    def _fields(self, ids: Tensor) -> Tensor:
        """0 up to the first separator of each row, 1 behind it up to the second."""
        ends = (ids == self._numbers[3]).long()
        return ((ends.cumsum(dim=1) - ends > 0) & (ids != 0)).long()

    @cached_property
    def _numbers(self) -> tuple[int, ...]:
        words = self.words
        return tuple(words.index(word) for word in _SPECIAL)

    def _encoded(self, texts: Sequence[Text], *, cut: bool) -> list[Encoding]:
        tokenizer = self._tokenizer()
        if cut:
            tokenizer.enable_truncation(self.limit)
        else:
            tokenizer.no_truncation()
        return tokenizer.encode_batch([_one_or_two(text) for text in texts])

    def _tokenizer(self) -> Tokenizer:
        """The tokenizer of the present vocabulary, which loading changes in place."""
        version = (self.vocabulary.data_ptr(), self.vocabulary._version)
        if self._tokens is None or self._tokens[0] != version:
            self._tokens = version, word_pieces(self.words)
            self.__dict__.pop("_numbers", None)
        return self._tokens[1]


class _Layer(nn.Module):
    """Attention and two dense layers, each added to its input and normalised."""

    def __init__(self, width: int, heads: int, inner: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, _EPS)
        self.up = nn.Linear(width, inner)
        self.down = nn.Linear(inner, width)
        self.norm = nn.LayerNorm(width, _EPS)
        self.drop = nn.Dropout(0.1)

    def forward(self, x: Tensor, mask: Tensor) -> Tensor:
        """Vectors (N, L, width) to the same; ``mask`` (N, 1, 1, L) is False at padding."""
        n, length, width = x.shape
        q, k, v = self.qkv(x).view(n, length, 3, self.heads, width // self.heads).permute(2, 0, 3, 1, 4)
        found = F.scaled_dot_product_attention(q, k, v, mask, 0.1 if self.training else 0.0)
        x = self.attention_norm(x + self.drop(self.out(found.transpose(1, 2).reshape(n, length, width))))
        out: Tensor = self.norm(x + self.drop(self.down(F.gelu(self.up(x)))))
        return out


@typed
def sentence_classifier(folder: str | Path, *, classes: int = 2, length: int = 64, seed: int = 0) -> SentenceClassifier:
    """A classifier on a published BERT, whose head has random weights.

    Args:
        folder: with ``config.json``, ``model.safetensors`` and ``vocab.txt`` or ``tokenizer.json``, such as that of
            all-MiniLM-L6-v2.
        classes: number K of classes.
        length: number of tokens at which texts are cut.
        seed: of the weights of the head; the global random state is not touched.

    Raises: DataError if files are missing or damaged, or the model is no plain BERT of lower-case words.
    """
    home = Path(folder)
    settings = _settings(home)
    words = _vocabulary(home)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        model = SentenceClassifier(
            words,
            classes,
            width=settings["hidden_size"],
            layers=settings["num_hidden_layers"],
            heads=settings["num_attention_heads"],
            inner=settings["intermediate_size"],
            positions=settings["max_position_embeddings"],
            length=length,
        )
        nn.init.normal_(model.head.weight, std=0.02)
        nn.init.zeros_(model.head.bias)
    try:
        published, _ = tensors_in(home / "model.safetensors")
        model.load_state_dict(_own_names(published, settings["num_hidden_layers"]), strict=False)
    except (OSError, ValueError, KeyError, RuntimeError) as error:
        raise DataError(f"{home / 'model.safetensors'} is damaged or of another model: {error}") from error
    return model.eval()


def word_pieces(words: Sequence[str]) -> Tokenizer:
    """The tokenizer of BERT for lower-case words."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

    numbers = {word: number for number, word in enumerate(words)}
    tokenizer = Tokenizer(models.WordPiece(numbers, unk_token="[UNK]", max_input_chars_per_word=_LONGEST_WORD))
    made = cast(Any, tokenizer)
    made.normalizer = normalizers.BertNormalizer(lowercase=True)
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.BertProcessing(("[SEP]", numbers["[SEP]"]), ("[CLS]", numbers["[CLS]"]))
    return tokenizer


def _own_names(published: dict[str, Tensor], layers: int) -> dict[str, Tensor]:
    """Weights of a published BERT under the names of ours; queries, keys and values in one matrix.

    Raises: KeyError if one is missing.
    """
    there = {name.removeprefix("bert."): value for name, value in published.items()}
    found = {
        "embeddings.weight": there["embeddings.word_embeddings.weight"],
        "positions.weight": there["embeddings.position_embeddings.weight"],
        "fields.weight": there["embeddings.token_type_embeddings.weight"],
    }
    names = {
        "out": "attention.output.dense",
        "attention_norm": "attention.output.LayerNorm",
        "up": "intermediate.dense",
        "down": "output.dense",
        "norm": "output.LayerNorm",
    }
    for kind in ("weight", "bias"):
        found[f"norm.{kind}"] = there[f"embeddings.LayerNorm.{kind}"]
        for n in range(layers):
            before = f"encoder.layer.{n}"
            parts = [there[f"{before}.attention.self.{part}.{kind}"] for part in ("query", "key", "value")]
            found[f"layers.{n}.qkv.{kind}"] = torch.cat(parts)
            found |= {f"layers.{n}.{own}.{kind}": there[f"{before}.{name}.{kind}"] for own, name in names.items()}
    return found


def _settings(home: Path) -> dict[str, int]:
    missing = [name for name in ("config.json", "model.safetensors") if not (home / name).is_file()]
    if missing:
        raise DataError(f"{home} lacks {' and '.join(missing)}: give the folder of a BERT with these files")
    try:
        found = json_in(home / "config.json")
    except ValueError as error:
        raise DataError(f"{home / 'config.json'} is damaged: {error}") from error
    given = found if isinstance(found, dict) else {}
    wrong = [f"{key} is {given.get(key)!r}, not {value!r}" for key, value in _NEEDED.items() if given.get(key) != value]
    if wrong:
        raise DataError(f"{home} is no plain BERT ({'; '.join(wrong)}): give the model itself to robustlab.text.victim")
    return cast("dict[str, int]", given)


def _vocabulary(home: Path) -> list[str]:
    """Pieces of words of a published BERT, from either of two files."""
    plain, rich = home / "vocab.txt", home / "tokenizer.json"
    if plain.is_file():
        return plain.read_text("utf-8").rstrip("\n").split("\n")
    if not rich.is_file():
        raise DataError(f"{home} lacks vocab.txt and tokenizer.json: give the folder of a BERT with one of them")
    try:
        numbers = cast(Any, json_in(rich))["model"]["vocab"]
        return sorted(numbers, key=numbers.__getitem__)
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"{rich} is damaged, or of a tokenizer that is no WordPiece: {error}") from error


def _check(words: Sequence[str] | int, width: int, heads: int, positions: int, length: int) -> None:
    if width % heads:
        raise ValueError(f"{heads} heads cannot share a width of {width}: take a multiple")
    if not 3 <= length <= positions:
        raise ValueError(f"length is the number of tokens at which texts are cut, 3 to {positions} here, got {length}")
    if not isinstance(words, int) and (list(words[:1]) != ["[PAD]"] or not set(_SPECIAL) <= set(words)):
        raise ValueError(f"the vocabulary must have {', '.join(_SPECIAL)}, with [PAD] first")


def _one_or_two(text: Text) -> str | tuple[str, str]:
    """A text as the tokenizer takes it.

    Raises: ValueError for more than two fields.
    """
    if isinstance(text, str):
        return text
    if len(text) > 2:
        raise ValueError(f"this model reads one field or a pair, got {len(text)} fields")
    return text[0] if len(text) == 1 else (text[0], text[1])
