"""A library model inside a custom module: padded to whole blocks around the model, not around the module.

    before  LongformerModel(input_ids [batch, length], ...)          it pads by itself, in a way that no trace can follow
    after   places -> input_ids [batch, blocks * block], ... -> the lowered model -> last_hidden_state [batch, length]
            and hidden_states [batch, length] each, where the module asks for them

A head may do anything with the tokens of a library model: a mean over all of them, a convolution, an LSTM. So it must
see as many tokens as without edgexf. Tokens behind the end of an input have the id of padding, or its vector where a
module gives vectors, and the mask hides them.
`edgexf_exporters.trace.blocks` says why lengths trace.

A caller may choose global tokens in `forward`, so no runtime counts them. Where a row has more of them than the graph
takes, the answers of this row are NaN: a wrong number would go unseen. The same holds for a row without real tokens, where
a library's answer is the rounding of its scores or none (Funnel, Nystromformer). The other models answer such a row as
their libraries do.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from edgexf import names
from edgexf.errors import ExportError
from edgexf_exporters.trace.blocks import places

TOKENS = (names.INPUT_IDS, names.ATTENTION_MASK, names.TOKEN_TYPE_IDS, names.GLOBAL_ATTENTION_MASK)
VECTORS = "inputs_embeds"
HIDDEN, STATES, POOLED = "last_hidden_state", "hidden_states", "pooler_output"
ASKS = f"output_{STATES}"
READ: ContextVar[Reading | None] = ContextVar("READ", default=None)


@dataclass(frozen=True)
class Reading:
    """The tokens that an embedding reads inside a padded model.

    Attributes:
        place: the places of whole blocks, int64 [blocks * block].
        length: the number of tokens before padding.
        padding: the id of the padding token.
    """

    place: Tensor
    length: int
    padding: int

    def rows(self, tokens: Tensor) -> Tensor:
        """`tokens` [batch, length, ...] at each place, with any of them behind the end."""
        return tokens.index_select(1, self.place.clamp(max=self.length - 1))

    @property
    def inside(self) -> Tensor:
        """Whether a place holds a token, bool [blocks * block]."""
        return self.place < self.length


def rows_read(embedding: nn.Module, vectors: Tensor) -> Tensor:
    """What `embedding` answers inside a padded model, if it reads `vectors` [batch, length, width]."""
    reading = READ.get()
    if reading is None:
        return vectors
    behind = embedding(torch.full((1, 1), reading.padding))
    return torch.where(reading.inside.unsqueeze(-1), reading.rows(vectors), behind)


@contextmanager
def read(reading: Reading) -> Iterator[None]:
    """Embeddings read padded tokens for the duration."""
    token = READ.set(reading)
    try:
        yield
    finally:
        READ.reset(token)


@dataclass(frozen=True)
class Padding:
    """How a library model pads.

    Attributes:
        block: the number of tokens in a block.
        switch: the largest length that is split into two blocks of half the length, or 0.
        variable: the lowered modules that must know the number of blocks and the tokens of a block.
        mark: the value of ``attention_mask`` behind the end of an input.
        token: the id of the padding token.
        max_global: how many tokens of a row may be global; 0 for a model without global tokens.
        strides: how many tokens a row of each hidden state stands for; empty if it is one token in all of them.
        needs_real: a row without real tokens has no answer.
    """

    block: int
    switch: int
    variable: tuple[Any, ...]
    mark: int
    token: int
    max_global: int
    strides: tuple[int, ...] = ()
    needs_real: bool = False


class StandIn(nn.Module):
    """Stands in for `original`, a library model inside a custom module. `inner` computes the answer.

    What else a module asks of the model, such as its config or its embeddings, is that of the original.
    """

    def __init__(self, original: nn.Module, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner
        self.original = (original,)  # in a tuple, so that torch does not make it a part of this module

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.__dict__["original"][0], name)


class Plain(StandIn):
    """Stands in for a model that takes any length. Calls that its lowering does not take go to the original.

    `lowers` is false for an original whose lowering would answer otherwise, such as a decoder.
    """

    def __init__(self, original: nn.Module, inner: nn.Module, lowers: bool) -> None:
        super().__init__(original, inner)
        self.lowers = lowers
        lowering: Any = inner
        lowering.empty = getattr(original.config, "_attn_implementation", "") == "sdpa"  # which answers 0 there

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Takes and returns what the library's model does."""
        (original,) = self.original
        given = named(original, args, kwargs)
        asked = given.pop("return_dict", None)
        if not self.lowers or unlowered(given) is not None:
            return original(*args, **kwargs)
        whole: Any = original.config
        found = self.inner(**given)
        return found if (whole.return_dict if asked is None else asked) else found.to_tuple()


