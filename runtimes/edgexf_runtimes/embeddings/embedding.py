"""Embeddings: one vector for each text, as sentence-transformers encodes it.

In: texts, and a prompt. Out: float32 [texts, dim], or [dim] of a single text.

    prompt + text -> tokens -> predict graph -> sentence_embedding -> leading dimensions -> length 1 again

The graph pools, so that other readers get the same vectors; see `edgexf_exporters.sources.sentences`. What is left is
here. It equals `SentenceTransformer.encode` but in two points, where the library answers another question silently:

- A text over the limit is an error. With `truncate`, its beginning is embedded, as in the library. With a stride, its
  embedding is the mean of its windows' embeddings; see `edgexf_runtimes.tasks.features`.
- `dimensions` (the library's ``truncate_dim``) cuts an embedding, which is then shorter than 1. If the model gives vectors
  of length 1, the cut vectors get it again, because similarities of others depend on how much the cut took.
  ``normalize=False`` leaves them as the library does; ``normalize=True`` is its ``normalize_embeddings``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from edgexf import names
from edgexf.bundle.embedding import Embedding
from edgexf.checks import check_flag, is_count
from edgexf.errors import UsageError, quoted
from edgexf_runtimes.inputs.prompts import chosen
from edgexf_runtimes.tasks.features import TINY, mean_vector

if TYPE_CHECKING:
    from edgexf_runtimes.decoding import Prepared
    from edgexf_runtimes.predictor import Predictor

Array = npt.NDArray[Any]


def about(predictor: Predictor) -> Embedding:
    """How a bundle's texts become embeddings. Raises UsageError for a bundle without ``sentence_embedding``."""
    if not predictor.head.pooled:
        raise UsageError(
            f"embed needs a bundle whose outputs hold {names.SENTENCE_EMBEDDING}, got {predictor.manifest.name} without; "
            "export a folder that sentence-transformers saved, or pool the last_hidden_state of session.run."
        )
    return predictor.manifest.embedding or Embedding({})


def prompt_of(predictor: Predictor, name: str | None, prompt: str | None) -> str:
    """The prompt of a call; see `edgexf_runtimes.inputs.prompts.chosen`."""
    return chosen(about(predictor), name, prompt)


def width_of(predictor: Predictor, dimensions: int | None) -> int:
    """The number of values that a caller gets. Raises UsageError for more than an embedding has."""
    whole = predictor.head.compared.shape[-1]
    if dimensions is None:
        return about(predictor).dimensions or int(whole)
    if not is_count(dimensions, 1) or dimensions > int(whole):
        raise UsageError(
            f"dimensions must be 1 to {whole}, the values of an embedding, got {quoted(dimensions)}; choose fewer."
        )
    return dimensions


def embed(
    predictor: Predictor, given: list[Prepared], dimensions: int | None = None, normalize: bool | None = None
) -> Array:
    """The embeddings of prepared inputs, float32 [inputs, dim]. Inputs of similar length run together."""
    width, told = width_of(predictor, dimensions), about(predictor)
    whole = int(predictor.head.compared.shape[-1])
    windows = [window for one in given for window in one.windows]
    rows = [row for one in given for row in one.rows]
    vectors = np.zeros((len(windows), whole), dtype=np.float32)
    for batch in predictor.batches([len(window.ids) for window in windows]):
        feeds = rows[batch[0]] if len(batch) == 1 else predictor.arrays([windows[place] for place in batch])
        vectors[batch] = predictor.run_graph(names.PREDICT, feeds)[names.SENTENCE_EMBEDDING]
    ends = np.cumsum([len(one.windows) for one in given])
    found = np.zeros((len(given), whole), dtype=np.float32)
    for place, (one, end) in enumerate(zip(given, ends, strict=True)):
        mine = vectors[end - len(one.windows) : end]
        found[place] = mine[0] if len(mine) == 1 else mean_vector(predictor.manifest, one, mine)
    if normalize is not None:
        check_flag("normalize", normalize)
    again = told.normalised and width < whole if normalize is None else normalize
    return of_length_one(found[:, :width]) if again else found[:, :width]


def of_length_one(vectors: Array) -> Array:
    """The vectors [..., dim] divided by their lengths."""
    found: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), TINY)
    return found


def similarity(told: Embedding, first: Array, second: Array) -> Array:
    """How alike embeddings are, [first, second], by the measure of the bundle: a cosine, a dot product, or a distance
    below 0, so that more is always more alike.
    """
    one, other = (np.atleast_2d(np.asarray(vectors, dtype=np.float32)) for vectors in (first, second))
    if one.ndim != 2 or other.ndim != 2 or one.shape[1] != other.shape[1]:
        raise UsageError(
            f"embeddings to compare must be [texts, dim] with one dim, got {list(one.shape)} and {list(other.shape)}; embed both alike."
        )
    return MEASURES[told.similarity](one, other)


def cosine(one: Array, other: Array) -> Array:
    found: Array = of_length_one(one) @ of_length_one(other).T
    return found


def dot(one: Array, other: Array) -> Array:
    found: Array = one @ other.T
    return found


def distance(order: int, one: Array, other: Array) -> Array:
    """Minus the distances, a row at a time, so that memory is that of one row."""
    rows = [-np.linalg.norm(other - row, ord=order, axis=1) for row in one]
    return np.stack(rows) if rows else np.zeros((0, len(other)), np.float32)


def euclidean(one: Array, other: Array) -> Array:
    return distance(2, one, other)


def manhattan(one: Array, other: Array) -> Array:
    return distance(1, one, other)


MEASURES = {"cosine": cosine, "dot": dot, "euclidean": euclidean, "manhattan": manhattan}
