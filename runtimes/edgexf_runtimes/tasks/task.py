"""What is asked of a bundle: the base of every task.

In: inputs as a caller gives them, and the options of a task as fields. Out: how the inputs are read, and what their
outputs answer, in the shape of transformers' pipeline of that task.

    inputs -> `asked` -> questions, each of one source or more -> windows -> runs -> `answer` -> `shaped`

A new task is a subclass in a file of its own and its line in `choose.TASKS`. Two alternatives were weighed. Functions for
each stage in a dictionary by task would spread one task over several tables. A method of the session for each task would
make code that takes any bundle impossible to write.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from edgexf.checks import is_count, require_choice
from edgexf.records import Record
from edgexf_runtimes.decoding import Answer, Prepared
from edgexf_runtimes.inputs import preprocess
from edgexf_runtimes.inputs.text import Reading

if TYPE_CHECKING:
    from edgexf.bundle.manifest import Manifest
    from edgexf.report.answers import Facts
    from edgexf_runtimes.head import NamedHead
    from edgexf_runtimes.inputs.text import Tokenizer

Found = Sequence[Sequence[Answer]]  # the answers of each window, for each source of a question


class OpenBundle(Protocol):
    """What a task knows of an open bundle; a `Predictor` is one."""

    @property
    def manifest(self) -> Manifest: ...

    @property
    def head(self) -> NamedHead: ...

    @property
    def tokenizer(self) -> Tokenizer: ...

    @property
    def refuses_nan(self) -> bool:
        """Whether the bundle refuses an answer that is no finite numbers; see `edgexf_runtimes.finite`."""

    def json_file(self, name: str) -> Mapping[str, Any]:
        """The values of a JSON file of the bundle; empty if it has no such file."""

    def named_token(self, use: str) -> str | None:
        """The token for a use, such as ``mask_token``; None for no token."""

    def named_id(self, use: str) -> int | None:
        """The id of `named_token`."""


class Asked(Record):
    """The questions of a call.

    Attributes:
        questions: the sources of each question.
        single: the answer to the only question stands alone, not in a list.
    """

    questions: Sequence[Sequence[Any]]
    single: bool


class Task(Record, ABC):
    """What is asked of a bundle. The fields of a subclass are the options that a caller may give.

    Attributes:
        name: the name on the Hugging Face hub.
        needs: an option without which the bundle does another task; empty for none.
        joins: how the answers of several windows become one, for documentation and errors; empty if they can't.
    """

    name: ClassVar[str]
    needs: ClassVar[str] = ""
    joins: ClassVar[str] = ""

    @classmethod
    @abstractmethod
    def fits(cls, head: NamedHead) -> bool:
        """Whether a bundle with this head does the task."""

    def reading(self, truncate: bool, stride: int | None) -> Reading:
        """How the sources are read."""
        return Reading(truncate, stride)

    def asked(self, bundle: OpenBundle, inputs: Any) -> Asked:  # noqa: ARG002 (of other tasks)
        """The questions to a bundle in the inputs of a call. UsageError for what is no input."""
        return Asked([[source] for source in preprocess.listed(inputs)], preprocess.is_single(inputs))

    @abstractmethod
    def answer(self, bundle: OpenBundle, given: Sequence[Prepared], found: Found) -> Any:
        """The answer to one question, from the windows of each of its sources and what the graph answered to each."""

    def shaped(self, answers: list[Any], single: bool) -> Any:
        """The answers as the pipeline returns them."""
        return answers[0] if single else answers


def facts_of(bundle: OpenBundle, given: Sequence[Prepared], found: Found) -> Facts:
    """How the answer to one question came about. A bundle that refuses other than finite numbers has looked for them."""
    from edgexf.report.answers import Facts
    from edgexf_runtimes.finite import not_finite

    answers = [answer for each in found for answer in each]
    return Facts(
        given[0].raw.name,
        any(one.truncated for one in given),
        sum(ms for _, ms, _ in answers),
        len(answers),
        max(batch for _, _, batch in answers),
        bundle.refuses_nan or all(not_finite(outputs) is None for outputs, _, _ in answers),
    )


def check_count(name: str, value: object, least: int = 1) -> None:
    """Raises UsageError for an option that is no whole number of at least `least`."""
    require_choice(
        is_count(value, least), f"{name} must be a whole number of at least {least}", value, "choose another"
    )
