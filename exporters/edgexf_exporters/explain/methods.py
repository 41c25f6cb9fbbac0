"""The explanation methods that are compiled into graphs, as data: reading them imports no torch.

`METHODS` is the only list; the command line takes its help text from it. A new method is a record here. It also needs a
new program or new rules where the existing ones do not compute it.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

from edgexf_exporters.variant import load


@dataclass(frozen=True)
class Method:
    """A way to explain.

    Attributes:
        name: what the command line and the bundle call the method.
        program: ``module:Class`` of the `ExplainProgram` that computes relevance.
        rule_set: ``module:name`` of a context manager: the rules under which the body is differentiated.
        path: the program also takes a baseline and a path, and also returns the explained value at each point of the
            path.
        attends: the scores come from attention weights.
        weights: the program also returns the attention weights.
    """

    name: str
    program: str = "edgexf_exporters.explain.compile:GradientTimesInput"
    rule_set: str = "contextlib:nullcontext"
    path: bool = False
    attends: bool = False
    weights: bool = False

    def rules(self) -> AbstractContextManager[Any]:
        """A new context with the rules of the method."""
        made: AbstractContextManager[Any] = load(self.rule_set)()
        return made

    def load_program(self) -> Callable[..., Any]:
        """The class of the program."""
        program: Callable[..., Any] = load(self.program)
        return program


ATTENTION_WEIGHTS = "edgexf_exporters.explain.rollout:AttentionWeights"

# The default is the first method.
METHODS = {
    method.name: method
    for method in (
        Method("attnlrp", rule_set="edgexf_exporters.explain.rules:Rules"),
        Method("cplrp", rule_set="edgexf_exporters.explain.rules:constant_softmax_rules"),
        Method("gradient", rule_set="edgexf_exporters.explain.rules:Fused"),
        Method(
            "integrated-gradients",
            "edgexf_exporters.explain.integrated:IntegratedGradients",
            rule_set="edgexf_exporters.explain.rules:Fused",
            path=True,
        ),
        Method("attention-rollout", ATTENTION_WEIGHTS, attends=True),
        Method("attention", ATTENTION_WEIGHTS, attends=True, weights=True),
    )
}
