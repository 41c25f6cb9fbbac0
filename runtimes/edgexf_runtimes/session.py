"""A loaded bundle: arrays to arrays, inputs to labels, an input to its explanation.

In: a bundle's folder. Out: a `Session`. Graphs are opened when they are first needed, so a process that
never explains never holds the explain graph.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnxruntime as ort

from edgexf import bundle, names
from edgexf.errors import InputError, UsageError
from edgexf.manifest import Bytes, Manifest
from edgexf.report import Explanation, Prediction
from edgexf_runtimes import preprocess, providers
from edgexf_runtimes.preprocess import Raw, Source

Array = npt.NDArray[Any]

PREDICT = "predict"
TOP = 3  # labels that a prediction lists
DTYPES = ("fp32",)


def load(
    path: str | os.PathLike[str],
    dtype: str = "auto",
    threads: int | None = None,
    providers: Sequence[str] = ("cpu",),
    verify: str = "always",
) -> Session:
    """Opens a bundle. BundleError where it is not what was exported, UsageError for an unknown choice.

    `threads` defaults to what this process may use. `verify`: ``always`` hashes every listed file,
    ``never`` checks names and sizes only.
    """
    if verify not in ("always", "never"):
        raise UsageError(f"verify must be 'always' or 'never', got {verify!r}; choose one of them.")
    if dtype not in ("auto", *DTYPES):
        raise UsageError(f"dtype must be one of auto, {', '.join(DTYPES)}, got {dtype!r}; choose one of them.")
    manifest = bundle.read(Path(path), verify=verify == "always")
    return Session(Path(path), manifest, "fp32" if dtype == "auto" else dtype, threads, tuple(providers))


def softmax(logits: Array) -> Array:
    """Probabilities over the last axis, float64."""
    shifted = np.exp(logits.astype(np.float64) - logits.max(axis=-1, keepdims=True))
    probabilities: Array = shifted / shifted.sum(axis=-1, keepdims=True)
    return probabilities


class Session:
    """A bundle in use; a context manager. Concurrent calls are safe, closing during one is not."""

    def __init__(
        self, path: Path, manifest: Manifest, dtype: str, threads: int | None, provider_names: Sequence[str]
    ) -> None:
        self.path = path
        self.manifest = manifest
        self.dtype = dtype
        self._threads = threads
        self._providers = tuple(provider_names)
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._lock = threading.Lock()
        self._open(PREDICT)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Releases the graphs; they are opened again when the session is used again."""
        with self._lock:
            self._sessions.clear()

    def _open(self, purpose: str) -> ort.InferenceSession:
        with self._lock:
            if purpose not in self._sessions:
                graph = self.manifest.graph(purpose, self.dtype)
                self._sessions[purpose] = providers.create(self.path / graph.file, self._providers, self._threads)
            return self._sessions[purpose]

    def run(self, *, input_ids: Any, attention_mask: Any | None = None, **others: Any) -> dict[str, Array]:
        """The predict graph's outputs, such as ``logits`` float32 [batch, labels].

        Inputs are whole numbers [batch, sequence]; without a mask every token is real. `others` are those that the
        manifest names, such as ``global_attention_mask``. InputError for arrays outside the bundle's limits.
        """
        given = {names.INPUT_IDS: input_ids, names.ATTENTION_MASK: attention_mask, **others}
        return self._run(PREDICT, preprocess.check_inputs(given, self.manifest))

    def run_explain(
        self,
        *,
        input_ids: Any,
        attention_mask: Any | None = None,
        target: Any | None = None,
        method: str | None = None,
        **others: Any,
    ) -> dict[str, Array]:
        """The explain graph's outputs: ``logits``, ``relevance`` float32 [batch, sequence], ``residual`` [batch].

        `target` float32 [batch, labels] weighs the logits; a row of zeros, the default, means the predicted label.
        """
        given = {names.INPUT_IDS: input_ids, names.ATTENTION_MASK: attention_mask, **others}
        inputs = preprocess.check_inputs(given, self.manifest)
        shape = (len(inputs[names.INPUT_IDS]), len(self.manifest.labels))
        weights = np.zeros(shape, dtype=np.float32) if target is None else np.asarray(target, dtype=np.float32)
        if weights.shape != shape or not np.isfinite(weights).all():
            raise InputError(
                f"target must be finite float32 {list(shape)}, got {list(weights.shape)}; give a weight for each label and row."
            )
        return self._run(self.method(method), {**inputs, names.TARGET: weights})

    def _run(self, purpose: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
        session = self._open(purpose)
        outputs = [value.name for value in session.get_outputs()]
        return dict(zip(outputs, session.run(outputs, dict(feeds)), strict=True))

    def method(self, method: str | None) -> str:
        """The explanation method to use: the bundle's first unless one is named. UsageError if it is not there."""
        have = self.manifest.methods
        if not have:
            raise UsageError(
                "a bundle must hold an explain graph to explain, got one without; export it with a method, where its head has classes."
            )
        if method is not None and method not in have:
            raise UsageError(
                f"method must be one of the bundle's ({', '.join(have)}), got {method!r}; choose one or export it."
            )
        return method or have[0]

    def predict(self, inputs: Source | Iterable[Source]) -> list[Prediction]:
        """Labels and scores for text, bytes or paths, in the order given; see `preprocess.read_raw` for errors."""
        sources = [inputs] if isinstance(inputs, str | bytes | os.PathLike) else list(inputs)
        return self.predict_raw([self.read(source) for source in sources])

    def read(self, source: Source) -> Raw:
        """The part of a source that the model reads."""
        return preprocess.read_raw(source, self.reader.max_bytes)

    @property
    def reader(self) -> Bytes:
        """How this model reads bytes. UsageError for one that takes token ids."""
        if self.manifest.preprocess is None:
            raise UsageError(
                f"files and text are for models that read bytes, got {self.manifest.name}, which takes token ids; call session.run with arrays."
            )
        return self.manifest.preprocess

    def predict_raw(self, raws: Sequence[Raw]) -> list[Prediction]:
        """Answers in the order given; inputs of similar length run together."""
        sequences = [preprocess.encode(raw, self.reader) for raw in raws]
        found: dict[int, Prediction] = {}
        for batch in preprocess.batches([len(tokens) for tokens in sequences], self.manifest.limits):
            start = time.perf_counter()
            ids, mask = preprocess.pad([sequences[i] for i in batch], self.reader.padding_id)
            logits = self._run(PREDICT, {names.INPUT_IDS: ids, names.ATTENTION_MASK: mask})[names.LOGITS]
            share = (time.perf_counter() - start) * 1e3 / len(batch)
            for index, row in zip(batch, logits, strict=True):
                found[index] = self._prediction(raws[index], row, share)
        return [found[index] for index in range(len(raws))]

    def _prediction(self, raw: Raw, logits: Array, ms: float) -> Prediction:
        scores = softmax(logits)
        best = np.argsort(-scores, kind="stable")[:TOP]
        top = tuple((self.manifest.labels[i], float(scores[i])) for i in best)
        return Prediction(raw.name, top[0][0], top[0][1], top, raw.truncated, ms)

    def target(self, target: str | Mapping[str, float] | None) -> dict[str, float]:
        """Weights by label; UsageError for a label that the model does not know."""
        weights = {} if target is None else {target: 1.0} if isinstance(target, str) else dict(target)
        unknown = sorted(set(weights) - set(self.manifest.labels))
        if unknown:
            raise UsageError(
                f"target must be among the model's labels ({', '.join(self.manifest.labels)}), got {', '.join(unknown)}; choose one of them."
            )
        if weights and not any(weights.values()):
            raise UsageError(f"target must weigh a label, got {weights}; leave it out to explain the predicted label.")
        return weights

    def explain(
        self, source: Source, target: str | Mapping[str, float] | None = None, method: str | None = None
    ) -> Explanation:
        """Why the model answers as it does for one text, bytes or path.

        `target` is a label, or weights by label (``{"c": 1, "python": -1}`` contrasts two); the predicted
        label by default. `method` is one of the bundle's; its first by default.
        """
        return self.explain_raw(self.read(source), target, method)

    def explain_raw(
        self, raw: Raw, target: str | Mapping[str, float] | None = None, method: str | None = None
    ) -> Explanation:
        chosen, weights = self.method(method), self.target(target)
        labels = self.manifest.labels
        tokens = preprocess.encode(raw, self.reader)
        start = time.perf_counter()
        found = self.run_explain(
            input_ids=tokens[None], target=[[weights.get(label, 0.0) for label in labels]], method=chosen
        )
        ms = (time.perf_counter() - start) * 1e3
        logits = found[names.LOGITS][0]
        prediction = self._prediction(raw, logits, ms)
        graph = self.manifest.graph(chosen, self.dtype)
        explained = weights or {prediction.label: 1.0}
        return Explanation(
            input=raw.name,
            data=raw.data,
            tokens=("[class]", *(token_text(byte) for byte in raw.data)),
            offsets=((0, 0), *((i, i + 1) for i in range(len(raw.data)))),
            scores=found[names.RELEVANCE][0],
            target=explained,
            explained=sum(weight * float(logits[labels.index(label)]) for label, weight in explained.items()),
            residual=float(found[names.RESIDUAL][0]),
            method=chosen,
            prediction=prediction,
            model=self.manifest.name,
            graph_sha256=self.manifest.files[graph.file]["sha256"],
            ms=ms,
        )


def token_text(byte: int) -> str:
    """A byte as a printable ASCII character, or as \\xNN."""
    return chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}"
