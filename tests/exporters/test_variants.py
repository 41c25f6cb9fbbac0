"""The promises in the table of variants were measured."""

from __future__ import annotations

import json

import pytest
from small import ROOT

from edgexf_exporters import VARIANTS
from edgexf_exporters.families import TESTED, TOLERANCE, TracedFamily
from edgexf_exporters.variant import Variant, load

RESULTS = ROOT / "tests" / "benchmarks" / "results"
CENSUS = {row["type"]: row for row in map(json.loads, (RESULTS / "census.jsonl").read_text().splitlines())}
MEASURED = json.loads((RESULTS / "families.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_the_difference_that_is_shown_is_the_one_that_was_measured(variant: Variant) -> None:
    """tests/benchmarks/families.py measured the difference over every head."""
    worst = max(row[1] for row in MEASURED["heads"][variant.name].values())
    assert f"{variant.measured_error:.1e}" == f"{worst:.1e}"
    assert 0 < variant.measured_error <= variant.tolerance


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_every_name_in_the_table_can_be_imported(variant: Variant) -> None:
    for reference in (variant.lowers, variant.lowering, *filter(None, [variant.describe])):
        assert callable(load(reference))


@pytest.mark.parametrize("family", TESTED, ids=lambda family: family.name)
def test_a_family_that_is_tested_as_it_is_agrees_in_the_census(family: TracedFamily) -> None:
    row = CENSUS[family.model_type]
    assert (row["outcome"], row["class"]) == ("agrees", family.architecture)
    assert f"{family.measured_error:.1e}" == f"{row['worst']:.1e}"
    assert 0 < family.measured_error <= TOLERANCE


def test_a_family_is_of_one_kind() -> None:
    names = [variant.name for variant in VARIANTS] + [family.name for family in TESTED]
    assert len(names) == len(set(names))
