"""ModernBERT and its decoder: windows in blocks, and full attention a slice of the queries at a time.

    before  a mask [batch, 1, sequence, sequence] for scaled_dot_product_attention, in every layer
    after   sliding layer  block j attends to the blocks around it: MatMul, Add of the constant band, Softmax, MatMul
            full layer     `edgexf_exporters.trace.sliced`
            rotations      constants: [q, k] * cos + [-second half, first half] * sin, over the halves of a head

The length is a multiple of the block; the graph pads at its edge. The factor 1 / sqrt(width of a head) is in the cosines
and sines of the queries. An additional column of the keys hides padding. A query whose window holds no real token mixes
nothing, as in the library: a head may read the first token of an input that is padded on the left.

Two alternatives were weighed for windows. A slice of the queries with the keys around it, in a Scan too, has smaller
tensors, but its products are small and follow one another. Blocks of half a window compute less of what the band hides,
and copy more.
Source: Warner et al. 2024, "ModernBERT", section 2.1; Su et al. 2021, "RoFormer", eq. 34; `ModernBertModel` and
`ModernBertDecoderModel` of transformers.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import ModernBertDecoderModel, ModernBertModel, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, BaseModelOutputWithPast

from edgexf.bundle.manifest import Limits
from edgexf.errors import ExportError
from edgexf.models.full import join_heads
from edgexf_exporters.lowerings.reference.full import HIDDEN, hide
from edgexf_exporters.source import Family
from edgexf_exporters.trace.sliced import sliced

SLIDING, FULL = "sliding_attention", "full_attention"
LARGEST = 128  # tokens of a block: a wider window takes several blocks to each side; a slice of queries is whole blocks
ROTATIONS = (
    "default",
    "linear",
    "llama3",
    "yarn",
    "dynamic",
)  # kinds whose angles are the same at all lengths of the contract


def turned(tokens: Tensor, cosine: Tensor, sine: Tensor) -> Tensor:
    """`tokens` [..., width] turned by their positions; cosine and sine broadcast to them."""
    first, second = tokens.chunk(2, dim=-1)
    return tokens * cosine + torch.cat((-second, first), dim=-1) * sine


class Positions:
    """The rotations of one kind of layers, for queries and keys at once, [sequence, 2, 1, head_width] each."""

    def __init__(self, rotary: Any, kind: str, length: int, width: int) -> None:
        places = torch.arange(length).unsqueeze(-1).to(torch.float32)
        angles = places * getattr(rotary, f"{kind}_inv_freq").to(torch.float32)
        both = torch.cat((angles, angles), dim=-1)[:, None, None]  # [sequence, 1, 1, head_width]
        scale = float(getattr(rotary, f"{kind}_attention_scaling"))
        factors = torch.tensor([scale / math.sqrt(width), scale]).reshape(1, 2, 1, 1)
        self.cosine, self.sine = both.cos() * factors, both.sin() * factors

    def turn(self, tokens: Tensor) -> Tensor:
        """Queries and keys [batch, sequence, 2, heads, head_width], the queries divided by sqrt(head_width)."""
        return turned(tokens, self.cosine, self.sine)


class Windows:
    """The windows of the sliding layers.

    Attributes:
        block: the tokens of a block.
        before, after: the blocks before and behind a block that its windows reach.
        band: 0 where a key is in the window of a query, else `HIDDEN`, [block, keys].
        reach: how many places before and behind a query its window reaches.
    """

    def __init__(self, before: int, after: int) -> None:
        self.reach = before, after
        self.block = min(1 << (max(before, after, 1) - 1).bit_length(), LARGEST)
        self.before, self.after = -(-before // self.block), -(-after // self.block)
        keys = torch.arange((self.before + 1 + self.after) * self.block) - self.before * self.block
        offset = keys - torch.arange(self.block).unsqueeze(1)  # key minus query
        self.band = torch.where((offset >= -before) & (offset <= after), 0.0, HIDDEN).float()

    def around(self, blocks: Tensor, edge: Tensor, axis: int, join: int) -> Tensor:
        """Joins every block with the blocks around it along `join`; `edge` (one block) stands in at both ends."""
        count = blocks.shape[axis]
        whole = torch.cat([edge] * self.before + [blocks] + [edge] * self.after, dim=axis)
        return torch.cat([whole.narrow(axis, place, count) for place in range(self.before + 1 + self.after)], dim=join)

    def attend(self, query: Tensor, key: Tensor, value: Tensor, real: Tensor) -> Tensor:
        """Mixed values [batch, sequence, width]. query, key, value [batch, heads, sequence, head_width]; real [batch, sequence]."""
        query, key = hide(query, key, real.unsqueeze(1))
        query, key, value = (tokens.unflatten(2, (-1, self.block)) for tokens in (query, key, value))
        key = key.transpose(-1, -2)
        no_key = F.pad(torch.zeros_like(key[:, :, :1, :-1]), (0, 0, 0, 1), value=HIDDEN)
        keys = self.around(key, no_key, -3, -1)
        values = self.around(value, torch.zeros_like(value[:, :, :1]), -3, -2)
        scores = query @ keys + self.band  # [batch, heads, blocks, block, keys]
        return join_heads((scores.softmax(dim=-1) @ values).flatten(2, 3))

    def sees(self, real: Tensor) -> Tensor:
        """Whether the window of a query holds a real token, bool [batch, sequence]."""
        count = F.pad(real.long().cumsum(dim=1), (1, 0))  # the real tokens before each place
        places = torch.arange(real.shape[1])
        first = (places - self.reach[0]).clamp(min=0)
        behind = torch.minimum(places + self.reach[1] + 1, torch.full_like(places, 1) * real.shape[1])
        return count.index_select(1, behind) > count.index_select(1, first)


class Encoder(nn.Module):
    """`ModernBertModel`; takes the inputs that its heads pass on, padded to whole blocks."""

    causal = False
    answers: Any = BaseModelOutput

    def __init__(self, original: ModernBertModel | ModernBertDecoderModel, _: Limits) -> None:
        super().__init__()
        self.original = original
        config: Any = original.config
        self.kinds: tuple[str, ...] = tuple(config.layer_types)
        before, after = self.reach(config)
        self.windows = Windows(before, after) if SLIDING in self.kinds else None
        self.block = self.windows.block if self.windows else 1

    def reach(self, config: Any) -> tuple[int, int]:
        """How many places before and behind a token its window reaches."""
        return config.sliding_window, config.sliding_window

    def projected(self, attention: Any, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Queries and keys [batch, sequence, 2, heads, head_width], and values [batch, sequence, heads, head_width]."""
        both = attention.Wqkv(hidden).unflatten(2, (3, -1, attention.head_dim))
        return both[:, :, :2], both[:, :, 2]

    def forward(
        self, input_ids: Tensor | None = None, attention_mask: Tensor | None = None, inputs_embeds: Tensor | None = None,
        output_hidden_states: bool = False, **_: object,
    ) -> Any:  # fmt: skip
        own: Any = self.original
        hidden = own.embeddings(input_ids, inputs_embeds=inputs_embeds)
        real = torch.ones(hidden.shape[:2], dtype=torch.bool) if attention_mask is None else attention_mask > 0
        seen = {FULL: self.sees(real)} | ({SLIDING: self.windows.sees(real)} if self.windows else {})
        rotations = {
            kind: Positions(own.rotary_emb, kind, hidden.shape[1], own.layers[0].attn.head_dim)
            for kind in set(self.kinds)
        }
        states = [hidden]
        for layer, kind in zip(own.layers, self.kinds, strict=True):
            attention, normed = layer.attn, layer.attn_norm(hidden)
            both, value = self.projected(attention, normed)
            query, key = rotations[kind].turn(both).permute(2, 0, 3, 1, 4).unbind()
            value = value.transpose(1, 2)
            mixed = self.mixed(kind, query, key, value, real)
            hidden = hidden + attention.Wo(torch.where(seen[kind].unsqueeze(-1), mixed, 0.0))
            hidden = hidden + layer.mlp(layer.mlp_norm(hidden))
            states.append(hidden)
        states[-1] = hidden = own.final_norm(hidden)
        return self.answers(last_hidden_state=hidden, hidden_states=tuple(states) if output_hidden_states else None)

    def mixed(self, kind: str, query: Tensor, key: Tensor, value: Tensor, real: Tensor) -> Tensor:
        if kind == SLIDING and self.windows:
            return self.windows.attend(query, key, value, real)
        query, key = hide(query, key, real.unsqueeze(1))
        return join_heads(sliced(query, key, value, self.causal, masked=True))

    def sees(self, real: Tensor) -> Tensor:
        """Whether a query of a full layer sees a real token, bool, broadcast to [batch, sequence]."""
        return real.any(dim=1, keepdim=True)


