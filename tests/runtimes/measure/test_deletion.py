"""Deletion curves against a slow oracle, the statistics of curves, and the listings that name inputs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import Result
from conftest import Exported
from small import DATA, prompt

import edgexf
from edgexf.cli import main
from edgexf.errors import InputError, UsageError
from edgexf.spec import CLASS_ID, LABELS, PADDING_ID
from edgexf_runtimes import Session
from edgexf_runtimes.inputs.labelled import Labelled, read_labelled
from edgexf_runtimes.measure.faithfulness import (
    RANDOM,
    Curves,
    Faithfulness,
    Measured,
    estimate,
    follow_orders,
    measure,
    subject,
)
from edgexf_runtimes.scores import softmax

TEXT = b"import os\n\n\ndef f(x):\n    return os.path.join(x, 'y')\n"
FILES = [DATA / "evaluation" / f"{name}-00.bin" for name in ("css", "json", "shell")]
ROUNDING = 1e-5  # relative to the scale: the contract's bound for rows alone and in a batch


@pytest.fixture(scope="module")
def session(linformer: Exported) -> Iterator[Session]:
    with edgexf.load(linformer.bundle.path) as opened:
        yield opened


def one_by_one(session: Session, order: np.ndarray, steps: int, column: int) -> list[float]:
    """Returns the logit after each step, while more and more tokens are replaced in `order`. Each row runs alone."""
    found = []
    for step in range(steps + 1):
        ids = np.array([CLASS_ID, *TEXT])
        for place in order[: round(step * len(order) / steps)]:
            ids[place] = PADDING_ID
        found.append(float(session.run(input_ids=ids[None])["logits"][0, column]))
    return found


@pytest.mark.parametrize("steps", [2, 7])
def test_curves_are_those_of_leaving_out_tokens_one_row_at_a_time(session: Session, steps: int) -> None:
    scores = np.random.default_rng(3).normal(size=1 + len(TEXT))
    scores[0] = 100.0  # the class token is no part of the input and stays
    order = 1 + np.argsort(-scores[1:])
    about = subject(session, Labelled(TEXT), PADDING_ID, "logit")
    found = follow_orders(about, scores, steps, np.random.default_rng(0))
    wanted = [one_by_one(session, places, steps, about.column) for places in (order, order[::-1])]
    assert about.label == "python"
    assert np.abs(np.array(found) - wanted).max() <= ROUNDING * np.abs(wanted).max()


def test_a_score_is_the_softmax_of_the_logits(session: Session) -> None:
    kept = np.ones((3, 1 + len(TEXT)), dtype=bool)
    kept[1, 5:9] = kept[2, 1:] = False
    ids = np.where(kept, [CLASS_ID, *TEXT], PADDING_ID)
    about = subject(session, Labelled(TEXT), PADDING_ID, "score")
    wanted = softmax(session.run(input_ids=ids)["logits"])[:, LABELS.index("python")]
    assert np.allclose(about.values(kept), wanted, rtol=0, atol=ROUNDING)


def test_the_area_lies_between_the_two_curves() -> None:
    curves = Curves(most_first=(4.0, 1.0, 0.5, 0.0), least_first=(4.0, 3.5, 3.0, 0.0), passes=1.0)
    assert curves.area == pytest.approx((2.5 + 2.5) / 3)


def test_the_opposite_order_has_the_opposite_area(session: Session) -> None:
    scores = np.random.default_rng(4).normal(size=1 + len(TEXT))
    about = subject(session, Labelled(TEXT), PADDING_ID, "logit")
    one, other = (
        Curves(*(tuple(curve) for curve in follow_orders(about, sign * scores, 6, np.random.default_rng(0))), 1.0).area
        for sign in (1, -1)
    )
    assert one == pytest.approx(-other, rel=1e-4)
    assert abs(one) > 0.01


def test_equal_scores_are_ordered_by_chance(session: Session) -> None:
    """A constant map must not profit from the positions of tokens."""
    about = subject(session, Labelled(TEXT), PADDING_ID, "logit")
    first, again, other = (
        follow_orders(about, np.ones(1 + len(TEXT)), 5, np.random.default_rng(seed))[0] for seed in (0, 0, 1)
    )
    assert np.array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_an_interval_is_that_of_the_normal_theory() -> None:
    """For many values the bootstrap interval is the normal interval.

    The ends from 10,000 draws are off by at most 5 % of the width, which is six of their standard errors.
    """
    values = np.random.default_rng(0).normal(2.0, 3.0, 500)
    found = estimate(values.tolist())
    half = 1.96 * values.std() / np.sqrt(len(values))
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((values.mean() - half, values.mean() + half), abs=0.1 * half)


def test_two_methods_are_compared_input_by_input() -> None:
    """The comparison shows a small gain on every input, although the inputs differ by far more.

    A method with fewer inputs is compared on the first inputs.
    """
    base = np.random.default_rng(1).normal(0.0, 5.0, 60)
    areas = {"base": base, "better": base + 0.2, "few": base[:20] - 0.1}
    methods = {name: Measured(tuple(values), (1.0, 0.0), (1.0, 0.0), 2.0) for name, values in areas.items()}
    found = Faithfulness("m", "logit", "x", 0, None, methods)
    difference = found.difference("better", "base")
    assert (difference.low, difference.high) == pytest.approx((0.2, 0.2))
    assert found.area("better").low < found.area("base").mean
    assert found.difference("few", "better").mean == pytest.approx(-0.3)
    header, rows = found.table(("base", "absent"))
    assert header == ("method", "inputs", "area, logit", "minus base", "cost, passes")
    by_method = {row[0]: row for row in rows}
    assert by_method["few"][1] == "20"
    assert by_method["better"][3] == "0.200 [0.200, 0.200]"
    assert by_method["base"][3] == "-"
    assert [row[0] for row in rows] == sorted(areas, key=lambda name: -areas[name].mean())


def test_an_evaluation_holds_every_method_and_the_control(session: Session) -> None:
    inputs = [Labelled(FILES[0], "css"), Labelled(FILES[1], "css"), Labelled(TEXT)]
    steps: list[int] = []
    found = measure(session, inputs, steps=4, advance=steps.append)
    assert list(found.methods) == [*session.manifest.methods, RANDOM]
    assert sum(steps) == len(inputs) * len(found.methods)
    assert found.right == 0.5  # the second label is wrong on purpose, the third input has no label
    assert found.baseline == session.baseline().name
    for method, measured in found.methods.items():
        assert (len(measured.areas), len(measured.most_first)) == (3, 5)
        assert measured.most_first[0] == measured.least_first[0] > measured.most_first[-1] == measured.least_first[-1]
        assert found.area(method).low <= np.mean(measured.areas) <= found.area(method).high
        assert (measured.passes == 0) == (method == RANDOM)
    values = json.loads(found.to_json())
    assert {name: tuple(row["areas"]) for name, row in values["methods"].items()} == {
        name: row.areas for name, row in found.methods.items()
    }
    assert found.to_markdown().count("\n") == 2 + len(found.methods)


def test_run_time_methods_take_their_options_and_cost_what_they_ran(session: Session) -> None:
    options = {"occlusion": {"budget": 20}, "lime": {"budget": 30, "seed": 3}}
    found = measure(session, [Labelled(TEXT), Labelled(TEXT)], list(options), steps=4, options=options)
    assert list(found.methods) == ["occlusion", "lime", RANDOM]
    for method, own in options.items():
        wanted = session.explain(TEXT, method=method, **own).settings["rows"]
        assert found.methods[method].passes == wanted <= own["budget"]


def test_an_evaluation_repeats_with_its_seed(session: Session) -> None:
    inputs = [Labelled(TEXT), Labelled(b"SELECT 1 FROM a;\n")]
    once, again, other = (measure(session, inputs, steps=4, seed=seed).methods[RANDOM] for seed in (5, 5, 6))
    assert once == again
    assert once != other


def test_what_cannot_be_evaluated_is_said(session: Session) -> None:
    inputs = [Labelled(TEXT), Labelled(TEXT)]
    with pytest.raises(UsageError, match="follow"):
        measure(session, inputs, follow="loss")
    with pytest.raises(UsageError, match="steps"):
        measure(session, inputs, steps=1)
    with pytest.raises(UsageError, match="at least 2 inputs"):
        measure(session, inputs[:1])
    with pytest.raises(UsageError, match="tarot"):
        measure(session, inputs, ["tarot"])


def test_a_listing_names_files_beside_it_and_texts(tmp_path: Path) -> None:
    listing = tmp_path / "list.jsonl"
    lines = [
        {"input": "a.txt", "label": "c", "source": "a note"},
        {"text": "hi"},
        {"text": ["question", "context"], "label": 1},
    ]
    listing.write_text("\n".join(json.dumps(line) for line in lines) + "\n\n")
    assert read_labelled(listing, LABELS) == [
        Labelled(tmp_path / "a.txt", "c"),
        Labelled("hi"),
        Labelled(("question", "context"), LABELS[1]),
    ]


def test_the_shipped_set_is_a_listing() -> None:
    found = read_labelled(DATA / "evaluation.jsonl", LABELS)
    assert len(found) == 298
    assert FILES[0] in [given.source for given in found]


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("{", "line 2"),
        ("[]", "line 2"),
        ('{"label": "c"}', "one of `input`"),
        ('{"input": "a", "text": "b"}', "one of `input`"),
        ('{"input": ["a", "b"]}', "line 2"),
        ('{"text": ["a"]}', "line 2"),
        ('{"text": "a", "label": 20}', "one of the model's"),
        ('{"text": "a", "label": 3.0}', "line 2"),
        ('{"text": "a", "label": "cobol"}', "cobol"),
    ],
)
def test_a_line_that_cannot_be_used_is_named(line: str, named: str, tmp_path: Path) -> None:
    listing = tmp_path / "list.jsonl"
    listing.write_text('{"text": "fine"}\n' + line)
    with pytest.raises(InputError, match=named):
        read_labelled(listing, LABELS)


def test_a_listing_must_be_readable_and_hold_an_input(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="readable"):
        read_labelled(tmp_path / "none.jsonl", LABELS)
    (tmp_path / "empty.jsonl").write_text("\n")
    with pytest.raises(InputError, match="must hold an input"):
        read_labelled(tmp_path / "empty.jsonl", LABELS)


def evaluate(bundle: Path, listing: Path, *options: str) -> Result:
    return prompt().invoke(main, ["explain", str(bundle), "--evaluate", str(listing), *options])


def test_the_command_prints_a_row_a_method_or_json(linformer: Exported, tmp_path: Path) -> None:
    listing = tmp_path / "list.jsonl"
    lines = [{"input": str(file), "label": file.name[: -len("-00.bin")]} for file in FILES[:2]]
    listing.write_text("\n".join(json.dumps(line) for line in lines))
    table = evaluate(linformer.bundle.path, listing)
    assert table.exit_code == 0, table.output
    shown = {line.split()[0]: line for line in table.stdout.splitlines() if line.strip()}
    assert {*linformer.bundle.manifest.methods, RANDOM, "method"} <= set(shown)
    assert "100.0% of the labels" in table.stdout
    options = ("--json", "--method", "occlusion", "--budget", "12", "--baseline", " ", "--seed", "4")
    values = json.loads(evaluate(linformer.bundle.path, listing, *options).stdout)
    assert set(values["methods"]) == {"occlusion", RANDOM}
    assert values["methods"]["occlusion"]["passes"] <= 12
    assert (values["baseline"], values["seed"]) == ("' ' (id 32)", 4)


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--method", "tarot"), "tarot"),
        (("--text", "beside"), "--text"),
        (("--target", "c"), "--target"),
        (("--budget", "12"), "--budget"),
        (("--method", "each", "--method", "lime"), "each"),
    ],
)
def test_what_does_not_go_with_an_evaluation_is_named(
    linformer: Exported, options: tuple[str, ...], named: str, tmp_path: Path
) -> None:
    listing = tmp_path / "list.jsonl"
    listing.write_text('{"text": "one"}\n{"text": "two"}\n')
    done = evaluate(linformer.bundle.path, listing, *options)
    assert done.exit_code == 2
    assert named in done.stderr
