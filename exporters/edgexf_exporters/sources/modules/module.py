"""A custom module as a source: any `torch.nn.Module`, from example inputs.

In: a module and inputs that it answers. Out: a `Source` whose graphs take the inputs of ``forward`` by name and in
order.

    examples -> shapes: which axes vary
             -> runs of the module (`sources.modules.probe`): which embedding reads the ids, which axes depend on each other,
                along which axis samples are independent, at which lengths the module answers, what it answers with
             -> Source

Known attentions inside the module are lowered, everything else is traced as it is. Two alternatives were weighed. A
description that the user writes is one more thing to get wrong. Ranges from the guards of torch.export miss what no
guard sees: a table of positions that arange reads ends somewhere, and only a run of the module shows where.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import nn

from edgexf import names
from edgexf.bundle import manifest as contract
from edgexf.bundle.heads import CLASSES, head_of
from edgexf.bundle.signature import Axis, Signature
from edgexf.errors import ExportError, in_a_sentence, said_by
from edgexf_exporters.answers import named_outputs
from edgexf_exporters.hard_values import ids_apart
from edgexf_exporters.hooks import frozen, started_from
from edgexf_exporters.lowerings.fixed_random import SEED
from edgexf_exporters.lowerings.swap import library_models, variants_in
from edgexf_exporters.source import ModuleInputs, Source, Values
from edgexf_exporters.sources.calls import arguments, in_float32
from edgexf_exporters.sources.modules.axes import Sizes, is_whole, shapes_of
from edgexf_exporters.sources.modules.examples import Draws, is_choice, special_ids
from edgexf_exporters.sources.modules.memory import check_memory, fresh_copy
from edgexf_exporters.sources.modules.outputs import declared, plain, sizes_apart, sizes_near, telling
from edgexf_exporters.sources.modules.padding import INVARIANT, NONE, rule_of
from edgexf_exporters.sources.modules.probe import Answer, Probe, padding_ids
from edgexf_exporters.sources.modules.relations import related
from edgexf_exporters.targets import Target, target_of
from edgexf_exporters.variant import Variant

RESERVED = {
    names.TARGET,
    names.POSITION,
    names.TARGET_START,
    names.TARGET_END,
    names.RELEVANCE,
    names.RESIDUAL,
    "method",
}


def from_module(
    module: nn.Module,
    example_inputs: Any,
    dynamic_shapes: Any = None,
    origin: Mapping[str, Any] | None = None,
    max_global: int | None = None,
    max_length: int | None = None,
    ends: Mapping[str, int] | None = None,
    longest: Mapping[str, int] | None = None,
) -> Source:
    """The source of a custom module.

    `example_inputs` are a tensor, a tuple in the order of ``forward``, or a dictionary by name. `max_global` tokens of a
    row may be global in a library model inside the module; by default as many as in the examples. `max_length` is the
    largest size of each axis that varies, other than that of samples. `ends` holds the id that each row of an input must end
    with, by the name of the input. With `longest`, which holds the largest size of the last axis of an input by its name,
    `max_length` bounds only the axes that have no bound of their own.

    Raises UsageError for examples that don't fit ``forward``, and ExportError for a module that does not answer them.
    """
    examples, settings = arguments(module, example_inputs)
    module = in_float32(module)
    with quiet_libraries(), frozen(module):
        fresh = fresh_copy(module)
        probe = Probe(module, Draws(examples, shapes_of(examples, dynamic_shapes), ends=ends or {}), settings)
        source = Described(probe, max_global, max_length, longest).source()
        assert source.module_inputs is not None  # noqa: S101 (tells mypy: the source of a module has them)
        check_memory(probe, fresh, source.module_inputs.signature)
    return replace(source, provenance={**(origin or {"source": "a module in memory"}), **source.provenance})


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """Silences what transformers says at each call of its models, if the module may hold one."""
    if "transformers" not in sys.modules:
        yield
        return
    from edgexf_exporters.sources.notices import quiet

    with quiet():
        yield


OWN_RULE = "the module's own"  # of an attention that only follows the masks that the module gives it
MODULE = Variant("module", "as it is", "", "", "", padding="none", subquadratic=False, family="module")


class Described:
    """Asks a `Probe` in order, and makes the `Source` of its module."""

    def __init__(
        self, probe: Probe, max_global: int | None = None, max_length: int | None = None,
        longest: Mapping[str, int] | None = None,
    ) -> None:  # fmt: skip
        self.probe = probe
        self.module = probe.module
        self.settings = probe.settings
        self.families = [about for _, _, about in library_models(probe.module)]
        self.max_global = max_global or max(probe.global_tokens(), 1)
        self.max_length, self.longest = max_length, longest

    @property
    def draws(self) -> Draws:
        return self.probe.draws

    def learn(self, **known: Any) -> None:
        """Gives the probe draws that know more."""
        self.probe.draws = replace(self.probe.draws, **known)

    def source(self) -> Source:
        probe, readers = self.probe, self.probe.readers()
        below = {name: min(reader.num_embeddings for reader in found) for name, found in readers.items()}
        self.learn(max_global=self.max_global)
        tables = {
            name: np.unique(np.concatenate([ids_apart(one.weight, below[name]) for one in found]))
            for name, found in readers.items()
        }
        self.learn(below=below, apart=tables, special=special_ids(self.module), padding=padding_ids(readers))
        self.learn(real=probe.masks())
        self.learn(levels=probe.levels())
        shapes, stuck = related(self.draws.shapes, lambda shapes, sizes: probe.answers(sizes, shapes))
        self.learn(shapes=shapes.fixed(stuck))
        self.learn(real=probe.masks())
        self.learn(within=probe.within())
        self.learn(large=probe.large())
        samples = probe.samples()
        self.learn(real={name: mark for name, mark in self.draws.real.items() if self.rows(name) == samples})
        ranges = {symbol: probe.range(symbol, samples, self.bound(symbol)) for symbol in self.draws.shapes.symbols}
        axes = self.named(ranges, samples)
        only = {name: self.start(found[0]) for name, found in readers.items() if len(found) == 1}
        given = {name: repr(value) for name, value in self.settings.items() if value is not None}
        called = axes[samples].name if samples in axes else ""
        within = dict(self.draws.within)
        return self.described(Signature(tuple(axes.values()), below, called, within, self.fixed(), given), only)

    def bound(self, symbol: str) -> int | None:
        """The largest size of an axis that a caller chose."""
        shapes = self.draws.shapes
        if self.longest is None:
            return self.max_length
        chosen = {shapes.axes[name][-1]: most for name, most in self.longest.items()}
        return chosen.get(symbol, None if symbol in shapes.most else self.max_length)

    def rows(self, name: str) -> int | str:
        return self.draws.shapes.axes[name][0]

    def named(self, ranges: Mapping[str, Axis], samples: str) -> dict[str, Axis]:
        """Fixes the axes that take a single size, and names the others. Returns the named axes by symbol."""
        single = [symbol for symbol, axis in ranges.items() if axis.least == axis.most and symbol != samples]
        shapes = self.draws.shapes.fixed(single)
        called = shapes.names(samples)
        within = {name: replace(one, axis=called.get(one.axis, "")) for name, one in self.draws.within.items()}
        self.learn(shapes=shapes.named(called), within={name: one for name, one in within.items() if one.axis})
        return {symbol: replace(ranges[symbol], name=name) for symbol, name in called.items()}

    def fixed(self) -> tuple[str, ...]:
        """The axes that could have varied but don't, in words: all fixed axes, but the features at the end of floats."""
        return tuple(
            f"{name} axis {place} at {axis}"
            for name, row in self.draws.shapes.axes.items()
            for place, axis in enumerate(row)
            if isinstance(axis, int) and axis > 1 and (is_whole(self.draws.examples[name]) or place < len(row) - 1)
        )

    def start(self, reader: nn.Embedding) -> nn.Module:
        """Where an explanation starts that starts from `reader`, by the family of the library model that holds it."""
        starts = [about.embedding for about in self.families if about.embedding is not None]
        return next((start for start in starts if any(part is reader for part in start.modules())), reader)

    def described(self, signature: Signature, readers: Mapping[str, nn.Module]) -> Source:
        """The source, from what the probe knows at the end."""
        tensors, outputs = self.tensors(), self.outputs(signature)
        first, found = tensors[0], variants_in(self.module)
        length = next((axis for axis in signature.axes if axis.name != signature.samples), Axis("", 1, 1, 1))
        head = head_of(outputs, signature.samples)
        classes = head.columns if head is not None and head.kind == CLASSES else 0
        reader = self.reader(signature, readers)
        chosen = self.max_global if any(is_choice(tensor.name) for tensor in tensors) else 0
        axes = [axis.name for axis in signature.axes]
        reason = self.unexplained(reader, target_of(outputs, signature.samples, axes))
        padding = self.padding(found, signature, tensors, outputs)
        return Source(
            name=type(self.module).__name__.lower(),
            task="module",
            variant=replace(MODULE, attention=", ".join(variant.name for variant in found) or "as it is"),
            module=self.module,
            embedding=None if reason else reader,
            outputs=outputs,
            limits=contract.Limits(signature.below.get(first.name, 1), length.least, length.most, 1, chosen, padding),
            labels=tuple(f"LABEL_{index}" for index in range(classes if isinstance(classes, int) else 0)),
            preprocess=None,
            first_id=0,
            padding_id=0,
            module_inputs=ModuleInputs(
                tensors,
                signature,
                self.draws,
                self.draws.real,
                self.max_global,
                self.draws.special,
                self.draws.shapes.examples,
                self.draws.large,
            ),
            has_argmax=any(one.has_argmax for one in found) or any(one.has_argmax for one in self.families),
            settings=self.settings,
            call_context=self.probe.around,
            reason=reason,
            quiet=quiet_libraries,
            defined=any(about.per_row is not None for about in self.families),
            config={"architectures": [type(self.module).__name__]},
            provenance={
                **{name: value for about in self.families for name, value in about.provenance.items()},
                "architecture": f"{type(self.module).__module__}.{type(self.module).__qualname__}",
                **({"seed": SEED} if any(variant.call_context for variant in found) else {}),
            },
        )

    def padding(
        self,
        found: Sequence[Variant],
        signature: Signature,
        tensors: Sequence[contract.Tensor],
        outputs: Sequence[contract.Tensor],
    ) -> str:
        """The padding rule. Where a library inside the module has a rule of its own, the module is not asked."""
        known = [variant.padding for variant in found] + [about.padding for about in self.families]
        chooses = any(one.has_argmax for one in found) or any(one.has_argmax for one in self.families)
        if chooses or not set(known) <= {INVARIANT, OWN_RULE}:
            return NONE
        return rule_of(self.probe, signature, tensors, outputs, names.SEQUENCE)

    def reader(self, signature: Signature, readers: Mapping[str, nn.Module]) -> nn.Module | None:
        """The module from which an explanation starts; None without a first input that an explanation can start from.

        It is the embedding that reads the token ids [samples, tokens] or [samples, choices, tokens], or `Values` if the first
        input is float32.
        """
        first = self.tensors()[0]
        if signature.samples not in first.shape:
            return None
        if first.dtype == "float32":
            return Values()
        rows = len(first.shape) in (2, 3) and all(isinstance(axis, str) for axis in first.shape)
        return readers.get(first.name) if rows else None

    def unexplained(self, reader: nn.Module | None, target: Target | None) -> str:
        """Why no explanation can be compiled; empty if it can be compiled."""
        taken = sorted({tensor.name for tensor in self.tensors()} & RESERVED)
        if taken:
            return f"its inputs have names that an explanation needs ({', '.join(taken)})"
        if target is None:
            return "its first answer is no logits, of each sample or each token"
        if reader is None:
            return "its first input is neither values of samples nor token ids of samples and tokens that one embedding reads"
        inputs = {
            name: torch.from_numpy(array) for name, array in self.draws(self.draws.shapes.examples, seed=1).items()
        }
        try:
            with started_from(reader, inputs) as (given, leaves), self.probe.around(self.module):
                outputs = named_outputs(self.module(**given, **self.settings))
                _, *further = torch.autograd.grad(next(iter(outputs.values())).sum(), leaves)
        except Exception as error:  # noqa: BLE001 (a custom module may raise any error; the reason is reported)
            return f"its eager model has no gradient ({said_by(error)})"
        times = 1 + sum(
            bool(slope.any()) for slope in further
        )  # a library reads padding again, which no answer follows
        return "" if times == 1 else f"its embedding reads {times} times"

    def tensors(self) -> tuple[contract.Tensor, ...]:
        """The inputs of the module, in order."""
        return tuple(
            contract.Tensor(name, str(tensor.dtype).removeprefix("torch."), self.draws.shapes.axes[name])
            for name, tensor in self.draws.examples.items()
        )

    def outputs(self, signature: Signature) -> tuple[contract.Tensor, ...]:
        """The outputs of the module: their names, dtypes and axes.

        Raises ExportError where axes can't be told apart, and for outputs whose number changes with the sizes.
        """
        axes = signature.axes
        runs = self.runs(sizes_apart(axes, signature.samples))
        first = runs[0][1]

        def shown(name: str, place: int) -> list[tuple[Sizes, int]]:
            return [(sizes, answer[name].shape[place]) for sizes, answer in runs]

        places = [(name, place) for name in first for place in range(first[name].ndim)]
        if any(plain(axes, shown(*place)) is None for place in places):
            runs += self.runs(sizes_near(axes, signature.samples), first)
        while sizes := next((one for place in places for one in [telling(axes, shown(*place))] if one), None):
            runs += self.runs([sizes], first)
        own = self.probe.lengths_of_values(runs[0][0])
        return tuple(
            contract.Tensor(
                name,
                str(array.dtype),
                tuple(
                    f"{name}_{place}" if (name, place) in own else declared(name, place, axes, shown(name, place))
                    for place in range(array.ndim)
                ),
            )
            for name, array in first.items()
        )

    def runs(self, chosen: Sequence[Sizes], first: Answer | None = None) -> list[tuple[Sizes, Answer]]:
        """The answers at some sizes. They must hold the same outputs as `first`, or as each other."""
        found: list[tuple[Sizes, Answer]] = []
        for sizes in chosen:
            with in_a_sentence(
                f"a module must answer when its axes change together (here {sizes})",
                "fix an axis with dynamic_shapes, or mend what depends on two of them",
            ):
                found.append((sizes, self.probe.answer(self.draws(sizes, seed=1))))
            first = first or found[0][1]
            if kinds(found[-1][1]) != kinds(first):
                raise ExportError(
                    f"a module must answer with the same outputs at all sizes ({', '.join(first)}), got others at {dict(sizes)}; "
                    "fix an axis with dynamic_shapes, or return the same outputs."
                )
        return found


def kinds(answer: Answer) -> dict[str, tuple[str, int]]:
    """The dtype and the number of axes of each output."""
    return {name: (str(array.dtype), array.ndim) for name, array in answer.items()}
