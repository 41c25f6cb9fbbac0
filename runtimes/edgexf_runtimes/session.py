"""A loaded bundle: arrays to arrays, inputs to labels, an input to its explanation.

In: a bundle's folder. Out: a `Session`. Graphs are opened when they are first needed, so a process that
never explains never holds the explain graph.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi.onnxruntime_pybind11_state import Fail, InvalidArgument, RuntimeException

from edgexf import bundle, names
from edgexf.errors import BundleError, InputError, UsageError
from edgexf.manifest import Bytes, Manifest, Text
from edgexf.report import Explanation, Features, Prediction
from edgexf_runtimes import choice, compiled, explain, methods, preprocess, providers, replacement
from edgexf_runtimes.asked import Target, asked
from edgexf_runtimes.explain import Options
from edgexf_runtimes.game import Progress
from edgexf_runtimes.head import Head
from edgexf_runtimes.preprocess import Raw, Source
from edgexf_runtimes.replacement import Replacement
from edgexf_runtimes.scores import SCORES
from edgexf_runtimes.targets import check_targets
from edgexf_runtimes.text import Encoded, Tokenizer

Array = npt.NDArray[Any]
Pair = tuple[str, str]
Answer = tuple[dict[str, Array], float]  # outputs of one row, and its share of the time in milliseconds

PREDICT = "predict"
REFUSED = (
    Fail,
    InvalidArgument,
    RuntimeException,
)  # what a run raises: of a module of one's own not every id has a bound
TARGETS = (names.TARGET, names.POSITION, names.TARGET_START, names.TARGET_END, names.BASELINE, names.PATH)
TOP = 3  # labels that a prediction lists


def load(
    path: str | os.PathLike[str],
    dtype: str = "auto",
    threads: int | None = None,
    providers: Sequence[str] = ("cpu",),
    verify: str = "always",
) -> Session:
    """Opens a bundle. BundleError where it is not what was exported, UsageError for an unknown choice.

    `dtype` picks the graphs; ``auto`` is what `edgexf_runtimes.choice` finds best on this device. `threads` defaults to what this process may use. `verify`: ``always`` hashes every listed file,
    ``never`` checks names and sizes only.
    """
    if verify not in ("always", "never"):
        raise UsageError(f"verify must be 'always' or 'never', got {verify!r}; choose one of them.")
    if dtype not in ("auto", *names.DTYPES):
        raise UsageError(f"dtype must be one of auto, {', '.join(names.DTYPES)}, got {dtype!r}; choose one of them.")
    manifest = bundle.read(Path(path), verify=verify == "always")
    chosen = choice.choose(Path(path), manifest, providers) if dtype == "auto" else dtype
    choice.warn(Path(path), manifest, chosen)
    return Session(Path(path), manifest, chosen, threads, tuple(providers))


@dataclass(frozen=True)
class Prepared:
    """An input and its windows of tokens, one unless it is read with a stride."""

    raw: Raw
    windows: Sequence[Encoded]

    @property
    def truncated(self) -> bool:
        return self.raw.truncated or self.windows[0].truncated

    @property
    def data(self) -> bytes:
        """The input's bytes that the model read."""
        last = max(end for window in self.windows for _, end in window.offsets)
        return self.raw.data[:last] if self.truncated else self.raw.data


def listed(inputs: Source | Pair | Iterable[Source | Pair | Raw]) -> list[Source | Pair | Raw]:
    """Inputs as a list, also a single one."""
    if isinstance(inputs, str | bytes | os.PathLike | tuple):
        return [inputs]
    return list(inputs)


