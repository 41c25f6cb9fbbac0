"""The record of an attention that edgexf can lower, as data: reading the record imports no torch.

`lowers` and `lowering` name classes as ``module:Class``. `load` imports these classes when an export needs them. A
lowering is a module that is made from the original module and the source's limits. It shares the weights of the
original module and has the same ``forward``. Its attribute `block` is a number of tokens: lengths must be multiples of
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from typing import Any

from edgexf import names

REFERENCE = "edgexf.models"
ANY_MODULE = "any module"
MODULES = ("what forward answers",)  # the tasks of an attention inside any module
UNTOLD = "nothing tells which of a module's own matrices make its values"  # why such an attention has no `Mixing`


@dataclass(frozen=True)
class Mixing:
    """Where the attention weights of a layer act: between its value projections and its output projection.

    Every path starts at the module that holds all the projections.

    Attributes:
        values: the paths of the value projections, whose outputs the weights mix.
        reader: the path of the output projection, which reads the mixed values.
        heads: the path of the number of heads.
        turned: in the library's module these tensors are [tokens, batch, width], not [batch, tokens, width].
        part: which of how many equal parts of a projection's output are the values, for a projection that makes queries
            and keys too.
    """

    values: tuple[str, ...]
    reader: str
    heads: str
    turned: bool = False
    part: tuple[int, int] = (0, 1)


@dataclass(frozen=True)
class Variant:
    """What `edgexf variants` prints and what an export needs to know.

    Attributes:
        name: the name that users type.
        attention: the attention in words.
        lowers: ``module:Class`` of the original module.
        lowering: ``module:Class`` of the module that replaces it during an export.
        source: the paper.
        padding: the manifest's padding rule. For a transformers model it is the rule in words, and `describe` gives the
            manifest's rule. For a custom module the manifest's rule is ``none``.
        subquadratic: the promise that no intermediate tensor grows with the square of the length.
        family: the library whose models these are: `REFERENCE`, ``transformers`` or `ANY_MODULE`.
        tasks: the tasks that are exported. edgexf ships a trained model of each reference variant.
        limits: the limits of an input in words.
        globals: the model takes a ``global_attention_mask``.
        describe: ``module:function`` from a transformers model to its `Family`.
        pads: ``module:Class`` of the library's model that is padded to whole blocks inside a custom module; empty for
            models that take any length.
        call_context: ``module:function`` from a custom module to the context that surrounds each call of the module.
            The context is for a library that draws random numbers, or whose answers depend on batch mates.
        has_argmax: the answers of a custom module with this attention depend on its ``argmax``.
        mixing: where the attention weights over tokens act.
        unweighted: why there is no `mixing`.
        optional_inputs: the inputs that only some of the models take.
        pooled: the tasks whose answer comes through the library's pooler.
        tolerance: the bound of max |difference| / max |reference| in float32.
        measured_error: the largest value of that ratio that tests/benchmarks/families.py measured.
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
    pads: str = ""
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
        """The graph's inputs, int64 [batch, sequence] each.

        An attention of a package has none here: the inputs are those of the custom module that holds it.
        """
        if self.family == ANY_MODULE:
            return ()
        chosen = (names.GLOBAL_ATTENTION_MASK,) if self.globals else ()
        return (names.INPUT_IDS, names.ATTENTION_MASK, *chosen)


def load(reference: str) -> Any:
    """Imports the object that ``module:name`` names."""
    module, _, name = reference.partition(":")
    return getattr(import_module(module), name)