class Padded(StandIn):
    """Stands in for a model of whole blocks. `inner` is the lowered model, or the original with lowered parts."""

    filler: Tensor

    def __init__(self, original: nn.Module, inner: nn.Module, padding: Padding) -> None:
        super().__init__(original, inner)
        self.padding = padding
        library: Any = original
        table = getattr(library.get_input_embeddings(), "weight", torch.zeros(padding.token + 1, 1))
        self.register_buffer("filler", table[padding.token].detach().clone(), persistent=False)  # not the whole table

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        """Takes and returns what the library's model does. Raises ExportError for arguments that are not lowered."""
        (original,) = self.original
        given = named(original, args, kwargs)
        asked = given.pop("return_dict", None)
        states = given.pop(ASKS, False)
        check_lowered(original, given, states)
        tokens = first(given)
        blocks = places(tokens, self.padding.block, self.padding.switch)
        reading = Reading(blocks.flatten(), tokens.shape[1], self.padding.token)
        for module in self.padding.variable:
            module.frame = tuple(blocks.shape)
        with read(reading):
            padded = {name: self.padded(name, rows, reading) for name, rows in self.tokens(given).items()}
            found = self.inner(**{names.INPUT_IDS: None, **padded}, output_hidden_states=states, return_dict=True)
        found[HIDDEN] = self.cropped(found[HIDDEN], reading, 1, given)
        if found.get(POOLED) is not None:
            found[POOLED] = self.checked(found[POOLED], given)
        if states:
            strides = self.padding.strides or (1,) * len(found[STATES])
            pairs = zip(found[STATES], strides, strict=True)
            found[STATES] = type(found[STATES])(self.cropped(state, reading, stride, given) for state, stride in pairs)
        whole: Any = original.config
        return found if (whole.return_dict if asked is None else asked) else found.to_tuple()

    def tokens(self, given: Mapping[str, Any]) -> dict[str, Tensor]:
        """The inputs of `inner`, [batch, length] each: those that were given, and those that the library makes."""
        ones = torch.ones(first(given).shape[:2], dtype=torch.int64)
        found = {names.ATTENTION_MASK: ones, **given}
        if self.padding.max_global:
            chosen = chosen_tokens(given)
            found[names.GLOBAL_ATTENTION_MASK] = torch.zeros_like(ones) if chosen is None else chosen
        return found

    def padded(self, name: str, tokens: Tensor, reading: Reading) -> Tensor:
        """`tokens` [batch, length, ...] -> [batch, blocks * block, ...]."""
        if name == VECTORS:
            return torch.where(reading.inside.unsqueeze(-1), reading.rows(tokens), self.filler)
        filler = {names.INPUT_IDS: self.padding.token, names.ATTENTION_MASK: self.padding.mark}.get(name, 0)
        return torch.where(reading.inside, reading.rows(tokens.to(torch.int64)), filler)

    def cropped(self, hidden: Tensor, reading: Reading, stride: int, given: Mapping[str, Any]) -> Tensor:
        """`hidden` [batch, places / stride, width] -> [batch, length / stride, width], rounded up, and `checked`."""
        return self.checked(hidden.index_select(1, torch.arange((reading.length + stride - 1) // stride)), given)

    def checked(self, hidden: Tensor, given: Mapping[str, Any]) -> Tensor:
        """`hidden` [batch, ..., width]; NaN in rows with too many global tokens, or without the real token they need."""
        rows = (slice(None), *[None] * (hidden.ndim - 1))
        chosen, mask = chosen_tokens(given), given.get(names.ATTENTION_MASK)
        if self.padding.max_global and chosen is not None:
            many = chosen.sum(dim=1) > self.padding.max_global
            hidden = torch.where(many[rows], torch.nan, hidden)
        if self.padding.needs_real and mask is not None:
            hidden = torch.where((mask > 0).any(dim=1)[rows], hidden, torch.nan)
        return hidden


def chosen_tokens(given: Mapping[str, Any]) -> Tensor | None:
    """Which real tokens are global, int64 [batch, tokens]: by their own mask, or by a 2 in the mask of the tokens.

    None if neither mask is given.
    """
    mask, chosen = given.get(names.ATTENTION_MASK), given.get(names.GLOBAL_ATTENTION_MASK)
    if mask is None:
        return None if chosen is None else (chosen > 0).to(torch.int64)
    found: Tensor = mask > 1 if chosen is None else (mask > 1) | ((chosen > 0) & (mask > 0))
    return found.to(torch.int64)


def named(original: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of a call by name, without those that say nothing: None, False, and whether to keep a cache.

    Outputs that the config asks for count as asked for by the call.
    """
    bound = inspect.signature(original.forward).bind(*args, **kwargs)
    given = {**bound.arguments, **bound.arguments.get("kwargs", {})}
    asked = {name: True for name in (ASKS, "output_attentions") if getattr(original.config, name, False)}
    return {
        name: value
        for name, value in {**asked, **given}.items()
        if name == "return_dict" or not (name in ("kwargs", "use_cache") or value is None or value is False)
    }


def first(given: Mapping[str, Any]) -> Tensor:
    """The ids [batch, length], or the vectors [batch, length, width] that stand in for them."""
    tokens: Tensor = given[names.INPUT_IDS] if names.INPUT_IDS in given else given[VECTORS]
    return tokens


def unlowered(given: Mapping[str, Any], vectors: bool = False) -> str | None:
    """The first argument that a lowered model does not take, in words; None if it takes all.

    With `vectors` it takes `VECTORS` in place of the ids.
    """
    axes = {**dict.fromkeys(TOKENS, 2), **({VECTORS: 3} if vectors else {})}
    for name, value in given.items():
        if name not in axes or value.ndim != axes[name]:
            return name + (f" with {value.ndim} axes" if isinstance(value, Tensor) else "")
    if names.INPUT_IDS in given and VECTORS in given:
        return f"both {names.INPUT_IDS} and {VECTORS}"
    return None if names.INPUT_IDS in given or VECTORS in given else "a call without input_ids"


def check_lowered(original: nn.Module, given: Mapping[str, Any], states: object) -> None:
    """Raises ExportError for a call that a padded model does not take. `states`: whether the call asks for `STATES`."""
    odd = unlowered(given, vectors=True)
    if odd is None and not isinstance(states, bool):
        odd = f"{ASKS}={states!r}"
    if odd is not None:
        raise ExportError(
            f"a {type(original).__name__} inside a custom module must be called with {', '.join(TOKENS)} [batch, tokens], "
            f"or with {VECTORS} [batch, tokens, width] in place of the ids, and {ASKS} true or false, got {odd}; "
            "leave it out, or export that model by itself."
        )
