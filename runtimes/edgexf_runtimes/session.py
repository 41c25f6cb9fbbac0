"""An open bundle: predicts, and explains its answers.

In: a bundle's folder. Out: a `Session`, which is a `Predictor` that also explains.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgexf.checks import each, is_choice
from edgexf.errors import UsageError, quoted
from edgexf.progress import Steps, check_steps
from edgexf_runtimes.calls.call import Calls
from edgexf_runtimes.calls.cancel import Cancel
from edgexf_runtimes.calls.runs import OnRun
from edgexf_runtimes.candidates import Choices, first_that_opens
from edgexf_runtimes.device.arguments import check_arguments
from edgexf_runtimes.device.asked import Wanted
from edgexf_runtimes.device.distributions import warn_of_several
from edgexf_runtimes.device.dtype import warn
from edgexf_runtimes.device.messages import route
from edgexf_runtimes.device.profiles import BALANCED, Settings, profile_named
from edgexf_runtimes.device.providers import check_available
from edgexf_runtimes.finite import AUTO
from edgexf_runtimes.inputs.convert import joined
from edgexf_runtimes.inputs.files import INPUT_TIMEOUT
from edgexf_runtimes.inputs.limits import CallLimits, limits_of
from edgexf_runtimes.inputs.preprocess import Raw, Source
from edgexf_runtimes.opening import Checks
from edgexf_runtimes.predictor import Array, Inputs, Predictor
from edgexf_runtimes.reading import Pair
from edgexf_runtimes.remembered import OnDisk, Remembered, read
from edgexf_runtimes.stream import AHEAD, Stream

if TYPE_CHECKING:  # a process that only predicts imports nothing of explanations
    from edgexf.report.explanation import Explanation
    from edgexf.report.picture import PictureExplanation
    from edgexf_runtimes.explain.target import Target


def load(
    path: str | os.PathLike[str],
    dtype: str = "auto",
    threads: int | None = None,
    providers: Wanted | Sequence[Wanted] = ("cpu",),
    verify: str = "always",
    input_timeout: float = INPUT_TIMEOUT,
    *,
    profile: str | None = None,
    candidate: str = AUTO,
    tuned: str = AUTO,
    on_run: OnRun | None = None,
    limits: CallLimits | Mapping[str, Any] | None = None,
    nan: str = AUTO,
    strict: bool = True,
    check: str = "golden",
    cache: str | os.PathLike[str] | None = None,
    log_level: str | None = None,
    timeout: float | None = None,
    cancel: Cancel | None = None,
) -> Session:
    """Opens a bundle.

    `dtype` chooses the graphs. ``auto`` takes the dtype that was tuned, or that `edgexf_runtimes.device.dtype` chooses for this
    device.
    `threads` defaults to the number that this process may use. `profile` says what the session is tuned for: ``balanced``
    (the default), ``edge``, ``latency`` or ``throughput``; see `edgexf_runtimes.device.profiles`. `verify`: ``always`` hashes every listed file, ``once``
    those that were not hashed since they changed, ``never`` checks only names and sizes. `input_timeout` is the time in seconds that a named pipe or a device may give nothing when it
    is read as an input. `on_run` is called after each run of a graph, in the thread of the run, with a
    `edgexf_runtimes.calls.runs.Run`. `limits` bounds what one call brings: ``{"batch": rows, "bytes": bytes}``; see
    `edgexf_runtimes.inputs.limits`. `nan` says what happens to answers that are no finite numbers: ``raise``, ``flag`` or
    ``auto``; see `edgexf_runtimes.finite`. `timeout`, in seconds, bounds the opening,
    hashing included, and `cancel` ends it from another thread.

    `providers` names where the graphs run: a name, or a pair of a name and options, or several of these, the first one that
    can; see `edgexf_runtimes.device.asked`. With `strict`, no other provider runs a node that the named ones can't.
    `check`: ``golden`` runs the golden inputs of the bundle before it is used where it was not verified; see
    `edgexf_runtimes.opening`. `cache` is a folder that remembers what was checked, in place of the environment variable
    ``EDGEXF_CACHE``. `log_level` sends ONNX Runtime's messages of the whole process to the logger ``edgexf``.

    `candidate` names other graphs of the bundle that answer the same, ``portable`` its own; ``auto`` takes what
    `edgexf_runtimes.candidates` chooses. With ``tuned="auto"``, whatever the caller leaves open of `dtype`, `candidate`,
    `threads` and `profile` is as `edgexf tune` found it the fastest on this device; ``never`` does not look.

    Raises BundleError if the folder is not what was exported, DeviceError if a graph answers otherwise than its model on
    this device, UsageError for an unknown choice or a provider that is lacking, and TimedOut or Cancelled.
    """
    check_arguments(path, dtype, on_run, strict)
    asked_for = Choices(dtype, candidate, threads, profile, tuned)
    allowed = limits_of(limits)
    warn_of_several()
    if log_level is not None:
        route(log_level)
    settings = check_available(
        Settings(
            threads, providers, BALANCED if profile is None else profile_named(profile), strict, log_level or "error"
        )
    )
    remembered, on_disk = Remembered(cache), OnDisk(Path(path))
    checks = Checks(check, remembered, on_disk)
    with Calls().enter(timeout, cancel) as call:
        manifest = read(Path(path), verify, remembered, call.check)
        way = asked_for.settled(Path(path), manifest, settings, remembered)
        warn(Path(path), manifest, way.dtype)

        kept = checks if way.named else replace(checks, portable=manifest)

        def opened(name: str) -> Session:
            graphs = manifest.with_candidate(name)
            return Session(Path(path), graphs, way.dtype, way.settings, input_timeout, on_run, allowed, nan, kept, call)

        return first_that_opens(opened, way)


class Session(Predictor):
    """An open bundle that predicts and explains; a context manager.

    Several threads may use it at a time. `close` waits for their calls.
    """

    def run_explain(
        self, given: Mapping[str, Any] | None = None, /, *, method: str | None = None,
        timeout: float | None = None, cancel: Cancel | None = None, **inputs: Any,
    ) -> dict[str, Array]:  # fmt: skip
        """Runs an explain graph: the outputs of `run`, and ``relevance`` float32 [batch, sequence] and ``residual``
        float32 [batch].

        `inputs`, `timeout` and `cancel` are those of `run`. Inputs are also the arrays that say what is explained:

        - `target` float32 [batch, labels] weighs the logits. For an embedding, it is the vector [batch, width] that the
          embedding is compared with. By default, what the model predicts is explained.
        - `target_start` and `target_end` float32 [batch, sequence] weigh the logits of an answer's start and end. By
          default, the predicted answer is explained.
        - `position` int64 [batch] is the token whose answer is explained. A model that answers at each token needs it.
        - `baseline` and `path` are needed by integrated gradients; see `edgexf_runtimes.inputs.targets`.
        """
        from edgexf_runtimes.explain import graph

        with self.graphs.calls.enter(timeout, cancel):
            return graph.run_explain(self, self.method(method), joined(given, inputs))

    def method(self, method: str | None) -> str:
        """The explanation method to use: `method`, or the bundle's first method if `method` is None.

        Raises UsageError if the bundle does not hold the method in this session's dtype.
        """
        from edgexf_runtimes.explain import methods

        have, at_run_time = self.manifest.methods, ", ".join(known.name for known in methods.METHODS)
        if methods.find(method) is not None:
            raise UsageError(
                f"a method with a graph must be one of the bundle's in {self.dtype} ({', '.join(have) or 'none'}), got {quoted(method)}, which has no graph and runs the predict graph many times; explain an input by it instead."
            )
        if not have:
            raise UsageError(
                f"a bundle must hold an explain graph to explain by itself, got one without; export it with a method, or name one that needs none ({at_run_time})."
            )
        if method is not None and not is_choice(method, have) and is_choice(method, self.whole.methods):
            raise UsageError(
                f"method must be one of the bundle's in {self.dtype} ({', '.join(have)}), got {quoted(method)}, which it holds in fp32; load it with dtype='fp32' (--dtype fp32)."
            )
        if method is not None and not is_choice(method, have):
            raise UsageError(
                f"method must be one of the bundle's in {self.dtype} ({', '.join(have)}) or of the runtime's ({at_run_time}), got {quoted(method)}; choose one or export it."
            )
        return method or have[0]

    def explain(
        self,
        source: Source | Pair | Raw,
        target: Target = None,
        method: str | None = None,
        truncate: bool = False,
        *,
        position: int | str | None = None,
        seed: int = 0,
        budget: int | None = None,
        span: int = 1,
        time_limit: float | None = None,
        baseline: str | int | None = None,
        progress: Steps | None = None,
        timeout: float | None = None,
        cancel: Cancel | None = None,
    ) -> Explanation | PictureExplanation:
        """Explains why the model answers as it does.

        The input is a text, a pair of texts, bytes, a path, or a `Raw` that `read` returned; of a model of images a picture,
        as in `predict`.

        `target` is a label, or weights by label: ``{"c": 1, "python": -1}`` contrasts two labels. By default, what the
        model predicts is explained. See `edgexf_runtimes.explain.target` for heads without labels, and
        `explain.target.place` for `position`.

        `method` is a method of the bundle or of the runtime (`methods.METHODS`). The default is the bundle's first
        method. `explain.perturbation.Options` describes the options; each method takes some of them. `truncate` reads
        only the beginning of a text that is too long. `progress` is called with the number of rows or steps that a long
        method has run, and with their total. `timeout` and `cancel` are those of `run`; the scores of a call that ends late
        are discarded, while a `time_limit` gives the scores that were found in the time.
        """
        from edgexf_runtimes.explain import graph, methods, perturbation
        from edgexf_runtimes.explain.target import target_of

        check_steps(progress)
        with self.graphs.calls.enter(timeout, cancel):
            options, at_run_time = perturbation.Options(seed, budget, span, time_limit, baseline), methods.find(method)
            chosen = self.method(method) if at_run_time is None else ""
            given = self.prepare(source, truncate)
            question = target_of(self, given, target, position)
            (inputs,) = given.rows
            if at_run_time is not None:
                return perturbation.explain(self, at_run_time, inputs, question, options, progress)
            return graph.explain(self, chosen, inputs, question, options, progress)

    def rank(
        self, query: str, documents: Sequence[str], top_k: int | None = None, return_documents: bool = False,
        truncate: bool = False, stride: int | None = None, *, timeout: float | None = None, cancel: Cancel | None = None,
    ) -> Any:  # fmt: skip
        """The documents in the order in which they answer the query, by a cross-encoder: a list of ``{"corpus_id", "score"}``.

        See `edgexf_runtimes.tasks.reranking`, and `predict` for `truncate`, `stride`, `timeout` and `cancel`.
        """
        return self.predict(
            query, truncate, stride, timeout=timeout, cancel=cancel,
            documents=documents, top_k=top_k, return_documents=return_documents,
        )  # fmt: skip

    def embed(
        self, inputs: Source | Pair | Iterable[Source | Pair], *, prompt_name: str | None = None, prompt: str | None = None,
        dimensions: int | None = None, normalize: bool | None = None, truncate: bool = False, stride: int | None = None,
        timeout: float | None = None, cancel: Cancel | None = None,
    ) -> Array:  # fmt: skip
        """Embeds texts: float32 [texts, dim], or [dim] for a single text.

        The prompt named `prompt_name`, or the text `prompt`, stands before each text; by default the bundle's default
        prompt. `dimensions` keeps so many leading values, which get the length 1 again if the model's vectors have it, or
        as `normalize` says. `truncate` and `stride` are those of `predict`. See
        `edgexf_runtimes.embeddings.embedding`, also for where this differs from sentence-transformers.

        Raises UsageError for a bundle without ``sentence_embedding``, and the errors of `predict`.
        """
        from edgexf_runtimes.embeddings import embedding
        from edgexf_runtimes.inputs import preprocess

        with self.graphs.calls.enter(timeout, cancel) as call:
            chosen, prepared = embedding.prompt_of(self, prompt_name, prompt), []
            for source in preprocess.listed(inputs):
                call.check()
                prepared.append(self.prepare(self.read(source, chosen), truncate, stride))
            found = embedding.embed(self, prepared, dimensions, normalize)
            return found[0] if preprocess.is_single(inputs) else found

    def similarity(self, first: Array, second: Array) -> Array:
        """How alike two sets of embeddings are, float32 [first, second], by the measure that the bundle names.

        Raises UsageError for embeddings of different sizes.
        """
        from edgexf_runtimes.embeddings import embedding

        return embedding.similarity(embedding.about(self), first, second)

    def explain_similarity(
        self, first: Source | Raw, second: Source | Raw, method: str | None = None, truncate: bool = False, *,
        prompt_names: tuple[str | None, str | None] = (None, None),
        timeout: float | None = None, cancel: Cancel | None = None, **options: Any,
    ) -> tuple[Explanation, Explanation]:  # fmt: skip
        """Explains why two texts are alike: what the tokens of each add to the cosine of both embeddings.

        The first explanation is of the first text, whose target is the embedding of the second; the other is the reverse.
        `prompt_names` are the prompts of both, by default the bundle's. The rest is as in `explain`.
        """
        from edgexf_runtimes.embeddings.similarity import explain_similarity

        with self.graphs.calls.enter(timeout, cancel):
            explain: Any = partial(self.explain, method=method, truncate=truncate, **options)
            return explain_similarity(self, explain, (first, second), prompt_names, truncate)

    def warmup(
        self, lengths: Iterable[int], methods: Iterable[str] = (), *, timeout: float | None = None, cancel: Cancel | None = None
    ) -> None:  # fmt: skip
        """Runs made-up inputs, smallest first, so that later runs of these lengths find all memory in place.

        `lengths` are in bytes for a model of bytes, and in tokens for others. `methods` names the explain graphs to open
        and to run beside the predict graph. `timeout` and `cancel` are those of `run`.

        Raises UsageError for a length that the model does not take, and for a method without a graph.
        """
        from edgexf_runtimes.inputs import made

        listed = each(methods)
        if listed is None:
            raise UsageError(f"methods must be a list of names, got {quoted(methods)}; write [{quoted(methods)}].")
        with self.graphs.calls.enter(timeout, cancel):
            wanted, named = made.ascending(self.manifest, lengths), [self.method(method) for method in listed]
            for length in wanted:
                inputs = made.inputs(self.path, self.manifest, length)
                self.run(inputs)
                for method in named:
                    self.run_explain(made.explained(self.manifest, method, inputs), method=method)

    def stream(
        self, inputs: Iterable[Source | Pair], truncate: bool = False, *, ahead: int = AHEAD, on_error: str = "raise",
        timeout: float | None = None, cancel: Cancel | None = None,
    ) -> Stream:  # fmt: skip
        """Answers an iterator of inputs by an iterator of answers, in the same order, within bounded memory.

        `ahead` inputs are read, sorted by length and run in batches before the first of them is answered; with 1, each
        is answered when it is read. ``on_error="return"`` puts the error of an input that can't be answered in its
        place, where ``"raise"`` ends the stream. `timeout` bounds the work on each `ahead` inputs, not the time in which
        `inputs` gives them. `Stream.padding` is the share of padding among the tokens that ran.

        Raises UsageError for arguments out of range; the iterator raises the errors of `predict`.
        """
        return Stream(self, inputs, truncate, ahead, on_error, timeout, cancel)

    async def run_async(
        self, given: Mapping[str, Any] | None = None, /, *, timeout: float | None = None, cancel: Cancel | None = None,
        **inputs: Any,
    ) -> dict[str, Array]:  # fmt: skip
        """`run`, awaited: it runs in a thread of the session. Cancelling the task that awaits it ends the run."""
        return await self.graphs.background.call(self.run, joined(given, inputs), timeout=timeout, cancel=cancel)

    async def run_explain_async(
        self, given: Mapping[str, Any] | None = None, /, *, method: str | None = None,
        timeout: float | None = None, cancel: Cancel | None = None, **inputs: Any,
    ) -> dict[str, Array]:  # fmt: skip
        """`run_explain`, awaited as `run_async`."""
        run = partial(self.run_explain, method=method)
        return await self.graphs.background.call(run, joined(given, inputs), timeout=timeout, cancel=cancel)

    async def predict_async(
        self, inputs: Inputs = None, truncate: bool = False, stride: int | None = None,
        *, timeout: float | None = None, cancel: Cancel | None = None, **options: Any,
    ) -> Any:  # fmt: skip
        """`predict`, awaited as `run_async`."""
        run = partial(self.predict, **options)
        return await self.graphs.background.call(run, inputs, truncate, stride, timeout=timeout, cancel=cancel)

    async def explain_async(
        self, source: Source | Pair | Raw, target: Target = None, method: str | None = None, truncate: bool = False,
        *, timeout: float | None = None, cancel: Cancel | None = None, **options: Any,
    ) -> Explanation | PictureExplanation:  # fmt: skip
        """`explain`, awaited as `run_async`. `options` are those of `explain`."""
        run = partial(self.explain, **options)
        return await self.graphs.background.call(run, source, target, method, truncate, timeout=timeout, cancel=cancel)
