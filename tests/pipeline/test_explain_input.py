"""`edgexf explain` with several methods and targets: one input, and results side by side."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import Exported
from explanations import Page

import edgexf
from edgexf.cli import main
from edgexf.errors import MissingExtraError, UsageError
from edgexf.pipeline.explain_input import chosen_methods, chosen_targets, explain_each, given_options

CODE = "import os\nprint(1)\n"
EVERY = ["attnlrp", "gradient", "occlusion", "lime", "kernel-shap"]


@pytest.fixture(scope="module")
def bundle(linformer: Exported) -> Path:
    return linformer.bundle.path


@contextmanager
def refused(method: str) -> Iterator[None]:
    """A progress bar that no method may open."""
    raise AssertionError(f"{method} has begun")
    yield


def explain(bundle: Path, *arguments: object, stdin: bytes | None = None) -> Result:
    return CliRunner().invoke(main, ["explain", str(bundle), *map(str, arguments)], input=stdin)


def test_each_is_every_method_of_the_bundle_and_of_the_runtime(bundle: Path) -> None:
    done = explain(bundle, "--text", CODE, "--method", "each", "--budget", 100, "--seed", 1, "--json")
    assert done.exit_code == 0, done.stderr
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["method"] for one in found] == EVERY
    assert len({tuple(one["scores"]) for one in found}) == len(EVERY)
    assert [one["explained"] for one in found] == pytest.approx([found[0]["explained"]] * len(EVERY), rel=1e-4)
    assert [one["settings"].get("seed") for one in found] == [None, None, None, 1, 1]
    assert [one["settings"].get("budget") for one in found] == [None, None, 100, 100, 100]


@pytest.fixture
def without_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leaves scikit-learn out of the environment, as an installation without the extra does."""
    for name in [name for name in sys.modules if name.partition(".")[0] == "sklearn"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "sklearn", None)


@pytest.mark.usefixtures("without_extra")
def test_each_leaves_out_what_is_not_installed_and_says_so(bundle: Path, tmp_path: Path) -> None:
    every = ["--method", "each", "--budget", 50]
    done = explain(bundle, "--text", CODE, *every, "--json", "--html", tmp_path / "page.html")
    assert done.exit_code == 0, done.stderr
    told = "left out: lime; add with: pip install 'edgexf[explain]'"
    assert done.stderr.splitlines() == [told, f"wrote {tmp_path / 'page.html'}"]
    rest = [method for method in EVERY if method != "lime"]
    assert [json.loads(line)["method"] for line in done.stdout.splitlines()] == rest
    assert [text for _, text in Page((tmp_path / "page.html").read_text()).all("h3")] == rest
    lines = [json.dumps({"text": CODE + str(number), "label": "python"}) for number in range(3)]
    (tmp_path / "listing.jsonl").write_text("\n".join(lines))
    measured = explain(bundle, "--evaluate", tmp_path / "listing.jsonl", *every, "--json")
    assert (measured.exit_code, measured.stderr.splitlines()) == (0, [told])
    assert "kernel-shap" in measured.stdout
    assert "lime" not in measured.stdout


@pytest.mark.usefixtures("without_extra")
def test_a_method_that_is_not_installed_is_refused_before_others_run(bundle: Path) -> None:
    for methods in (["lime"], ["occlusion", "lime"]):
        done = explain(bundle, "--text", CODE, *(word for method in methods for word in ("--method", method)))
        assert (done.exit_code, done.stdout) == (2, "")
        (line,) = done.stderr.splitlines()
        assert "lime needs the extra `explain`, got no scikit-learn" in line
        assert "pip install 'edgexf[explain]'" in line
    with edgexf.load(bundle) as session, pytest.raises(MissingExtraError):
        explain_each(session, CODE, [None], ["occlusion", "lime"], {}, bar=refused)


def test_targets_and_methods_stand_side_by_side_in_the_order_given(bundle: Path, tmp_path: Path) -> None:
    chosen = ["--target", "python", "--target", "c", "--method", "occlusion", "--method", "gradient"]
    done = explain(bundle, "--text", CODE, *chosen, "--html", tmp_path / "page.html")
    assert (done.exit_code, done.stdout) == (0, "")
    page = Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert [text for _, text in page.all("h3")] == [
        "occlusion, python", "gradient, python", "occlusion, c", "gradient, c",
    ]  # fmt: skip


def test_the_terminal_shows_several_in_one_table(bundle: Path) -> None:
    done = explain(bundle, "--text", CODE, "--target", "c", "--target", "python")
    assert done.exit_code == 0
    assert "attnlrp, c / attnlrp, python" in done.stdout
    assert "import" in done.stdout


def test_a_contrast_is_a_target_against_another(bundle: Path) -> None:
    done = explain(bundle, "--text", CODE, "--target", "c", "--target", "json", "--against", "python", "--json")
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [one["target"] for one in found] == [{"c": 1.0, "python": -1.0}, {"json": 1.0, "python": -1.0}]