class Decoder(Encoder):
    """`ModernBertDecoderModel`, whose tokens see what stands before them, and whose projections are three."""

    causal = True
    answers = BaseModelOutputWithPast

    def reach(self, config: Any) -> tuple[int, int]:
        return config.sliding_window - 1, 0

    def projected(self, attention: Any, hidden: Tensor) -> tuple[Tensor, Tensor]:
        query, key, value = (
            project(hidden).unflatten(2, (-1, attention.head_dim))
            for project in (attention.q_proj, attention.k_proj, attention.v_proj)
        )
        return torch.stack((query, key), dim=2), value

    def sees(self, real: Tensor) -> Tensor:
        return real.long().cumsum(dim=1) > 0


def describe(model: PreTrainedModel) -> Family:
    """Makes the `Family` of a ModernBERT.

    Explanations start behind the norm of the embeddings. Nothing is added to a token's vector before this norm, whose
    answer does not change with the length of the vector: the plain gradient times the vector would be 0.

    Padding may stand on the left: positions are relative. But the library's eager attention gives a token whose window
    holds no real token the mean of all others, where its other ways give 0. So a row without real tokens has no answer then.

    Raises ExportError for rotations whose angles change with the length, and for a decoder whose windows are empty.
    """
    config: Any = model.config
    base: Any = getattr(model, model.base_model_prefix, model)
    for kind in set(config.layer_types):
        rotation = config.rope_parameters[kind]["rope_type"]
        if rotation not in ROTATIONS:
            raise ExportError(
                f"the rotary positions of a ModernBERT must be one of {', '.join(ROTATIONS)}, got {rotation!r} for {kind}, whose "
                "angles change with the length; export a model that was trained with other ones."
            )
    if isinstance(base, ModernBertDecoderModel) and SLIDING in config.layer_types and config.sliding_window < 1:
        raise ExportError(
            f"the windows of a decoder must hold its own token, got local_attention {config.local_attention}, of which the library takes half; "
            "set at least 2, or make all layer_types full_attention."
        )
    left = config._attn_implementation != "eager"
    return Family(
        config.max_position_embeddings, embedding=base.embeddings, pads_left=left, needs_real=not left, sliced=True
    )
