"""Modules that make text of a size. A trace has another text for it than PyTorch, so they are refused by the line."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from pathlib import Path

import pytest
from modules import Between, exports, ids
from torch import Tensor

from edgexf.errors import ExportError

Compare = Callable[[Tensor], bool]


class Compares(Between):
    """Looks for one length by its text, and answers otherwise there."""

    def __init__(self, compare: Compare) -> None:
        super().__init__()
        self.compare = compare

    def between(self, _ids: Tensor, hidden: Tensor) -> Tensor:
        return hidden * 2 if self.compare(hidden) else hidden


def caught(hidden: Tensor) -> bool:
    with contextlib.suppress(Exception):
        return str(hidden.shape[1]) == "13"
    return False


@pytest.mark.parametrize(
    "compare",
    [
        lambda hidden: str(hidden.shape[1]) == "13",
        lambda hidden: f"{hidden.shape[1]:}" == "13",
        lambda hidden: "13" in repr(hidden.shape),
        lambda hidden: "%s" % hidden.shape[1] == "13",  # noqa: UP031 (as written by users)
        caught,
    ],
)
def test_text_of_a_size_is_refused_by_the_line(compare: Compare, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match=r"must not depend on the text of a size, .* at test_texts\.py:\d+ `"):
        exports(Compares(compare).eval(), (ids(2, 6),), tmp_path, max_length=20)


def test_a_log_may_hold_a_size(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def logged(hidden: Tensor) -> bool:
        logging.getLogger(__name__).warning("%s tokens", hidden.shape[1])
        return False

    exports(Compares(logged).eval(), (ids(2, 6),), tmp_path, max_length=20)
    assert "6 tokens" in caplog.text