@pytest.mark.parametrize(
    "options", [["--span", 4], ["--baseline", "[padding]"], ["--time-limit", 100], ["--budget", 50]]
)
def test_an_option_goes_to_the_methods_that_take_it(bundle: Path, options: list[object]) -> None:
    done = explain(bundle, "--text", CODE, "--method", "gradient", "--method", "occlusion", *options, "--json")
    assert done.exit_code == 0, done.stderr
    settings = [json.loads(line)["settings"] for line in done.stdout.splitlines()]
    assert settings[0] == {}
    assert settings[1]["span"] == (4 if options[0] == "--span" else 1)


def test_standard_input_is_read_once_for_all_methods(bundle: Path) -> None:
    done = explain(bundle, "-", "--target", "c", "--target", "python", "--json", stdin=CODE.encode())
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(one["input"], one["data"]) for one in found] == [("-", CODE)] * 2


def test_what_is_longer_than_the_model_reads_is_said_to_be_truncated(bundle: Path) -> None:
    done = explain(bundle, "-", "--json", stdin=b"x = 1\n" * 1000)
    found = json.loads(done.stdout)
    assert (found["truncated"], len(found["data"])) == (True, 4096)
    assert not json.loads(explain(bundle, "--text", CODE, "--json").stdout)["truncated"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--method", "tarot"], ["tarot", "gradient", "occlusion"]),
        (["--method", "occlusion", "--method", "tarot"], ["tarot", "gradient", "occlusion"]),
        (["--method", "each", "--method", "lime"], ["each", "alone"]),
        (["--seed", "3"], ["--seed", "attnlrp"]),
        (["--method", "occlusion", "--seed", "3"], ["--seed", "occlusion"]),
        (["--method", "lime", "--span", "3"], ["--span", "lime"]),
        (["--method", "lime", "--budget", "0"], ["budget"]),
        (["--method", "lime", "--time-limit", "-1"], ["time_limit"]),
        (["--method", "lime", "--baseline", "nothing"], ["baseline"]),
        (["--against", "c"], ["no target", "c"]),
        (["--target", "c", "--against", "c"], ["c against c"]),
        (["--target", "c", "--against", "cobol"], ["cobol", "python"]),
        (["--target", "c", "--target", "cobol"], ["cobol", "python"]),
        (["--html", "no/such/page.html"], ["page.html", "folder"]),
    ],
)
def test_a_wrong_choice_is_one_sentence_before_any_work(bundle: Path, arguments: list[str], words: list[str]) -> None:
    done = explain(bundle, "--text", CODE, *arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("Error: ")
    assert len(done.stderr.splitlines()) == 1
    assert all(word in done.stderr for word in words), done.stderr


def test_wrong_names_are_found_before_the_first_method_runs(bundle: Path) -> None:
    with edgexf.load(bundle) as session:
        with pytest.raises(UsageError, match="tarot"):
            explain_each(session, CODE, [None], ["occlusion", "tarot"], {}, bar=refused)
        with pytest.raises(UsageError, match="cobol"):
            explain_each(session, CODE, ["c", "cobol"], ["occlusion"], {}, bar=refused)


def test_a_long_method_says_how_far_it_is(bundle: Path) -> None:
    told: dict[str, list[tuple[int, int]]] = {}

    @contextmanager
    def bar(method: str) -> Iterator[object]:
        steps = told.setdefault(method, [])
        yield lambda done, total: steps.append((done, total))

    with edgexf.load(bundle) as session:
        explain_each(session, CODE, [None], ["gradient", "occlusion"], {}, bar=bar)  # type: ignore[arg-type]
    assert told["gradient"] == []
    assert told["occlusion"][-1] == (len(CODE), len(CODE))


def test_targets_are_columns() -> None:
    assert chosen_targets([], None) == [None]
    assert chosen_targets(["c", "python"], None) == ["c", "python"]


def test_methods_are_columns_each_once() -> None:
    assert chosen_methods([], ["attnlrp", "gradient"], ["lime"]) == ["attnlrp"]
    assert chosen_methods(["lime", "gradient", "lime"], ["attnlrp", "gradient"], ["lime"]) == ["lime", "gradient"]
    assert chosen_methods(["each"], ["attnlrp", "gradient"], ["lime"]) == ["attnlrp", "gradient", "lime"]
    assert chosen_methods(["each"], [], ["lime"]) == ["lime"]
    assert chosen_methods([], [], ["lime"]) == []


def test_options_that_were_not_given_are_not_passed() -> None:
    assert given_options({"seed": None, "span": 2}, {"a": ("seed", "span"), "b": ()}) == {"a": {"span": 2}, "b": {}}


def test_an_empty_standard_input_is_one_sentence(bundle: Path) -> None:
    done = explain(bundle, "-", stdin=b"")
    assert done.exit_code == 1
    assert "empty" in done.stderr
