"""Answers a stream of inputs: an iterator in, an iterator out, in the same order, within bounded memory.

    inputs -> `ahead` of them at a time -> batches of similar length -> answers in the order of the inputs

Two alternatives were weighed. One input at a time needs least memory, but its runs are small. Sorting the whole stream
pads least, but answers nothing before the last input is read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

from edgexf.checks import check_flag, each, is_choice, is_count
from edgexf.errors import AnswerError, EdgexfError, InputError, UsageError, quoted
from edgexf_runtimes.calls.call import check_limits
from edgexf_runtimes.calls.cancel import Cancel
from edgexf_runtimes.inputs.preprocess import Source

if TYPE_CHECKING:
    from edgexf.report.prediction import Features, Prediction
    from edgexf_runtimes.decoding import Prepared
    from edgexf_runtimes.predictor import Predictor
    from edgexf_runtimes.reading import Pair

AHEAD = 64  # inputs
ON_ERROR = ("raise", "return")


class Stream:
    """The answers to a stream of inputs; an iterator.

    Attributes:
        positions: the tokens that ran so far, padding included.
        tokens: the tokens of inputs among them.
    """

    def __init__(
        self, predictor: Predictor, inputs: Iterable[Source | Pair], truncate: bool, ahead: int, on_error: str,
        timeout: float | None, cancel: Cancel | None,
    ) -> None:  # fmt: skip
        if not is_choice(on_error, ON_ERROR):
            raise UsageError(
                f"on_error must be one of {', '.join(ON_ERROR)}, got {quoted(on_error)}; choose one of them."
            )
        if not is_count(ahead, 1):
            raise UsageError(
                f"ahead must be at least 1 input, got {quoted(ahead)}; choose how many are read before a run."
            )
        check_flag("truncate", truncate)
        given = each(inputs)
        if given is None:
            raise UsageError(
                f"a stream must be an iterable of inputs, got {type(inputs).__name__}; put one input into a list."
            )
        check_limits(timeout, cancel)
        self._predictor, self._inputs, self._truncate = predictor, given, truncate
        self._ahead, self._returns = min(ahead, sys.maxsize), on_error == "return"
        self._timeout, self._cancel = timeout, cancel
        self._answers = self._each()
        self.positions = self.tokens = 0

    def __iter__(self) -> Iterator[Prediction | Features | EdgexfError]:
        return self

    def __next__(self) -> Prediction | Features | EdgexfError:
        return next(self._answers)

    @property
    def padding(self) -> float:
        """The share of padding among the tokens that ran so far, 0 to 1."""
        return 1 - self.tokens / self.positions if self.positions else 0.0

    def _each(self) -> Iterator[Prediction | Features | EdgexfError]:
        sources, error = self._read()
        while sources:
            for answer in self._answered(sources):
                if isinstance(answer, EdgexfError) and not self._returns:
                    raise answer
                yield answer
            if error is not None:
                break
            sources, error = self._read()
        if error is not None:
            raise error

    def _read(self) -> tuple[list[Source | Pair], Exception | None]:
        """The next inputs, and the error of what gives them: those that it gave before are answered all the same."""
        sources: list[Source | Pair] = []
        try:
            sources.extend(islice(self._inputs, self._ahead))  # keeps what came before an error
        except Exception as error:  # noqa: BLE001 (raised behind the answers)
            return sources, error
        return sources, None

    def _answered(self, sources: list[Source | Pair]) -> list[Prediction | Features | EdgexfError]:
        """The answers to inputs that were read together, one call of the session. An input that can't be answered has
        its error in its place.
        """
        found: dict[int, Prediction | Features | EdgexfError] = {}
        prepared: dict[int, Prepared] = {}
        with self._predictor.graphs.calls.enter(self._timeout, self._cancel) as call:
            for place, source in enumerate(sources):
                call.check()
                try:
                    prepared[place] = self._predictor.prepare(source, self._truncate)
                except (InputError, UsageError) as error:
                    found[place] = error
            found.update(self._together(prepared))
        return [found[place] for place in range(len(sources))]

    def _together(self, prepared: dict[int, Prepared]) -> dict[int, Prediction | Features | EdgexfError]:
        """The answers by place. If the graph refuses a batch, each of its inputs is asked alone."""
        try:
            answers: dict[int, Prediction | Features | EdgexfError] = dict(
                zip(prepared, self._predictor.predict_prepared(list(prepared.values())), strict=True)
            )
        except (AnswerError, InputError) as error:
            if len(prepared) == 1:
                return dict.fromkeys(prepared, error)
        else:
            self._count([len(window.ids) for given in prepared.values() for window in given.windows])
            return answers
        return {place: answer for one in prepared.items() for place, answer in self._together(dict([one])).items()}

    def _count(self, lengths: list[int]) -> None:
        for batch in self._predictor.batches(lengths):
            self.tokens += sum(lengths[index] for index in batch)
            self.positions += len(batch) * max(lengths[index] for index in batch)