class Session:
    """A bundle in use; a context manager. Concurrent calls are safe, closing during one is not."""

    def __init__(
        self, path: Path, manifest: Manifest, dtype: str, threads: int | None, provider_names: Sequence[str]
    ) -> None:
        self.path = path
        self.whole = manifest  # of the bundle; `manifest` speaks of the graphs in this session's dtype alone
        self.manifest = manifest.in_dtype(dtype)
        self.dtype = dtype
        self.threads = threads
        self._providers = tuple(provider_names)
        self._sessions: dict[str, ort.InferenceSession] = {}
        self._tokenizer: Tokenizer | None = None
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
                self._sessions[purpose] = providers.create(self.path / graph.file, self._providers, self.threads)
            return self._sessions[purpose]

    def checked(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Inputs as the graph takes them, what may be left out filled in; see `run` for what they are and its errors."""
        return preprocess.check_inputs(inputs, self.manifest)

    def run(self, **inputs: Any) -> dict[str, Array]:
        """The predict graph's outputs, such as ``logits`` float32 [batch, labels].

        Inputs are those that the manifest names: of a model of text ``input_ids``, whole numbers [batch, sequence],
        ``attention_mask``, without which every token is real, and what else it takes, such as ``global_attention_mask``;
        of a module of one's own those of its ``forward``. InputError for arrays outside the bundle's limits.
        """
        return self._run(PREDICT, self.checked(inputs))

    def run_explain(self, *, method: str | None = None, **inputs: Any) -> dict[str, Array]:
        """An explain graph's outputs: those of `run`, ``relevance`` float32 [batch, sequence] and ``residual`` [batch].

        `inputs` are those of `run`, and what is explained, by default what the model predicts: `target` float32
        [batch, labels] weighs the logits, or is the vector [batch, width] that an embedding is compared with; `position`
        int64 [batch] says at which token a model answers that has an answer at each; `target_start` and `target_end`
        float32 [batch, sequence] weigh the logits of an answer's ends.
        """
        chosen = self.method(method)
        wanted = {tensor.name for tensor in self.manifest.targets(chosen)} | set(TARGETS)
        given = {name: value for name, value in inputs.items() if name in wanted and value is not None}
        arrays = self.checked({name: value for name, value in inputs.items() if name not in wanted})
        return self._run(chosen, {**arrays, **check_targets(given, arrays, self.manifest, chosen)})

    def _run(self, purpose: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
        session = self._open(purpose)
        outputs = [value.name for value in session.get_outputs()]
        try:
            return dict(zip(outputs, session.run(outputs, dict(feeds)), strict=True))
        except REFUSED as error:
            reason = str(error).strip().splitlines()[0].rstrip(".")
            raise InputError(
                f"inputs must be such that the graph can run, got others ({reason}); check the ids and sizes."
            ) from error

    def method(self, method: str | None) -> str:
        """The explanation method to use: the bundle's first unless one is named. UsageError if it is not there."""
        have, at_run_time = self.manifest.methods, ", ".join(known.name for known in methods.METHODS)
        if not have:
            raise UsageError(
                f"a bundle must hold an explain graph to explain by itself, got one without; export it with a method, or name one that needs none ({at_run_time})."
            )
        if method is not None and method not in have and method in self.whole.methods:
            raise UsageError(
                f"method must be one of the bundle's in {self.dtype} ({', '.join(have)}), got {method!r}, which it holds in fp32; load it with dtype='fp32' (--dtype fp32)."
            )
        if method is not None and method not in have:
            raise UsageError(
                f"method must be one of the bundle's in {self.dtype} ({', '.join(have)}) or of the runtime's ({at_run_time}), got {method!r}; choose one or export it."
            )
        return method or have[0]

    def predict(
        self, inputs: Source | Pair | Iterable[Source | Pair], truncate: bool = False, stride: int | None = None
    ) -> list[Prediction] | list[Features]:
        """Answers for text, bytes or paths, and for pairs of texts as tuples, in the order given: labels and scores of a
        classifier, the outputs of another model. See `Tokenizer.encode` for `truncate` and `stride`, which a model of
        text takes; `preprocess.read_raw` and `read_text` for errors.
        """
        return self.predict_prepared([self.prepare(source, truncate, stride) for source in listed(inputs)])

    def prepare(self, source: Source | Pair | Raw, truncate: bool = False, stride: int | None = None) -> Prepared:
        """An input as `predict_prepared` takes it; what is wrong with one input is said here."""
        raw = self.read(source)
        if self.manifest.decoder is not None:
            raise UsageError(
                f"an answer in one step is for models without a decoder, got {self.manifest.name}, which writes token by token; call session.run(**session.encode(text), decoder_input_ids=...)."
            )
        if stride is not None and not self.classifies:
            raise UsageError(
                "a stride joins the labels of windows, got one for a model without; encode with it and run the rows."
            )
        windows = self._tokens(raw, truncate, stride)
        for window in windows:
            self._arrays([window])  # what no batch mate may hide: too few tokens, a question without its separators
        return Prepared(raw, windows)

    def read(self, source: Source | Pair | Raw) -> Raw:
        """The part of a source that the model reads; what was read before stays as it is."""
        if isinstance(source, Raw):
            return source
        reader = self.reader
        if isinstance(reader, Text):
            return preprocess.read_text(source)
        if isinstance(source, tuple):
            raise UsageError("a pair of texts is for models that read text, got one for a model of bytes; join them.")
        return preprocess.read_raw(source, reader.max_bytes)

    @property
    def reader(self) -> Bytes | Text:
        """How this model reads its input. UsageError for one that takes token ids."""
        if self.manifest.preprocess is None:
            raise UsageError(
                f"files and text are for models with a tokenizer, got {self.manifest.name}, which takes token ids; call session.run with arrays."
            )
        return self.manifest.preprocess

    def _tokens(self, raw: Raw, truncate: bool = False, stride: int | None = None) -> list[Encoded]:
        """An input as windows of tokens, one of them unless a stride is given."""
        reader = self.reader
        if isinstance(reader, Text):
            return self._open_tokenizer().encode(raw.text or "", truncate, stride)
        if stride is not None:
            raise UsageError(f"a stride is for models that read text, got {stride} for a model of bytes; leave it out.")
        return [preprocess.encode(raw, reader)]

    def _open_tokenizer(self) -> Tokenizer:
        with self._lock:
            if self._tokenizer is None:
                if names.TOKENIZER_FILE not in self.manifest.files:
                    raise BundleError(
                        f"a bundle that reads text must list {names.TOKENIZER_FILE}, got none; export it again."
                    )
                path = self.path / names.TOKENIZER_FILE
                self._tokenizer = Tokenizer(path, self.manifest.limits.max_length)
            return self._tokenizer

    def replacement(self, baseline: str | int | None = None) -> Replacement:
        """What stands in for a token that is left out of an input; `baseline` is a token's text or its id."""
        reader = self.reader
        if isinstance(reader, Text):
            return replacement.of_text(self._open_tokenizer(), self.path, self.manifest, baseline)
        return replacement.of_bytes(reader, baseline)

    def encode(
        self, inputs: Source | Pair | Iterable[Source | Pair | Raw], truncate: bool = False, stride: int | None = None
    ) -> dict[str, Array]:
        """What `run` takes, for inputs as in `predict`: a row each, padded to the longest, or one for each window.

        A decoder is another matter: `decoder_input_ids` are not among them. UsageError for rows that would change each
        other's answers, since the model pads them to other lengths than they have together.
        """
        read = [self.read(source) for source in listed(inputs)]
        windows = [window for raw in read for window in self._tokens(raw, truncate, stride)]
        lengths = {self.manifest.limits.padded(len(window.ids)) for window in windows}
        if len(lengths) != 1:
            raise UsageError(
                f"rows that run together must be of lengths that the model pads alike ({self.manifest.limits.padding}), got {len(lengths)} different; encode them one by one, or call predict."
            )
        return self._arrays(windows)

    def _arrays(self, windows: Sequence[Encoded]) -> dict[str, Array]:
        """The graph's inputs int64 [windows, longest], checked."""
        reader = self.reader
        ids, mask = preprocess.pad([window.ids for window in windows], reader.padding_id)
        given = {names.INPUT_IDS: ids, names.ATTENTION_MASK: mask}
        if isinstance(reader, Text) and reader.segments and self.manifest.segments is not None:
            given[names.TOKEN_TYPE_IDS], _ = preprocess.pad([window.types for window in windows], 0)
        if self.manifest.decoder is not None:
            given[names.DECODER_INPUT_IDS] = np.full((len(ids), 1), self.manifest.decoder.start_id)
        inputs = preprocess.check_inputs(given, self.manifest)
        inputs.pop(names.DECODER_INPUT_IDS, None)
        return inputs

    def predict_prepared(self, inputs: Sequence[Prepared]) -> list[Prediction] | list[Features]:
        """Answers in the order given; windows of similar length run together, where rows are independent."""
        windows = [window for given in inputs for window in given.windows]
        alone = self.dtype in names.RANGE_OF_BATCH
        answers: dict[int, Answer] = {}
        for batch in preprocess.batches([len(window.ids) for window in windows], self.manifest.limits, alone):
            start = time.perf_counter()
            found = self._run(PREDICT, self._arrays([windows[i] for i in batch]))
            share = (time.perf_counter() - start) * 1e3 / len(batch)
            for row, index in enumerate(batch):
                answers[index] = {name: array[row] for name, array in found.items()}, share
        in_order = iter([answers[index] for index in range(len(windows))])
        mine = [[next(in_order) for _ in given.windows] for given in inputs]
        if self.classifies:
            return [self._prediction(given, found) for given, found in zip(inputs, mine, strict=True)]
        return [self._features(given, found) for given, (found,) in zip(inputs, mine, strict=True)]

    @cached_property
    def head(self) -> Head:
        """What the model answers."""
        return Head(self.manifest, self._open_tokenizer)

    @property
    def classifies(self) -> bool:
        """Whether an input gets a label, by logits [batch, labels]."""
        return self.head.classifies

    def prediction(self, given: Prepared, outputs: Mapping[str, Array], ms: float) -> Prediction:
        """A classifier's answer, from one row of outputs."""
        return self._prediction(given, [(dict(outputs), ms)])

    def _prediction(self, given: Prepared, answers: Sequence[Answer]) -> Prediction:
        """From the answer to each of an input's windows."""
        logits = np.mean([outputs[names.LOGITS] for outputs, _ in answers], axis=0)
        scores = SCORES[self.manifest.scores](logits)
        best = np.argsort(-scores, kind="stable")[:TOP]
        top = tuple((self.manifest.labels[i], float(scores[i])) for i in best)
        ms = sum(ms for _, ms in answers)
        sure = self.manifest.scores != "none"
        return Prediction(given.raw.name, top[0][0], top[0][1], top, given.truncated, ms, len(answers), sure)

    def _features(self, given: Prepared, answer: Answer) -> Features:
        (window,), (outputs, ms) = given.windows, answer
        tokens = {output.name for output in self.manifest.variants[0].outputs if output.has_tokens}
        kept = {name: array[: len(window.ids)] if name in tokens else array for name, array in outputs.items()}
        return Features(given.raw.name, window.tokens, window.offsets, kept, given.truncated, ms)

    @cached_property
    def model_sha256(self) -> str:
        """The digest of the manifest, which lists the hash of every file in the bundle."""
        return bundle.digest_of(self.whole.to_dict())

    def place(self, given: Prepared, position: int | None) -> int:
        """The token whose answer is explained: the one at `position`, from the end if negative; by default the only mask
        token of a model that fills in, and the last token of one that writes on. UsageError for a model without an
        obvious one, and for a place behind the input's end.
        """
        (window,) = given.windows
        count = len(window.ids)
        if position is None and self.manifest.task == "text-generation":
            return count - 1
        if position is None:
            masks = np.flatnonzero(window.ids == self.replacement(None).token_id)
            if self.manifest.task != "fill-mask" or len(masks) != 1:
                raise UsageError(
                    "an explanation of a model that answers at each token needs a position, got none; say which token's answer to explain."
                )
            return int(masks[0])
        if not isinstance(position, int) or not -count <= position < count:
            raise UsageError(
                f"position must be a token's place, {-count} to {count - 1}, got {position!r}; choose one."
            )
        return position % count

    def explain(
        self,
        source: Source | Pair | Raw,
        target: Target = None,
        method: str | None = None,
        truncate: bool = False,
        *,
        position: int | None = None,
        seed: int = 0,
        budget: int | None = None,
        span: int = 1,
        time_limit: float | None = None,
        baseline: str | int | None = None,
        progress: Progress | None = None,
    ) -> Explanation:
        """Why the model answers as it does for one text, bytes or path, or for what `read` made of one.

        `target` is a label, or weights by label (``{"c": 1, "python": -1}`` contrasts two), and what a model predicts by
        default; see `edgexf_runtimes.asked` for heads without labels, and `place` for `position`. `method` is one of the
        bundle's, its first by default, or of the runtime's (`methods.METHODS`); the options are those of
        `explain.Options`, where a method takes them. `truncate` reads only the beginning of a text that is too long.
        `progress` is told how many rows or steps of a long method were run, and of how many.
        """
        options, at_run_time = Options(seed, budget, span, time_limit, baseline), methods.find(method)
        chosen = self.method(method) if at_run_time is None else ""
        given = self.prepare(source, truncate)
        question = asked(self, given, target, position)
        inputs = self._arrays(given.windows)
        if at_run_time is not None:
            return explain.explain(self, at_run_time, inputs, question, options, progress)
        return compiled.explain(self, chosen, inputs, question, options, progress)
