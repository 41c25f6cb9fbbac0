"""What a free length decides holds at lengths that the trace did not see."""

from __future__ import annotations

from collections.abc import Callable

import onnxruntime as ort
import pytest
from operators.layers import Named, drawn
from operators.lengths import parts, places, windows
from operators.measure import OPSET, compared, flat, module
from torch.export import Dim

from edgexf_exporters.trace.export import capture, translate

TRACED, OTHERS = 97, (20, 31, 64, 130)  # `chunk(4)` has four parts at each of these


@pytest.mark.parametrize("rows", [windows, parts, places])
def test_a_graph_answers_at_other_lengths_than_that_of_its_trace(rows: Callable[[], Named]) -> None:
    named = {
        name: does for name, does in rows().items() if name != "split of a length into halves"
    }  # two parts or three
    together = module(lambda x: [part for does in named.values() for part in flat(does(x))], 1)
    counts = [len(flat(does(drawn(TRACED, 5)))) for does in named.values()]
    program = capture(together, (drawn(TRACED, 5),), [{0: Dim.DYNAMIC}])
    model = translate(program, ["x"], [f"y{place}" for place in range(sum(counts))], OPSET)
    session = ort.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    for length in OTHERS:
        given = drawn(length, 5)
        answers = iter(session.run(None, {"x": given.numpy()}))
        for name, does in named.items():
            for plain, wanted in zip(flat(does(given)), flat(does(given.double())), strict=True):
                assert compared(plain.new_tensor(next(answers)), plain, wanted, scale=True).exact, (name, length)
