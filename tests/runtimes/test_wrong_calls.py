"""Wrong calls of a session, as a table: each is one sentence of an EdgexfError, with the row where there is one."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from small import DATA

import edgexf
from edgexf.bundle.manifest import Graph, Limits, Manifest, Tensor
from edgexf.bundle.signature import Axis, Signature, Within
from edgexf.errors import EdgexfError, InputError, UsageError
from edgexf_runtimes import Session, attribute
from edgexf_runtimes.inputs.checks import FEW, TokenChecks, check_inputs, checks_of
from edgexf_runtimes.inputs.contract import Contract
from edgexf_runtimes.inputs.limits import CallLimits

BUNDLES = DATA / "bundles" / "v1"
IDS = np.array([[0, 5, 6, 7], [0, 8, 9, 7]])
ONES = np.ones_like(IDS)
HUGE = np.broadcast_to(np.int64(3), (1 << 20, 1 << 20))  # 7 TiB, if anything copies it


class Raising:
    """An object whose conversion fails."""

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("the device is gone")


class HugeTensor(Raising):
    """A tensor of another library, whose conversion would take the whole memory."""

    shape = (1 << 20, 1 << 20)

    def __array__(self, *_: Any, **__: Any) -> Any:
        raise AssertionError("the tensor was converted")


def nested(depth: int) -> list[Any]:
    """Lists in lists, two in each: 2^depth numbers out of few objects."""
    found: list[Any] = [1, 1]
    for _ in range(depth):
        found = [found, found]
    return found


@pytest.fixture(scope="module")
def sessions() -> Iterator[Callable[[str], Session]]:
    opened: dict[str, Session] = {}

    def session(name: str) -> Session:
        if name not in opened:
            opened[name] = edgexf.load(BUNDLES / name, dtype="fp32")
        return opened[name]

    yield session
    for one in opened.values():
        one.close()


def put(array: np.ndarray[Any, Any], value: Any, row: int = 1, place: int = 2) -> np.ndarray[Any, Any]:
    """A copy with one other value."""
    found = array.copy()
    found[row, place] = value
    return found


ARRAYS: list[tuple[str, dict[str, Any], str]] = [
    ("linformer", {"input_ids": put(IDS, 258)}, r"0 to 257, got 258 in row 1"),
    ("linformer", {"input_ids": put(IDS, -1)}, r"0 to 257, got -1 in row 1"),
    ("linformer", {"input_ids": put(IDS.astype(np.int8), -1)}, r"got -1 in row 1"),
    ("linformer", {"input_ids": put(IDS.astype(np.uint64), 2**64 - 1)}, r"fit into int64, got 18446744073709551615 in row 1"),
    ("linformer", {"input_ids": np.zeros((0, 4), dtype=np.int64)}, r"at least one row, got int64 \[0, 4\]"),
    ("linformer", {"input_ids": np.zeros((2, 0), dtype=np.int64)}, r"at least one row, got int64 \[2, 0\]"),
    ("linformer", {"input_ids": []}, r"at least one row, got list \[0\]"),
    ("linformer", {"input_ids": [[]]}, r"at least one row, got list \[1, 0\]"),
    ("linformer", {"input_ids": IDS[:, :1]}, r"2 to 100 tokens a row, got 1"),
    ("linformer", {"input_ids": np.zeros((1, 101), dtype=np.int64)}, r"2 to 100 tokens a row, got 101"),
    ("linformer", {"input_ids": IDS[0]}, r"\[batch, sequence\] .* got int64 \[4\]"),
    ("linformer", {"input_ids": IDS[None]}, r"got int64 \[1, 2, 4\]"),
    ("linformer", {"input_ids": 5}, r"got int;"),
    ("linformer", {"input_ids": "words"}, r"got the text 'words'"),
    ("linformer", {"input_ids": b"bytes"}, r"got bytes"),
    ("linformer", {"input_ids": [["a", "b"]]}, r"whole numbers .* got <U1 \[1, 2\]"),
    ("linformer", {"input_ids": [[1, 2], [3]]}, r"got list \(ValueError"),
    ("linformer", {"input_ids": [[1, None]]}, r"got object \[1, 2\]"),
    ("linformer", {"input_ids": IDS.astype(object)}, r"got object \[2, 4\]"),
    ("linformer", {"input_ids": IDS.astype(np.float64)}, r"whole numbers .* got float64"),
    ("linformer", {"input_ids": IDS > 3}, r"whole numbers .* got bool"),
    ("linformer", {"input_ids": IDS.astype("m8[s]")}, r"got timedelta64"),
    ("linformer", {"input_ids": np.ma.masked_equal(IDS, 7)}, r"got a masked array; give its values"),
    ("linformer", {"input_ids": list(np.ma.masked_equal(IDS, 7))}, r"got a masked array; give its values"),
    ("linformer", {"input_ids": Raising()}, r"got Raising \(RuntimeError: the device is gone\)"),
    ("linformer", {"input_ids": HUGE}, r"2 to 100 tokens a row, got 1048576"),
    ("linformer", {"input_ids": HugeTensor()}, r"2 to 100 tokens a row, got 1048576"),
    ("linformer", {"input_ids": np.broadcast_to(0, (1 << 30, 9))}, r"at most 2,147,483,648 bytes, .* got 154,618,822,656"),
    ("linformer", {"input_ids": HUGE.T[:9], "attention_mask": HUGE}, r"2 to 100 tokens"),
    ("linformer", {"input_ids": nested(40)}, r"\[batch, sequence\]"),
    ("linformer", {"input_ids": [range(1 << 40)]}, r"2 to 100 tokens a row, got 1099511627776"),
    ("linformer", {}, r"must bring input_ids, got none"),
    ("linformer", {"attention_mask": ONES}, r"must bring input_ids, got attention_mask"),
    ("linformer", {"input_ids": IDS, "pixels": IDS}, r"among the model's .* got pixels"),
    ("linformer", {"input_ids": IDS, "attention_mask": ONES[:1]}, r"shape of input_ids \[2, 4\], got \[1, 4\]"),
    ("linformer", {"input_ids": IDS, "attention_mask": put(ONES, 2)}, r"ones and then zeros .* got 2 in row 1"),
    ("linformer", {"input_ids": IDS, "attention_mask": put(ONES, -1)}, r"got -1 in row 1"),
    ("linformer", {"input_ids": IDS, "attention_mask": put(ONES, 0)}, r"got another order in row 1"),
    ("linformer", {"input_ids": IDS, "attention_mask": put(ONES, 0, 1, 0)}, r"got another order in row 1"),
    ("linformer", {"input_ids": IDS, "attention_mask": ONES * [[1], [0]]}, r"got zeros alone in row 1"),
    ("linformer", {"input_ids": IDS, "attention_mask": ONES * 0.5}, r"whole numbers .* got float64"),
    ("choices", {"input_ids": np.full((2, 3, 5), 50)}, r"0 to 49, got 50 in row 0, choice 0"),
    ("choices", {"input_ids": IDS}, r"\[batch, choices, sequence\]"),
    ("answers", {"input_ids": IDS, "token_type_ids": put(ONES, 2)}, r"token_type_ids must be 0 to 1, got 2 in row 1"),
    ("tokens", {"input_ids": IDS, "global_attention_mask": put(ONES * 0, 3)}, r"0 to 1, got 3 in row 1"),
    ("tokens", {"input_ids": IDS, "global_attention_mask": ONES * [[0], [1]]}, r"at most 2 global tokens, got 4 in row 1"),
    ("decoder", {"input_ids": IDS, "decoder_input_ids": put(IDS, 50)}, r"decoder_input_ids must be 0 to 49, got 50 in row 1"),
    ("decoder", {"input_ids": IDS, "decoder_input_ids": IDS[:1]}, r"a row for each of input_ids \(2\), got 1"),
    ("module", {"tokens": put(IDS, 60)}, r"tokens must be 0 to 59, got 60 in row 2"),  # its samples are the columns
    ("module", {"tokens": put(IDS, -1)}, r"tokens must be 0 to 59, got -1 in row 2"),
    ("module", {"tokens": HUGE}, r"sequence_length must be 2 to 90, got 1048576"),
    ("module", {"tokens": IDS.astype(np.float32)}, r"int64 .* got float32 \[2, 4\]"),
    ("module", {"tokens": np.ma.masked_equal(IDS, 7)}, r"masked array"),
    ("module", {"tokens": [[1, 2], [3]]}, r"got list"),
    ("module", {"tokens": Raising()}, r"RuntimeError: the device is gone"),
    ("module", {"tokens": "text"}, r"got the text 'text'"),
    ("module", {}, r"must be the model's \(tokens\), got none"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "given", "words"), ARRAYS)
def test_arrays_that_a_graph_would_answer_wrongly_are_refused(
    sessions: Callable[[str], Session], name: str, given: dict[str, Any], words: str
) -> None:
    with pytest.raises(EdgexfError, match=words) as caught:
        sessions(name).run(given)
    assert is_a_sentence(caught.value)


def is_a_sentence(error: EdgexfError) -> bool:
    """Whether an error says a rule, what it got, and a remedy, on one line."""
    return re.fullmatch(r"[^\n]+ (must|may|is|needs?|can) [^\n]+ got [^\n]+; [^\n]+\.", str(error)) is not None


Call = Callable[[Session], Any]
TARGET = np.zeros((2, 3), dtype=np.float32)
CALLS: list[tuple[str, Call, str]] = [
    ("linformer", lambda s: s.run(IDS), r"given by their names, got ndarray"),
    ("linformer", lambda s: s.run({"input_ids": IDS}, input_ids=IDS), r"given once, got input_ids twice"),
    ("linformer", lambda s: s.run({1: IDS}), r"among the model's .* got 1;"),
    ("linformer", lambda s: s.predict(None), r"text, bytes, a path or a pair of texts, got NoneType;"),
    ("linformer", lambda s: s.predict([None]), r"got NoneType at place 0"),
    ("linformer", lambda s: s.predict(["a", 3]), r"got int at place 1"),
    ("linformer", lambda s: s.predict(3), r"got int;"),
    ("linformer", lambda s: s.predict(bytearray(b"a")), r"got bytearray; give bytes"),
    ("linformer", lambda s: s.predict([memoryview(b"a")]), r"got memoryview at place 0; give bytes"),
    ("linformer", lambda s: s.predict({"a": 1}), r"a dict must hold text and, for a pair, text_pair, got"),
    ("linformer", lambda s: s.predict(IDS), r"got ndarray at place 0; call session\.run with arrays"),
    ("linformer", lambda s: s.encode(None), r"got NoneType"),
    ("linformer", lambda s: s.encode([5]), r"got int at place 0"),
    ("linformer", lambda s: s.encode([]), r"at least one, got no input; give one"),
    ("linformer", lambda s: s.explain("a", progress=5), r"progress must be a function .* got int; leave it out"),
    ("linformer", lambda s: s.explain("a", method="occlusion", progress="bar"), r"progress must be .* got str"),
    ("linformer", lambda s: attribute(s, "occlusion", {"input_ids": IDS}, baseline=3, progress=5), r"got int; leave it out"),
    ("linformer", lambda s: s.explain(None), r"got NoneType"),
    ("linformer", lambda s: s.explain(["a"]), r"got list"),
    ("linformer", lambda s: s.explain("a", target=5), r"label or weights by label, got int"),
    ("linformer", lambda s: s.explain("a", target=["a"]), r"label or weights by label, got list"),
    ("linformer", lambda s: s.explain("a", target={"a": "x"}), r"finite number, got 'x' for a"),
    ("linformer", lambda s: s.explain("a", target={"a": None}), r"finite number, got None for a"),
    ("linformer", lambda s: s.explain("a", target={"a": float("nan")}), r"finite number, got nan for a"),
    ("linformer", lambda s: s.explain("a", target={"a": 10**400}), r"finite number, got 1000"),
    ("linformer", lambda s: s.explain("a", target={3: 1}), r"among the model's labels \(a, b, c\), got 3"),
    ("linformer", lambda s: s.explain("a", method="occlusion", budget="x"), r"budget must be a whole number .* got 'x'"),
    ("linformer", lambda s: s.explain("a", method=5), r"method must be .* got 5"),
    ("linformer", lambda s: s.run_explain(input_ids=IDS, target="LABEL"), r"target must be finite float32 \[2, 3\], got the text 'LABEL'"),
    ("linformer", lambda s: s.run_explain(input_ids=IDS, target=[[1], [1, 2]]), r"target must be .* got list"),
    ("linformer", lambda s: s.run_explain(input_ids=IDS, target=[[1, 2, 3], [1]]), r"target must be .* got list"),
    ("linformer", lambda s: s.run_explain(input_ids=IDS, target=TARGET.astype(object)), r"target must be .* got object"),
    ("linformer", lambda s: s.run_explain(input_ids=IDS, target=np.broadcast_to(np.float64(1), (1 << 20, 1 << 20))), r"got float64 \[1048576, 1048576\]"),
    ("linformer", lambda s: s.run_explain(input_ids=IDS, target=put(TARGET, np.nan)), r"finite float32 \[2, 3\], got nan at \[1, 2\]"),
    ("linformer", lambda s: s.run_explain(input_ids=IDS, target=np.ma.masked_equal(TARGET, 0)), r"masked array"),
    ("linformer", lambda s: s.run_explain(input_ids=IDS, target=Raising()), r"RuntimeError"),
    ("linformer", lambda s: s.run_explain(IDS), r"given by their names, got ndarray"),
    ("tokens", lambda s: s.run_explain(input_ids=IDS), r"needs a position, got none"),
    ("tokens", lambda s: s.run_explain(input_ids=IDS, position=[1, 4]), r"a real token, 0 to 3, got 4 in row 1"),
    ("tokens", lambda s: s.run_explain(input_ids=IDS, position="1"), r"position must be whole numbers \[2\], got the text"),
    ("tokens", lambda s: s.run_explain(input_ids=IDS, position=[1.0, 2.0]), r"position must be whole numbers \[2\], got float64"),
    ("tokens", lambda s: s.explain("w1", position="x"), r"position must be a part of the text that the model read, got 'x'"),
    ("tokens", lambda s: s.explain("w1", position=9), r"position must be a token's place"),
    ("features", lambda s: s.explain("w1", target=[[1], [1, 2]]), r"a text or 32 finite numbers, got list"),
    ("features", lambda s: s.explain("w1", target=[object()] * 32), r"a text or 32 finite numbers, got object"),
    ("features", lambda s: s.explain("w1", target=object()), r"a text or 32 finite numbers, got object"),
    ("linformer", lambda s: attribute(s, "occlusion", IDS), r"inputs must be a mapping of arrays by name, got ndarray"),
    ("linformer", lambda s: attribute(s, "occlusion", {"input_ids": IDS}, TARGET), r"targets must be a mapping"),
    ("linformer", lambda s: attribute(s, "occlusion", {"input_ids": IDS}, budget="x"), r"budget must be a whole number .* got 'x'"),
    ("linformer", lambda s: attribute(s, "occlusion", {"input_ids": IDS}, baseline="x"), r"baseline must be a token id"),
    ("linformer", lambda s: attribute(s, "occlusion", {"input_ids": IDS}, {"target": "a"}), r"target must be finite float32"),
    ("linformer", lambda s: attribute(s, 5, {"input_ids": IDS}), r"method of the runtime must be"),
]  # fmt: skip


@pytest.mark.parametrize(("name", "call", "words"), CALLS)
def test_arguments_of_a_wrong_type_are_sentences(
    sessions: Callable[[str], Session], name: str, call: Call, words: str
) -> None:
    with pytest.raises(EdgexfError, match=words) as caught:
        call(sessions(name))
    assert is_a_sentence(caught.value)


LOADS: list[tuple[dict[str, Any], str]] = [
    *(({"path": path}, r"path must be the text or the Path of a folder") for path in (None, 5, b"", "", "a\0b", ["a"])),
    *(({"providers": wrong}, r"providers must be") for wrong in (None, 5, (1,), ("cpu", None), {"cpu"})),
    *(({"dtype": wrong}, r"dtype must be one of") for wrong in (None, 5, ["fp32"], np.zeros(2))),
    ({"verify": None}, "verify must be"),
    ({"threads": "2"}, "threads must be"),
    ({"profile": 5}, "profile must be"),
    ({"input_timeout": "x"}, "input_timeout must be"),
    ({"on_run": 5}, "on_run must be a function"),
    ({"limits": 5}, "limits must be a mapping"),
    ({"limits": {"batch": 0}}, r"limits\['batch'\] must be a whole number above 0, got 0"),
    ({"limits": {"bytes": "1G"}}, r"limits\['bytes'\] must be a whole number above 0, got '1G'"),
    ({"limits": {"bytes": None}}, r"limits\['bytes'\] must be"),
    ({"limits": {"rows": 3}}, r"keys of batch, bytes, got rows"),
    ({"nan": "drop"}, "nan must be one of auto, raise, flag"),
    ({"nan": None}, "nan must be one of auto, raise, flag"),
]


@pytest.mark.parametrize(("arguments", "words"), LOADS)
def test_wrong_arguments_of_load_are_sentences(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words) as caught:
        edgexf.load(**{"path": BUNDLES / "linformer", **arguments})
    assert is_a_sentence(caught.value)


def test_a_call_keeps_to_the_limits_of_its_session() -> None:
    """Explanations and `predict` form batches within the limit of rows. Of three rows in one call none runs."""
    runs: list[int] = []
    with edgexf.load(
        BUNDLES / "linformer", limits={"batch": 2, "bytes": 200}, on_run=lambda run: runs.append(run.batch)
    ) as session:
        session.run(input_ids=IDS)
        with pytest.raises(InputError, match=r"at most 2 rows, the limit of this session, got 3; call it with parts"):
            session.run(input_ids=IDS[[0, 1, 1]], attention_mask=ONES[[0, 1, 1]])
        with pytest.raises(InputError, match=r"at most 200 bytes, the limit of this session, got 208"):
            session.run(input_ids=np.zeros((1, 13), dtype=np.int8))
        assert len(session.predict(["ab", "cd", "ef"])) == 3
        session.explain("abc", method="occlusion")
    assert max(runs) == 2
    with edgexf.load(BUNDLES / "linformer", limits={"bytes": 200}) as session:  # 3 rows of 4 tokens
        session.explain("abc", method="occlusion")
        attribute(session, "occlusion", {"input_ids": IDS}, baseline=3)
    with pytest.raises(UsageError, match="a limit of rows is for models whose inputs have rows"):
        checks_of(own_manifest(samples=""), CallLimits(batch=3))


def own_manifest(samples: str = "batch") -> Manifest:
    """The manifest of a custom module of floats, numbers of a small dtype, lengths, and an added mask."""
    shapes = {
        "values": ("float32", ("batch", "time")), "mask": ("float32", ("time", "time")),
        "small": ("int8", ("batch",)), "lengths": ("int64", ("batch",)),
    }  # fmt: skip
    inputs = tuple(Tensor(name, dtype, axes) for name, (dtype, axes) in shapes.items())
    graph = Graph("predict", "fp32", "onnx/model.onnx", inputs, (Tensor("logits", "float32", ("batch", 2)),))
    axes = (Axis("batch", 1, 8, 1), Axis("time", 2, 8, 2))
    return Manifest(
        name="m", task="t", limits=Limits(5, 2, 8, 1, 0, "none"), labels=(), preprocess=None, variants=(graph,),
        tolerance=1e-4, grid={}, provenance={},
        signature=Signature(axes, {}, samples, {"lengths": Within("time", 1, 0)}),
    )  # fmt: skip


OWN = {
    "values": np.zeros((2, 4), dtype=np.float32), "mask": np.zeros((4, 4)), "small": np.zeros(2, dtype=np.int64),
    "lengths": [1, 4],
}  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"values": put(OWN["values"], np.nan)}, r"values must be finite numbers, .* got nan in row 1"),
        ({"values": put(OWN["values"], -np.inf)}, r"values must be finite numbers, .* got -inf in row 1"),
        ({"values": put(np.zeros((2, 4)), 1e300)}, r"values must fit into float32, got 1e\+300 in row 1"),
        ({"values": np.zeros((2, 3))}, r"agree on time|time must be 2 to 8 in steps of 2"),
        ({"values": np.zeros((2, 4), dtype=complex)}, r"values must be float32 .* got complex128"),
        ({"values": np.broadcast_to(np.float32(1), (1 << 40, 4))}, r"agree on batch|batch must be 1 to 8"),
        ({"mask": put(np.zeros((4, 4)), np.inf)}, r"mask must be finite numbers or -inf, .* got inf at \[1, 2\]"),
        ({"small": np.array([0, 200])}, r"small must fit into int8, got 200 in row 1"),
        ({"lengths": [1, 5]}, r"lengths must be 1 to 4, as time is 4, got 5 in row 1"),
        ({"lengths": [[1, 2]]}, r"lengths must be int64 \['batch'\], got list \[1, 2\]"),
    ],
)
def test_arrays_of_a_custom_module_are_checked_by_its_signature(
    changes: dict[str, Any], words: str, tmp_path: Path
) -> None:
    """-inf passes in the mask: the golden cells, with which the bundle was verified, hide by it."""
    np.savez(tmp_path / "golden.npz", **{"cell/mask": np.array([[0, -np.inf]]), "cell/values": np.zeros(2)})
    model = replace(own_manifest(), files={"golden.npz": {"sha256": "", "bytes": 0}})
    checks = checks_of(model, contract=Contract(tmp_path, model))
    hidden = {**OWN, "mask": put(np.zeros((4, 4)), -np.inf)}
    found = checks(hidden)
    assert {name: array.dtype for name, array in found.items()} == {
        "values": np.float32, "mask": np.float32, "small": np.int8, "lengths": np.int64,
    }  # fmt: skip
    with pytest.raises(InputError, match=words):
        checks({**hidden, **changes})


@pytest.mark.parametrize("seed", range(40))
def test_what_is_accepted_at_a_glance_is_what_the_closer_look_accepts(seed: int) -> None:
    """Draws calls, a third of them wrong, and compares both ways through the checks."""
    chance = np.random.default_rng(seed)
    model = edgexf.load(BUNDLES / "linformer", verify="never").manifest
    checks = checks_of(model)
    assert isinstance(checks, TokenChecks)
    quick = 0
    for _ in range(50):
        rows, length = int(chance.integers(1, FEW + 2)), int(chance.integers(1, 12))
        ids = chance.integers(0, 258, (rows, length))
        mask = (np.arange(length) < chance.integers(1, length + 1, (rows, 1))).astype(np.int64)
        for array, values in ((ids, (-1, 258, -(1 << 63))), (mask, (-1, 0, 1, 2))):
            if chance.random() < 0.2:
                array[chance.integers(rows), chance.integers(length)] = chance.choice(values)
        given = {"input_ids": ids, "attention_mask": mask}
        given = {"input_ids": ids} if chance.random() < 0.2 else given
        try:
            wanted: dict[str, Any] | None = checks.checked(given)
        except EdgexfError:
            wanted = None
        found = checks.accepted(given)
        quick += found is not None
        assert wanted is not None or found is None
        for name, array in (found or {}).items():
            assert wanted is not None
            assert np.array_equal(array, wanted[name])
        assert found is not None or wanted is None or rows > FEW
    assert quick > 10


def test_the_callers_arrays_are_not_changed_and_odd_memory_is_read_right() -> None:
    model = edgexf.load(BUNDLES / "linformer", verify="never").manifest
    for ids in (IDS.astype(">i8"), np.asfortranarray(IDS), np.repeat(IDS, 2, axis=1)[:, ::2], IDS.astype(np.uint8)):
        found = check_inputs({"input_ids": ids, "attention_mask": ONES}, model)
        assert np.array_equal(found["input_ids"], IDS)
        assert found["input_ids"].dtype == np.int64
        assert found["input_ids"].dtype.isnative
