"""One copy of the weights: graphs that read them in the file, where the operating system has mapped it.

In: the options of a session. Out: the optimizers of ONNX Runtime to leave out.

ONNX Runtime maps the weight file of a graph on a CPU. By default, it then makes two kinds of copies: the weights in the
order that its matrix products like (prepacking), and a transposed copy of each weight that an explanation reads the
other way round (folding of constants). Without both, the pages of the file are the only copy, for all graphs and
processes that map it. The system may drop pages when memory is short, and reads them again.

The price is time: each run packs each weight anew, piece by piece. It weighs most on short inputs, where a weight serves
few tokens. Sums are added in another order, so answers differ from those of packed weights by rounding.

`SessionOptions.add_initializer` over a mapping of our own was tried too. It gives the same memory and time (onnxruntime
1.20 and 1.32), and needs the initializers of the graph, which only a reader of ONNX files finds.
"""

from __future__ import annotations

import onnxruntime as ort

COPYING = ["ConstantFolding"]  # the optimizers that store changed copies of weights


def in_place(options: ort.SessionOptions) -> list[str]:
    """Lets a session read its weights in their file. Returns its `disabled_optimizers`."""
    options.add_session_config_entry("session.disable_prepacking", "1")
    return COPYING
