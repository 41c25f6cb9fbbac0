"""Any value in the place of any argument: it is taken where it is one, else a sentence says what it must be.

The table `TAKEN` names the values of `VALUES` that an argument takes. Every other one must raise an EdgexfError, so that a
raw TypeError fails here, and so does a wrong value that is taken for a right one.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import DATA

import edgexf
from edgexf.errors import ClosedError, EdgexfError, quoted
from edgexf_runtimes import Session, attribute
from edgexf_runtimes.inputs.preprocess import Raw

BUNDLES = DATA / "bundles" / "v1"
IDS = np.array([[0, 5, 6, 7], [0, 8, 9, 7]])
WORDS = "w1 w2"


class Unprintable:
    def __repr__(self) -> str:
        raise ValueError("no text")


class Incomparable:
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError("no comparison")


class Unopenable(os.PathLike[str]):
    def __fspath__(self) -> str:
        raise RuntimeError("no path")


class Raising:
    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("the device is gone")


def plain(*_: Any) -> None: ...


VALUES: dict[str, Any] = {
    "none": None, "true": True, "zero": 0, "five": 5, "negative": -1, "float": 1.5, "nan": float("nan"), "inf": float("inf"),
    "huge": 10**5000, "complex": 1j, "numpy int": np.int64(3), "numpy float": np.float32(2), "empty text": "", "text": "x" * 300,
    "line break": "a\nb", "surrogate": "\ud800", "null": "a\0b", "bytes": b"x", "empty bytes": b"", "bytearray": bytearray(b"a"),
    "view": memoryview(b"a"), "list": [1], "empty list": [], "list of none": [None], "tuple": (1,), "empty tuple": (),
    "pair": (1, 2), "dict": {1: 2}, "empty dict": {}, "range": range(3), "object": object(), "type": int, "function": plain,
    "unprintable": Unprintable(), "incomparable": Incomparable(), "unopenable": Unopenable(), "raising": Raising(),
    "array": np.zeros(2), "array of text": np.array(["a", "b"]), "array without axes": np.array("cpu"),
    "masked": np.ma.masked_equal([1, 2], 1), "path": Path("missing"), "long path": Path("a" * 300), "raw": Raw("x", b"a", False),
}  # fmt: skip
SECONDS = {"five", "float"}
TRUNCATE = {"true"}

# What each argument of a call takes, beside the value that stands for its default.
OF_LOAD: dict[str, set[str]] = {
    "path": set(), "dtype": set(), "providers": set(), "verify": set(), "profile": {"none"}, "nan": set(), "check": set(),
    "threads": {"none", *({"five"} if (os.cpu_count() or 1) > 1 else ())}, "input_timeout": SECONDS, "timeout": {"none", *SECONDS}, "cancel": {"none"},
    "strict": {"true"}, "on_run": {"none", "type", "function"}, "limits": {"none", "empty dict"}, "log_level": {"none"},
    "cache": {"none", "text", "line break", "path", "long path"}, "candidate": set(), "tuned": set(),
}  # fmt: skip


def taken(call: Callable[[Any], Any]) -> set[str]:
    """The values that a call takes. Each other one must raise an EdgexfError of one sentence."""
    found = set()
    for name, value in VALUES.items():
        try:
            call(value)
        except EdgexfError as error:
            said = str(error)
            assert re.fullmatch(r"[^\n]+ (must|may|is|needs?|can) [^\n]+ got [^\n]+; [^\n]+\.", said), (name, said)
            assert len(said) < 1_000
        else:
            found.add(name)
    return found


@pytest.mark.parametrize(("argument", "wanted"), OF_LOAD.items())
def test_an_argument_of_load_takes_what_it_must_be_and_nothing_else(argument: str, wanted: set[str]) -> None:
    given = {"path": BUNDLES / "linformer", "dtype": "fp32", "verify": "never", "check": "never"}
    assert taken(lambda value: edgexf.load(**{**given, argument: value}).close()) == wanted


@pytest.fixture(scope="module")
def sessions() -> Iterator[dict[str, Session]]:
    """A classifier of bytes, and a model that reads text and answers at each token."""
    found = {name: edgexf.load(BUNDLES / name, dtype="fp32") for name in ("linformer", "tokens")}
    yield found
    for session in found.values():
        session.close()


TEXTS = {"text", "line break", "null", "bytes", "raw"}
MANY = {"empty list", "array of text"}  # a tuple is a pair of texts, of which an empty one has none
OF_EXPLAIN: dict[str, set[str]] = {
    "target": {"none", "empty dict"}, "method": {"none"}, "truncate": TRUNCATE, "position": {"none"},
    "seed": {"zero"}, "budget": {"none"}, "span": set(), "time_limit": {"none"}, "baseline": {"none"},
    "progress": {"none", "type", "function"}, "timeout": {"none", *SECONDS}, "cancel": {"none"},
}  # fmt: skip


@pytest.mark.parametrize(("argument", "wanted"), OF_EXPLAIN.items())
def test_an_argument_of_explain_takes_what_it_must_be_and_nothing_else(
    sessions: dict[str, Session], argument: str, wanted: set[str]
) -> None:
    assert taken(lambda value: sessions["linformer"].explain("abc", **{argument: value})) == wanted


# Of the methods of arrays too: the same options, and a token id in place of a text.
OF_ATTRIBUTE: dict[str, set[str]] = {
    "method": set(), "inputs": set(), "targets": {"none", "empty dict"}, "baseline": {"none", "zero", "five", "numpy int"},
    "seed": set(), "budget": {"none"}, "span": {"five"}, "time_limit": {"none", *SECONDS}, "progress": {"none", "function"},
}  # fmt: skip


@pytest.mark.parametrize(("argument", "wanted"), OF_ATTRIBUTE.items())
def test_an_argument_of_attribute_takes_what_it_must_be_and_nothing_else(
    sessions: dict[str, Session], argument: str, wanted: set[str]
) -> None:
    def call(value: Any) -> Any:
        given = {"method": "occlusion", "inputs": {"input_ids": IDS}, "baseline": 3, argument: value}
        if value is int:  # a caller's own function, which raises its own error
            raise EdgexfError("a function must be one of two numbers, got int; leave it out.")
        return attribute(sessions["linformer"], **given)

    assert taken(call) == wanted | ({"zero"} if argument == "seed" else set())


Calls = dict[str, tuple[str, Callable[[Session, Any], Any], set[str]]]
CALLS: Calls = {
    "predict": ("linformer", lambda s, v: s.predict(v), TEXTS | MANY),
    "predict a list": ("linformer", lambda s, v: s.predict(["a", v]), TEXTS),
    "predict truncated": ("linformer", lambda s, v: s.predict("a", v), TRUNCATE),
    "predict with a stride": ("linformer", lambda s, v: s.predict("a", stride=v), {"none"}),
    "predict text": ("tokens", lambda s, v: s.predict(v), {"text", "line break", "null", "bytes", *MANY}),
    "predict text truncated": ("tokens", lambda s, v: s.predict(WORDS, v), TRUNCATE),
    "encode": ("linformer", lambda s, v: s.encode(v), {*TEXTS, "array of text"}),
    "encode with a stride": ("tokens", lambda s, v: s.encode(WORDS, stride=v), {"none", "zero", "five", "huge"}),
    "read": ("tokens", lambda s, v: s.read(v), {"text", "line break", "null", "bytes"}),
    "explain": ("linformer", lambda s, v: s.explain(v), TEXTS),
    "position": ("tokens", lambda s, v: s.explain(WORDS, position=v), {"none", "zero", "negative", "numpy int"}),
    "run by position": ("linformer", lambda s, v: s.run(v), set()),
    "run": ("linformer", lambda s, v: s.run(input_ids=v), set()),
    "run with a mask": ("linformer", lambda s, v: s.run(input_ids=IDS, attention_mask=v), {"none"}),
    "run with a timeout": ("linformer", lambda s, v: s.run(input_ids=IDS, timeout=v), {"none", *SECONDS}),
    "run with globals": ("tokens", lambda s, v: s.run(input_ids=IDS, global_attention_mask=v), {"none"}),
    "run_explain": ("linformer", lambda s, v: s.run_explain(input_ids=IDS, target=v), {"none"}),
    "run_explain a method": ("linformer", lambda s, v: s.run_explain(input_ids=IDS, method=v), {"none"}),
    "run_explain at": ("tokens", lambda s, v: s.run_explain(input_ids=IDS, position=v), {"pair"}),
    "stream": ("linformer", lambda s, v: list(s.stream(v)), {*MANY, "empty tuple"}),
    "stream a list": ("linformer", lambda s, v: list(s.stream([v])), TEXTS),
    "stream ahead": ("linformer", lambda s, v: list(s.stream(["a"], ahead=v)), {"five", "huge"}),
    "stream with errors": ("linformer", lambda s, v: list(s.stream(["a"], on_error=v)), set()),
    "stream truncated": ("linformer", lambda s, v: s.stream(["a"], v), TRUNCATE),
    "warmup": ("linformer", lambda s, v: s.warmup(v), {"list", "tuple", "pair", "empty list", "empty tuple"}),
    "warmup methods": ("linformer", lambda s, v: s.warmup([8], v), {"list of none", "empty list", "empty tuple"}),
    "placement": ("linformer", lambda s, v: s.placement(v), set()),
    "run_async": ("linformer", lambda s, v: asyncio.run(s.run_async(v)), set()),
    "run_async in time": ("linformer", lambda s, v: asyncio.run(s.run_async(input_ids=IDS, timeout=v)), {"none", *SECONDS}),
    "predict_async": ("linformer", lambda s, v: asyncio.run(s.predict_async(v)), TEXTS | MANY),
    "explain_async": ("linformer", lambda s, v: asyncio.run(s.explain_async(v)), TEXTS),
    "explain_async a method": ("linformer", lambda s, v: asyncio.run(s.explain_async("a", method=v)), {"none"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CALLS)
def test_a_call_takes_what_it_must_be_given_and_nothing_else(sessions: dict[str, Session], name: str) -> None:
    model, call, wanted = CALLS[name]
    assert taken(lambda value: call(sessions[model], value)) == wanted


def test_a_value_in_an_error_is_short_and_never_raises() -> None:
    assert quoted("npu") == "'npu'"
    assert quoted(Unprintable()) == "Unprintable"
    assert quoted(10**5000) == "int"
    assert len(quoted("x" * 10_000)) < 210
    assert (
        str(EdgexfError("a path must be plain, got a\nb\r; rename it."))
        == r"a path must be plain, got a\nb\r; rename it."
    )


def test_a_raw_input_holds_what_read_returns(sessions: dict[str, Session]) -> None:
    for wrong in (("x", "abc", False), (None, None, None), ("x", bytearray(b"a"), False)):
        with pytest.raises(EdgexfError, match=r"a Raw must hold a name and bytes, got .*; call session\.read"):
            Raw(*wrong)
    with pytest.raises(EdgexfError, match="must hold its text, got x without"):  # else the empty text is answered
        sessions["tokens"].predict(Raw("x", b"w1 w2", False))


def test_a_length_is_a_whole_number_also_of_numpy(sessions: dict[str, Session]) -> None:
    sessions["linformer"].warmup(np.array([8, 9]))
    with pytest.raises(EdgexfError, match=r"lengths must be .* got True"):
        sessions["linformer"].warmup([True])


def test_names_of_inputs_need_not_be_text(sessions: dict[str, Session]) -> None:
    for name in (3, Unprintable(), None, ("a",)):
        with pytest.raises(EdgexfError, match=r"inputs must be among the model's .* got .*; leave it out"):
            sessions["linformer"].run({"input_ids": IDS, name: 5})


def test_what_a_stream_read_before_an_error_of_its_source_is_answered() -> None:
    def source() -> Iterator[str]:
        yield from ("a", "b")
        raise KeyError("of the caller")

    with edgexf.load(BUNDLES / "linformer", dtype="fp32") as session:
        for ahead in (1, 2, 64):
            answers = session.stream(source(), ahead=ahead)
            assert len([next(answers), next(answers)]) == 2
            with pytest.raises(KeyError, match="of the caller"):
                next(answers)


def test_a_closed_session_says_so_in_each_of_its_methods() -> None:
    session = edgexf.load(BUNDLES / "linformer", dtype="fp32")
    begun = session.stream(["a", "b"], ahead=1)
    next(begun)
    session.close()
    session.close()  # twice does no harm
    session.cancel()
    ids = {"input_ids": IDS}
    calls: list[Callable[[], Any]] = [
        lambda: session.run(ids), lambda: session.run(5), lambda: session.predict([]), lambda: session.encode("a"),
        lambda: session.explain("a"), lambda: session.explain("a", method="occlusion"), lambda: session.run_explain(ids),
        lambda: next(begun), lambda: list(session.stream(["a"])), session.shrink, lambda: session.warmup([5]),
        session.placement, lambda: attribute(session, "occlusion", ids, baseline=3), session.__enter__,
        *(lambda call=call: asyncio.run(call("a")) for call in (session.predict_async, session.explain_async)),
        *(lambda call=call: asyncio.run(call(ids)) for call in (session.run_async, session.run_explain_async)),
    ]  # fmt: skip
    for call in calls:
        with pytest.raises(ClosedError, match="must be open to be used, got a closed one"):
            call()
