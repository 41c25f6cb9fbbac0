"""The predictor: runs the predict graph, from arrays to arrays and from inputs to answers. It does not explain.

In: a bundle's folder, its manifest and a dtype. Out: a `Predictor`. The predictor opens each graph when it is first
needed, so a process that only predicts never holds an explain graph.

    text, bytes, path -> read -> Raw -> tokens -> arrays -> Prepared -> predict graph -> the task's answer
    picture           -> read -> Picture        -> arrays -> Prepared -> predict graph -> the task's answer
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
from edgexf.bundle.preprocess import Image, Text
from edgexf.dtypes import dtype_named
from edgexf.errors import UsageError
from edgexf_runtimes import pictures
from edgexf_runtimes.calls.call import Call
from edgexf_runtimes.calls.cancel import Cancel
from edgexf_runtimes.calls.forking import LIVE
from edgexf_runtimes.calls.runs import OnRun
from edgexf_runtimes.decoding import Answer, Prepared, rows_of
from edgexf_runtimes.device import providers
from edgexf_runtimes.device.profiles import Settings
from edgexf_runtimes.device.session_options import threads_of
from edgexf_runtimes.finite import AUTO, refuses
from edgexf_runtimes.graphs import Graphs
from edgexf_runtimes.inputs import preprocess
from edgexf_runtimes.inputs.checks import checks_of
from edgexf_runtimes.inputs.contract import Contract
from edgexf_runtimes.inputs.convert import joined
from edgexf_runtimes.inputs.files import INPUT_TIMEOUT
from edgexf_runtimes.inputs.limits import CallLimits
from edgexf_runtimes.inputs.preprocess import Raw, Source
from edgexf_runtimes.opening import Checks, Opening
from edgexf_runtimes.reading import InputReader, Pair

if TYPE_CHECKING:  # an application waits for the imports of the runtime, so these are imported at their first use
    from edgexf.report.prediction import Prediction
    from edgexf_runtimes.device.placement import Placement
    from edgexf_runtimes.head import NamedHead
    from edgexf_runtimes.inputs.text import Encoded
    from edgexf_runtimes.tasks.task import Task

Array = npt.NDArray[Any]
Inputs = Source | Pair | Mapping[str, Any] | Iterable[Source | Pair | Mapping[str, Any]] | None


class Predictor(InputReader):
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
        super().__init__(path, manifest.in_dtype(dtype), input_timeout)
        self.whole = manifest  # of the whole bundle; `manifest` holds only the graphs in this session's dtype
        self.dtype = dtype
        self.settings = settings
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
        self, inputs: Inputs = None, truncate: bool = False, stride: int | None = None,
        *, timeout: float | None = None, cancel: Cancel | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """Answers texts, bytes, paths, and pairs of texts as tuples, in the order given, as the pipeline of transformers for
        the bundle's task answers them.

        A list of inputs gives a list of answers. A single input gives its answer, of a classifier in a list, as the
        pipeline does; a dict gives its answer alone. `options` are those of the task, such as ``top_k``, ``aggregation_strategy``, ``question`` and
        ``context``, or ``candidate_labels``; see `edgexf_runtimes.tasks`. Every answer also has attributes: ``input``,
        ``truncated``, ``ms``, ``windows``, ``batch``.

        A text model also takes `truncate` and `stride`; see `Tokenizer.encode`, and ``joins`` of the task for what becomes
        of the windows. See `preprocess.read_raw` and `preprocess.read_text` for errors, and `run` for `timeout` and
        `cancel`.
        """
        with self.graphs.calls.enter(timeout, cancel) as call:
            task = self.task(**options)
            asked = task.asked(self, inputs)
            questions = []
            for sources in asked.questions:
                call.check()
                questions.append([self.prepare(source, truncate, stride, task) for source in sources])
            return task.shaped(self.answers(task, questions), asked.single)

    def task(self, **options: Any) -> Task:
        """What this bundle does, with the options of a call. Raises UsageError for an option that it does not take."""
        from edgexf_runtimes.tasks.choose import task_of

        return task_of(self.head, options)

    def prepare(
        self, source: Source | Pair | Raw, truncate: bool = False, stride: int | None = None, task: Task | None = None
    ) -> Prepared:
        """Reads and tokenizes an input for `answers`. Raises the errors that concern this input alone."""
        if isinstance(self.manifest.preprocess, Image):
            return pictures.prepared(
                self.manifest.preprocess, pictures.read(source, self.input_timeout), truncate, stride, self._checks
            )
        return self.check_windows(*self.tokenized(source, truncate, stride, task))

    def tokenized(
        self, source: Source | Pair | Raw, truncate: bool = False, stride: int | None = None, task: Task | None = None
    ) -> tuple[Raw, list[Encoded], int]:
        """`prepare` without a look at the tokens: the input, its windows, and the tokens that they share."""
        raw = self.read(source)
        if self.manifest.decoder is not None:
            raise UsageError(
                f"an answer in one step is for models without a decoder, got {self.manifest.name}, which writes token by token; call session.run(**session.encode(text), decoder_input_ids=...)."
            )
        reading = (task or self.task()).reading(truncate, stride)
        return raw, self.windows(raw, reading), reading.stride or 0

    def check_windows(self, raw: Raw, windows: Sequence[Encoded], stride: int = 0) -> Prepared:
        """Looks at each window alone, for errors that a batch could hide: too few tokens, missing separators. The arrays
        are kept, so that a window that runs alone is not checked again.
        """
        return Prepared(raw, windows, [self.arrays([window]) for window in windows], stride)

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
            reading = self.task().reading(truncate, stride)
            windows = [window for raw in read for window in self.windows(raw, reading)]
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
        for row, window in enumerate(windows):
            if window.prompt:
                mask[row, : window.prompt] = names.PROMPT_MARK
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

    def predict_prepared(self, inputs: Sequence[Prepared]) -> list[Any]:
        """Answers in the order given, without options."""
        return self.answers(self.task(), [[given] for given in inputs])

    def answers(self, task: Task, questions: Sequence[Sequence[Prepared]]) -> list[Any]:
        """The answer to each question, in the order given. Windows of similar length run together if rows are independent."""
        inputs = [given for question in questions for given in question]
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
        return self.decoded(task, questions, [answers[index] for index in range(len(windows))])

    def decoded(self, task: Task, questions: Sequence[Sequence[Prepared]], answers: Iterable[Answer]) -> list[Any]:
        """What the answers of all windows say about the questions, both in one order."""
        in_order = iter(answers)
        return [
            task.answer(self, question, [[next(in_order) for _ in given.windows] for given in question])
            for question in questions
        ]

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

        return NamedHead(self.manifest, lambda: self.tokenizer)

    @property
    def refuses_nan(self) -> bool:
        """Whether an answer that is no finite numbers is refused; see `edgexf_runtimes.finite`."""
        return self.graphs.refuses

    @property
    def classifies(self) -> bool:
        """Whether the model gives each input a label, from logits [batch, labels]."""
        return self.head.classifies

    def prediction(self, given: Prepared, outputs: Mapping[str, Array], ms: float) -> Prediction:
        """A classifier's answer, from one row of outputs."""
        from edgexf_runtimes.tasks.classification import prediction

        return prediction(self.manifest, given, [(dict(outputs), ms, 1)])

    @cached_property
    def model_sha256(self) -> str:
        """The digest of the manifest, which lists the hash of every file in the bundle."""
        return self.whole.digest or bundle.digest_of(self.whole.to_dict())
