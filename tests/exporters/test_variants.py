"""The promises in the table of variants were measured."""

from __future__ import annotations

import json

import pytest
from small import ROOT

from edgexf_exporters import VARIANTS
from edgexf_exporters.variant import Variant, load

MEASURED = json.loads((ROOT / "tests" / "benchmarks" / "results" / "families.json").read_text(encoding="utf-8"))


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
