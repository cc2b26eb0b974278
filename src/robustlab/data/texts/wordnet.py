"""Dictionary with sets of synonyms."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from robustlab.data.sources import DebianPackage, Folder, PublishedFile, Source
from robustlab.data.text_resources import TEXT_RESOURCES, TextResource

_DEBIAN_FOLDER = "usr/share/wordnet"
# As in the Debian package 1:3.0-37.
_FILES = (
    PublishedFile("index.noun", "a490d99d93d017bf4822fe2f0ffa51fd73911ce271dc7535fade21f8814b5a04"),
    PublishedFile("index.verb", "e2ac24816c3a8289dcb72aaa9cf8db81fdf25ec34d792bfc96ac5b7a20c8b4ae"),
    PublishedFile("index.adj", "c9865d7b4d1f805bdef82ccdcea5282436e23083e6f6f1b33e716327c4eda810"),
    PublishedFile("index.adv", "6f5465ed5758fe9c8a2f7ec17b1300f3aa875756c70ff7cba162f7e71bcf88ea"),
    PublishedFile("data.noun", "fea17d2f9656611334eac790e5d69e47645fa180c4aa481fb4cd9b3520754ca2"),
    PublishedFile("data.verb", "adcf43e35b581e8036d8b5a52d63d9cd3d3b4870b2720d3c03c799df44777bc2"),
    PublishedFile("data.adj", "c89120dfc1f046ddff4a631bf9b7e9fa1a36b5e86565a23bf82dbe14f30b88a7"),
    PublishedFile("data.adv", "444a63bf3955080ab7524f5079cfc07ff9bc682cb98bdb1db73b0fb9829f1139"),
    PublishedFile("noun.exc", "2b5d675c380b39ecf595af9fa9d4e7feb1d58c643b0bff08c40ed5bfe41fab7a"),
    PublishedFile("verb.exc", "dbbcf9a601b2d77e934e413b91d90e88ec7f933a8b77cfc00602a923b891b42c"),
    PublishedFile("adj.exc", "8824cc24bbedd797b9702316b27f07cd4c2b76b629539f0a1276f03926758016"),
    PublishedFile("adv.exc", "e7291461b629abfe63301bbe1998cee09fd575ed7107abd7ea9763adb05bf0a8"),
)


def _sources(_: Path) -> Sequence[Source]:
    """Debian's files and package, and what nltk has downloaded."""
    homes = [Path(one) for one in os.environ.get("NLTK_DATA", "").split(os.pathsep) if one]
    homes += [Path.home() / "nltk_data", Path("/usr/share/nltk_data"), Path("/usr/local/share/nltk_data")]
    nltk = [Folder(one / "corpora" / "wordnet") for one in homes]
    return [Folder(Path("/", _DEBIAN_FOLDER)), *nltk, DebianPackage("wordnet-base", _DEBIAN_FOLDER)]


TEXT_RESOURCES.register(
    "wordnet",
    TextResource(
        "WordNet 3.0, a dictionary with sets of synonyms (Fellbaum 1998)",
        "Debian wordnet-base 1:3.0-37",
        "WordNet 3.0 licence (Princeton University)",
        28_141_936,
        _FILES,
        _sources,
    ),
)
