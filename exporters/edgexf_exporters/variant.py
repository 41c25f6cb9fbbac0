"""The record of one attention that edgexf can lower, as data: reading it imports no torch.

`lowers` and `lowering` name classes as ``module:Class``; `load` imports them when an export needs
them. The lowering is a module made from the original one and the source's limits: it shares the weights,
has the same ``forward`` and an attribute `block`, the multiple of tokens its lengths must have.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from edgexf import names

REFERENCE = "edgexf.models"
ANY_MODULE = "any module"


@dataclass(frozen=True)
class Mixing:
    """Where a layer's attention weights act: on the answers of its value projections, for what its output projection reads.

    `values` and `reader` are their paths from the module that holds them all, `heads` that of the number of heads. `turned`:
    in the library's own module they hold [tokens, batch, width].
    """

    values: tuple[str, ...]
    reader: str
    heads: str
    turned: bool = False


@dataclass(frozen=True)
class Variant:
    """What `edgexf variants` prints and what an export needs to know.

    `padding` is the manifest's padding rule. `subquadratic` promises that no intermediate grows with
    the square of the length. `tolerance` bounds max |difference| / max |reference| in float32, `reached` is the worst
    that tests/benchmarks/families.py saw. `globals`: the
    model takes a ``global_attention_mask``. `family` is the library whose models these are, `heads` the tasks
    that are exported; edgexf ships a trained model of each of its own. `describe` names the function from a model of
    another library to its `Family`, `sometimes` are inputs that only some of its models take, `pooled` the tasks
    whose answer comes through the library's pooler. `around` names the function from a module of one's own to what
    surrounds each call of it: where its library draws random numbers, or lets batch mates change an answer.
    `chooses`: answers of such a module hang on its ``argmax``. `mixing` says where attention's weights over tokens act,
    `unweighted` why it has none.
    """

    name: str
    attention: str
    lowers: str
    lowering: str
    source: str
    padding: str = "invariant"
    subquadratic: bool = True
    family: str = REFERENCE
    tasks: tuple[str, ...] = ("content-kind",)
    limits: str = "trained to 4,097 tokens"
    globals: bool = False
    describe: str = ""
    call_context: str = ""
    has_argmax: bool = False
    mixing: Mixing | None = None
    unweighted: str = ""
    optional_inputs: tuple[str, ...] = ()
    pooled: tuple[str, ...] = ("multiple-choice",)
    tolerance: float = 1e-4
    measured_error: float = 0.0

    @property
    def reference(self) -> bool:
        return self.family == REFERENCE

    @property
    def inputs(self) -> tuple[str, ...]:
        """The graph's inputs, int64 [batch, sequence] each; none for an attention of a package, whose module brings its own."""
        if self.family == ANY_MODULE:
            return ()
        chosen = (names.GLOBAL_ATTENTION_MASK,) if self.globals else ()
        return (names.INPUT_IDS, names.ATTENTION_MASK, *chosen)


def load(reference: str) -> Any:
    """The object that ``module:name`` stands for."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
