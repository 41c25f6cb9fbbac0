"""The predictor: runs the predict graph, from arrays to arrays and from inputs to answers. It does not explain.

In: a bundle's folder, its manifest and a dtype. Out: a `Predictor`. The predictor opens each graph when it is first
needed, so a process that only predicts never holds an explain graph.

    text, bytes, path -> read -> Raw -> tokens -> arrays -> Prepared -> predict graph -> Prediction or Features
    picture           -> read -> Picture        -> arrays -> Prepared -> predict graph -> Prediction or Features
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import numpy.typing as npt

from edgexf import bundle, names
from edgexf.bundle.manifest import Manifest
from edgexf.bundle.preprocess import Bytes, Image, Text
from edgexf.checks import check_flag
from edgexf.dtypes import dtype_named
from edgexf.errors import BundleError, UsageError, quoted
from edgexf_runtimes import pictures
from edgexf_runtimes.calls.call import Call, locked
from edgexf_runtimes.calls.cancel import Cancel
from edgexf_runtimes.calls.forking import LIVE
from edgexf_runtimes.calls.runs import OnRun
from edgexf_runtimes.decoding import Answer, Prepared, features, prediction, rows_of
from edgexf_runtimes.device import providers
from edgexf_runtimes.device.profiles import Settings
from edgexf_runtimes.device.session_options import threads_of
from edgexf_runtimes.finite import AUTO, refuses
from edgexf_runtimes.graphs import Graphs
from edgexf_runtimes.inputs import preprocess
from edgexf_runtimes.inputs.checks import checks_of
from edgexf_runtimes.inputs.contract import Contract
from edgexf_runtimes.inputs.convert import joined
from edgexf_runtimes.inputs.files import INPUT_TIMEOUT, check_timeout
from edgexf_runtimes.inputs.limits import CallLimits
from edgexf_runtimes.inputs.preprocess import Raw, Source
from edgexf_runtimes.opening import Checks, Opening

if TYPE_CHECKING:  # an application waits for the imports of the runtime, so these are imported at their first use
    from edgexf.report.prediction import Features, Prediction
    from edgexf_runtimes.device.placement import Placement
    from edgexf_runtimes.head import NamedHead
    from edgexf_runtimes.inputs.baseline import Baseline
    from edgexf_runtimes.inputs.text import Encoded, Tokenizer

Array = npt.NDArray[Any]
Pair = tuple[str, str]


class Predictor:
    """An open bundle that answers; a context manager.

    Several threads may use it at a time. `close` waits for their calls.
    """

    def __init__(
        self,
        path: Path,
        manifest: Manifest,
        dtype: str,
        settings: Settings,
        input_timeout: float = INPUT_TIMEOUT,
        on_run: OnRun | None = None,
        limits: CallLimits | None = None,
        nan: str = AUTO,
        checks: Checks | None = None,
        call: Call | None = None,
    ) -> None:
        self.path = path.absolute()  # graphs open later, perhaps from another working directory
        self.input_timeout = check_timeout(input_timeout)
        self.whole = manifest  # of the whole bundle; `manifest` holds only the graphs in this session's dtype
        self.manifest = manifest.in_dtype(dtype)
        self.dtype = dtype
        self.settings = settings
        self._tokenizer: Tokenizer | None = None
        self._lock = threading.Lock()
        self.limits = limits or CallLimits()
        self._checks = checks_of(self.manifest, self.limits, Contract(self.path, self.manifest))
        self._opening = Opening(self.path, manifest, dtype, settings, checks)
        self.graphs = Graphs(
            self.path, self.manifest, dtype, self._opening, providers.named(settings),
            threads_of(settings) if settings.profile.side_by_side else None, on_run, refuses(nan, self.manifest),
        )  # fmt: skip
        self.graphs.opened(names.PREDICT, call)
        LIVE.add(self)

    def __reduce__(self) -> tuple[Any, ...]:
        raise UsageError(
            f"an open bundle stays in its process, got {type(self).__name__} of {self.path.name} to copy or to pickle; "
            "call edgexf.load in each worker."
        )

    def renew(self) -> list[Any]:
        """Starts afresh in a forked child, where nobody releases the locks that other threads of the parent hold."""
        kept, self._tokenizer, self._lock = self._tokenizer, None, threading.Lock()
        return [kept]

    def __enter__(self) -> Self:
        with self.graphs.calls.enter():  # raises ClosedError
            return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Waits for the calls in flight, and releases the graphs. Later calls raise ClosedError.

        A call in flight ends soon after `cancel`.
        """
        self.graphs.close()

    def shrink(self) -> None:
        """Gives the memory of past runs back to the operating system, such as that of a long input. A stale session keeps
        it, because its graphs could not open again.

        The graphs close, and open again at their next use, which takes as long as the first time. Runs in flight are
        not disturbed; what they hold is given back when they end.
        """
        if not self.stale:
            self.graphs.shrink()

    @property
    def stale(self) -> bool:
        """Whether another bundle took the place of this one on disk since the load. What is open goes on as it was; a
        graph that is not open yet is refused.
        """
        return self._opening.stale

    def placement(self, method: str = names.PREDICT) -> Placement:
        """Where the nodes of a graph run, as shares by provider. See `edgexf_runtimes.device.placement`."""
        with self.graphs.calls.enter() as call:
            return self._opening.placement(self.manifest.graph(method, self.dtype), call)

    def cancel(self) -> None:
        """Ends the calls in flight, which raise Cancelled. Later calls run."""
        self.graphs.calls.cancel()

    def checked(self, inputs: Mapping[str, Any]) -> dict[str, Array]:
        """Checks the inputs and fills in missing ones. See `run` for the inputs and errors."""
        return self._checks(inputs)

    def run(
        self, given: Mapping[str, Any] | None = None, /, *, timeout: float | None = None, cancel: Cancel | None = None,
        **inputs: Any,
    ) -> dict[str, Array]:  # fmt: skip
        """Runs the predict graph and returns its outputs, such as ``logits`` float32 [batch, labels].

        The manifest names the inputs. A model of text or bytes takes ``input_ids``, integers [batch, sequence], and
        ``attention_mask``; without a mask, every token is real. It may take more, such as ``global_attention_mask``. A
        custom module takes the inputs of its ``forward``. `given` holds inputs by name too: it serves inputs that are
        called ``timeout`` or ``cancel``.

        `timeout`, in seconds, bounds the whole call, and `cancel` ends it from another thread.

        Raises InputError for arrays outside the bundle's limits, UsageError for an input that the model does not have,
        and TimedOut, Cancelled or ClosedError.
        """
        with self.graphs.calls.enter(timeout, cancel) as call:
            return self.graphs.run(names.PREDICT, self._checks(joined(given, inputs)), call)

    def run_graph(self, method: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """Runs the graph of a method, ``predict`` or an explanation method, on checked inputs, and returns all of its
        outputs. Raises as `Graphs.run` does.
        """
        return self.graphs.run(method, feeds)

    def predict(
        self, inputs: Source | Pair | Iterable[Source | Pair], truncate: bool = False, stride: int | None = None,
        *, timeout: float | None = None, cancel: Cancel | None = None,
    ) -> list[Prediction] | list[Features]:  # fmt: skip
        """Answers texts, bytes, paths, and pairs of texts as tuples, in the order given. A model of images answers pictures;
        see `inputs.image`.

        A classifier answers with labels and scores, another model with its outputs. A text model also takes `truncate`
        and `stride`; see `Tokenizer.encode`. See `preprocess.read_raw`, `read_text` for errors, `run` for `timeout`, `cancel`.
        """
        with self.graphs.calls.enter(timeout, cancel) as call:
            prepared = []
            for source in self.listed(inputs):
                call.check()
                prepared.append(self.prepare(source, truncate, stride))
            return self.predict_prepared(prepared)

    def prepare(self, source: Source | Pair | Raw, truncate: bool = False, stride: int | None = None) -> Prepared:
        """Reads and tokenizes an input for `predict_prepared`. Raises the errors that concern this input alone."""
        if isinstance(self.manifest.preprocess, Image):
            return pictures.prepared(
                self.manifest.preprocess, pictures.read(source, self.input_timeout), stride, self._checks
            )
        return self.check_windows(*self.tokenized(source, truncate, stride))

    def tokenized(
        self, source: Source | Pair | Raw, truncate: bool = False, stride: int | None = None
    ) -> tuple[Raw, list[Encoded]]:
        """`prepare` without a look at the tokens: the input and its windows."""
        raw = self.read(source)
        if self.manifest.decoder is not None:
            raise UsageError(
                f"an answer in one step is for models without a decoder, got {self.manifest.name}, which writes token by token; call session.run(**session.encode(text), decoder_input_ids=...)."
            )
        if stride is not None and not self.classifies:
            raise UsageError(
                "a stride must be for a model that gives labels, which windows can join, got one without; encode with it and run the rows."
            )
        return raw, self.tokens(raw, truncate, stride)

    def check_windows(self, raw: Raw, windows: Sequence[Encoded]) -> Prepared:
        """Looks at each window alone, for errors that a batch could hide: too few tokens, missing separators. The arrays
        are kept, so that a window that runs alone is not checked again.
        """
        return Prepared(raw, windows, [self.arrays([window]) for window in windows])

    def listed(self, inputs: Any) -> list[Any]:
        """The inputs as a list. A single input becomes a list of one. Raises UsageError for what is no input."""
        return pictures.listed(inputs) if isinstance(self.manifest.preprocess, Image) else preprocess.listed(inputs)

    def read(self, source: Source | Pair | Raw) -> Raw:
        """Reads the part of a source that the model uses. A `Raw` is already read and stays as it is."""
        if isinstance(self.manifest.preprocess, Image):
            return pictures.read(source, self.input_timeout)
        reader = self.reader
        if isinstance(source, Raw):
            if isinstance(reader, Text) and source.text is None:
                raise UsageError(
                    f"a Raw for a model of text must hold its text, got {source.name} without; call read of this session."
                )
            return source
        if isinstance(reader, Text):
            return preprocess.read_text(source, self.input_timeout)
        if isinstance(source, tuple):
            raise UsageError("a pair of texts is for models that read text, got one for a model of bytes; join them.")
        return preprocess.read_raw(source, reader.max_bytes, self.input_timeout)

    @property
    def reader(self) -> Bytes | Text:
        """How this model reads its input. Raises UsageError for a model that takes token ids."""
        if self.manifest.preprocess is None:
            raise UsageError(
                f"files and text are for models with a tokenizer, got {self.manifest.name}, which takes token ids or other arrays{self._unread}; call session.run with them, or name an .npz of them at the prompt."
            )
        if isinstance(self.manifest.preprocess, Image):
            raise UsageError(
                f"tokens are for models that read text or bytes, got {self.manifest.name}, which reads pictures; predict them, or explain them by a method of the bundle."
            )
        return self.manifest.preprocess

    @property
    def _unread(self) -> str:
        """Why a model of images reads no pictures, as its export said it, in brackets; empty for other models."""
        reason = self.manifest.provenance.get(names.PICTURES, "")
        return f" (pictures are {reason})" if reason else ""

    def tokens(self, raw: Raw, truncate: bool = False, stride: int | None = None) -> list[Encoded]:
        """Turns an input into windows of tokens: one window, or several if a stride is given."""
        check_flag("truncate", truncate)
        reader = self.reader
        if isinstance(reader, Text):
            return self._open_tokenizer().encode(raw.text or "", truncate, stride, raw.name)
        if stride is not None:
            raise UsageError(
                f"a stride is for models that read text, got {quoted(stride)} for a model of bytes; leave it out."
            )
        return [preprocess.encode(raw, reader)]

    def _open_tokenizer(self) -> Tokenizer:
        with locked(self._lock):
            if self._tokenizer is None:
                if names.TOKENIZER_FILE not in self.manifest.files:
                    raise BundleError(
                        f"a bundle that reads text must list {names.TOKENIZER_FILE}, got none; export it again."
                    )
                from edgexf_runtimes.inputs.text import Tokenizer

                path = self.path / names.TOKENIZER_FILE
                self._tokenizer = Tokenizer(path, self.manifest.limits.max_length)
            return self._tokenizer

    def baseline(self, chosen: str | int | None = None) -> Baseline:
        """The replacement for a token that is left out of an input. `chosen` is a token's text or its id."""
        from edgexf_runtimes.inputs.baseline import of_bytes, of_text

        reader = self.reader
        if isinstance(reader, Text):
            return of_text(self._open_tokenizer(), self.path, self.manifest, chosen)
        return of_bytes(reader, chosen)

    def encode(
        self, inputs: Source | Pair | Iterable[Source | Pair | Raw], truncate: bool = False, stride: int | None = None
    ) -> dict[str, Array]:
        """Encodes inputs, as in `predict`, into the arrays that `run` takes. Each window of an input is a row, padded
        to the longest row. Without a stride, an input has one window.

        The arrays do not include `decoder_input_ids`. Raises UsageError if the model would pad the rows to different
        lengths: in one batch, such rows would change each other's answers.
        """
        with self.graphs.calls.enter():
            read = [self.read(source) for source in self.listed(inputs)]
            if isinstance(self.manifest.preprocess, Image):
                return pictures.together([self.prepare(raw).rows[0] for raw in read], self._checks)
            windows = [window for raw in read for window in self.tokens(raw, truncate, stride)]
        if not windows:
            raise UsageError("rows to encode must be at least one, got no input; give one.")
        lengths = {self.manifest.limits.padded(len(window.ids)) for window in windows}
        if len(lengths) != 1:
            raise UsageError(
                f"rows that run together must be of lengths that the model pads alike ({self.manifest.limits.padding}), got {len(lengths)} different; encode them one by one, or call predict."
            )
        return self.arrays(windows)

    def arrays(self, windows: Sequence[Encoded]) -> dict[str, Array]:
        """The checked inputs of the graph, int64 [windows, longest]."""
        reader = self.reader
        ids, mask = preprocess.pad([window.ids for window in windows], reader.padding_id)
        types, _ = preprocess.pad([window.types for window in windows], 0)
        given = {names.INPUT_IDS: ids, names.ATTENTION_MASK: mask}
        if self.manifest.signature is not None:  # a custom module has no rule for what a caller leaves out
            every = {**given, names.TOKEN_TYPE_IDS: types}
            given = {tensor.name: every[tensor.name] for tensor in self.manifest.variants[0].inputs}
        elif isinstance(reader, Text) and reader.segments and self.manifest.segments is not None:
            given[names.TOKEN_TYPE_IDS] = types
        if self.manifest.decoder is not None:
            given[names.DECODER_INPUT_IDS] = np.full((len(ids), 1), self.manifest.decoder.start_id)
        inputs = self._checks(given)
        inputs.pop(names.DECODER_INPUT_IDS, None)
        return inputs

    def predict_prepared(self, inputs: Sequence[Prepared]) -> list[Prediction] | list[Features]:
        """Answers in the order given. Windows of similar length run together if rows are independent."""
        windows = [window for given in inputs for window in given.windows]
        rows = [row for given in inputs for row in given.rows]
        answers: dict[int, Answer] = {}
        of_images = isinstance(self.manifest.preprocess, Image)
        for batch in self._picture_batches(rows) if of_images else self.batches([len(one.ids) for one in windows]):
            start = time.perf_counter()
            if len(batch) == 1:
                feeds = rows[batch[0]]
            elif of_images:
                feeds = pictures.together([rows[i] for i in batch], self._checks)
            else:
                feeds = self.arrays([windows[i] for i in batch])
            found = self.run_graph(names.PREDICT, feeds)
            ms = (time.perf_counter() - start) * 1e3
            answers.update(zip(batch, rows_of(found, len(batch), ms), strict=True))
        return self.decoded(inputs, [answers[index] for index in range(len(windows))])

    def decoded(self, inputs: Sequence[Prepared], answers: Iterable[Answer]) -> list[Prediction] | list[Features]:
        """What the answers of all windows say about the inputs, both in one order."""
        in_order = iter(answers)
        mine = [[next(in_order) for _ in given.windows] for given in inputs]
        if self.classifies:
            return [prediction(self.manifest, given, found) for given, found in zip(inputs, mine, strict=True)]
        return [features(self.manifest, given, found) for given, (found,) in zip(inputs, mine, strict=True)]

    def batches(self, lengths: Sequence[int]) -> list[list[int]]:
        """The places of inputs of these lengths that run together: what `preprocess.batches` allows, within the limits of
        a call and of the provider.
        """
        row = 8 * len(self.manifest.variants[0].inputs) * (max(lengths, default=1) or 1)  # bytes, of int64
        alone = dtype_named(self.dtype).batch_dependent
        return list(preprocess.batches(lengths, self.manifest.limits, alone, self.most_rows(row)))

    def _picture_batches(self, rows: Sequence[Mapping[str, Array]]) -> list[list[int]]:
        """The places of pictures that run together: those of one size, within the limits of a call and of the provider."""
        alone = dtype_named(self.dtype).batch_dependent or not self.manifest.samples
        return pictures.batches(rows, alone, self.most_rows)

    def most_rows(self, size: int) -> int:
        """The rows, of `size` bytes each, that may run together within the limits of a call and of the provider."""
        bounds = (providers.most_rows(self.settings), self.limits.batch, max(self.limits.bytes // size, 1))
        return min(bound for bound in bounds if bound is not None)

    @cached_property
    def head(self) -> NamedHead:
        """The kind of the model's outputs, and the names of their columns."""
        from edgexf_runtimes.head import NamedHead

        return NamedHead(self.manifest, self._open_tokenizer)

    @property
    def classifies(self) -> bool:
        """Whether the model gives each input a label, from logits [batch, labels]."""
        return self.head.classifies

    def prediction(self, given: Prepared, outputs: Mapping[str, Array], ms: float) -> Prediction:
        """A classifier's answer, from one row of outputs."""
        return prediction(self.manifest, given, [(dict(outputs), ms, 1)])

    @cached_property
    def model_sha256(self) -> str:
        """The digest of the manifest, which lists the hash of every file in the bundle."""
        return self.whole.digest or bundle.digest_of(self.whole.to_dict())
