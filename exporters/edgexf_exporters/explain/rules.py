"""Relevance rules: how each operator passes relevance from its output to its inputs.

In: any computation, inside ``with Rules(...)``. Out: the same values with other gradients, so that input * gradient is
relevance.

    operator                             AttnLRP                        CP-LRP
    linear, sum, view, selection         its gradient                   the same
    GELU, tanh, any activation f(x)      f(x) / x is a constant         the same
    softmax                              its gradient                   a constant
    product of k operands                1/k of its gradient            the same
    product with a sigmoid               the sigmoid is a constant      the same
    LayerNorm, a norm, a denominator     its scale is a constant        the same
    LSTM, GRU                            gates are constants            the same

Only operands that depend on the input count; autograd marks them (`requires_grad`). Linformer's projections are
parameters, so a product with them is a linear layer. The first entry of `TABLE` that names an operator is the rule of the
operator. An operator on the way without an entry is an error: it never gets its plain gradient. Orders, buckets and masks
have no gradient.

A torch mode sees each aten operator above autograd. So the same mode serves the graph that is exported and the
untouched model that the graph is compared with. Two alternatives were weighed. Edits of the graph need an analysis of
its data flow. Views and in-place writes in a library's code defeat such an analysis, so there would be nothing
independent to compare the graph with. Hooks on modules do not see the operators between modules, and attention consists
of such operators.
Source: Achtibat et al. 2024, "AttnLRP", section 3, eq. 8 to 15; Ali et al. 2022, "XAI for Transformers", section 4
(CP-LRP); Arras et al. 2017, section 3.2 (gates); Bach et al. 2015.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor
from torch._dispatch.python import enable_python_dispatcher
from torch._subclasses.fake_tensor import FakeTensor
from torch._subclasses.schema_check_mode import SchemaCheckMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map
from torch.utils.weak import WeakIdKeyDictionary

from edgexf.errors import ExportError
from edgexf_exporters.explain import recurrent
from edgexf_exporters.explain.gates import SIGMOIDS, Gates
from edgexf_exporters.explain.gradients import Activation, Mixed, Normalised, Recomputed, Shared
from edgexf_exporters.trace.attention import answered, causal, grouped, hidden

aten = torch.ops.aten
LONG = 2048  # tokens from which the weights of an untouched model's layer are computed twice
Operator = Callable[..., Any]


def depends(value: object) -> bool:
    return isinstance(value, Tensor) and value.requires_grad


def tensors(given: Sequence[Any]) -> list[Any]:
    """The operands, including the operands in lists."""
    return [value for one in given for value in (one if isinstance(one, list | tuple) else [one])]


class Above(SchemaCheckMode):
    """A mode that sees each aten operator above autograd, in its thread.

    torch allows three of its own modes above autograd; `SchemaCheckMode` is one of them, so this mode extends it.
    """

    def __init__(self) -> None:
        TorchDispatchMode.__init__(self, _dispatch_key=torch._C.DispatchKey.PreDispatch)
        self.stack = ExitStack()

    def __enter__(self) -> Any:
        self.stack.enter_context(enable_python_dispatcher())
        return super().__enter__()  # type: ignore[no-untyped-call]

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        self.stack.close()


class Fused(Above):
    """Plain gradients, but a softmax and the product behind it share one gradient: see `gradients.Mixed`."""

    def __init__(self) -> None:
        super().__init__()
        self.scores: Any = WeakIdKeyDictionary()  # weights -> scores, where weights = softmax(scores)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is aten.matmul.default and self.mixes(*args):
            return self.mixed(*args)
        return self.weighed(func, args, func(*args, **(kwargs or {})))

    def weighed(self, func: Any, given: Sequence[Any], found: Any) -> Any:
        """Remembers the scores of a softmax over keys, the last axis."""
        if func is aten.softmax.int and depends(found) and given[1] in (-1, found.ndim - 1):
            self.scores[found] = given[0]
        return found

    def mixes(self, left: Tensor, right: Tensor) -> bool:
        """Whether weights and values have the same rows and heads.

        Tensors with an axis of blocks do not count.
        """
        return left in self.scores and left.ndim in (3, 4) and left.shape[:-2] == right.shape[:-2]

    def mixed(self, weights: Tensor, value: Tensor) -> Tensor:
        found: Tensor = Mixed.apply(self.scores[weights], weights.detach(), value)  # type: ignore[no-untyped-call]
        return found


class Rules(Fused):
    """The mode that applies the rules; with `constant_softmax` the rules are those of CP-LRP.

    Raises ExportError with the name of an operator without a rule.
    """

    def __init__(self, constant_softmax: bool = False) -> None:
        super().__init__()
        self.constant_softmax = constant_softmax
        # tensor -> the tensor that it is an entrywise function of, and whether this function is not linear
        self.origins: Any = WeakIdKeyDictionary()
        self.gates = Gates()
        self.normal: Any = WeakIdKeyDictionary()  # a softmax's normaliser, or scores minus it -> True

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if not torch.is_grad_enabled() or not any(map(depends, tensors((*args, *named.values())))):
            return func(*args, **named)
        name = func.overloadpacket.__name__
        rule = RULES.get(name.removesuffix("_"))
        if rule is plain or (rule is not None and not name.endswith("_")):
            return self.traced(func, args, rule(self, func, *args, **named))
        if rule is not None:  # an in-place operator, by the form that is not in place
            name = name.removesuffix("_")
            found = args[0].copy_(self(getattr(aten, name), self.alike(args[0]), *args[1:], **named))
            return self.gates.add(found) if name in SIGMOIDS else found
        found = func(*args, **named)
        if is_view(func) or not any(map(depends, tensors([found]))):
            return self.traced(func, args, found)
        raise ExportError(
            f"every operator from the logits back to the embeddings must have a relevance rule, got {name} without; "
            "explain by gradient or integrated-gradients instead, or give it one in edgexf_exporters.explain.rules."
        )

    def __call__(self, op: Any, *given: Any, **named: Any) -> Any:
        """Applies the rule of an operator."""
        return RULES[op.__name__](self, op, *given, **named)

    def traced(self, op: Any, given: Sequence[Any], found: Any) -> Any:
        """Remembers gates, and the tensor that `found` is an entrywise function of, where it is a single tensor."""
        name = op.overloadpacket.__name__
        kept = is_view(op) or (name == "rsub" and not depends(given[1]))
        if name in SIGMOIDS or (kept and given[0] in self.gates):
            self.gates.update(tensors([found]))
        if name in ENTRYWISE and isinstance(found, Tensor):
            origins = [self.origin(value) for value in given if depends(value)]
            if all(base is origins[0][0] for base, _ in origins):
                self.origins[found] = origins[0][0], name in ACTIVATIONS or any(curved for _, curved in origins)
        return found

    def alike(self, value: Tensor) -> Tensor:
        """A copy that is what `value` is: a gate, a function of the same tensor."""
        copy = value.clone()
        self.origins[copy] = self.origin(value)
        return self.gates.add(copy) if value in self.gates else copy

    def gate(self, one: Tensor, other: Tensor) -> Tensor | None:
        """The operand of a product that is a constant factor: of its own activation, or a sigmoid; None if neither is."""
        (base, curved), (other_base, other_curved) = self.origin(one), self.origin(other)
        if base is other_base and curved != other_curved:
            return one if curved else other
        gates = [value for value in (one, other) if value in self.gates]
        return gates[0] if len(gates) == 1 else None

    def origin(self, value: Tensor) -> tuple[Tensor, bool]:
        found: tuple[Tensor, bool] = self.origins.get(value, (value, False))
        return found


def constant_softmax_rules() -> Rules:
    """The rules of CP-LRP: the softmax is a constant, so that only the value path carries relevance."""
    return Rules(constant_softmax=True)


def is_view(op: Any) -> bool:
    """Whether the output of an operator is a view of its input."""
    return any(result.alias_info is not None and not result.alias_info.is_write for result in op._schema.returns)


def plain(_: Rules, op: Operator, *given: Any, **named: Any) -> Any:
    """Linear in its input, or a choice among its inputs: the plain gradient."""
    return op(*given, **named)


def stopped(_: Rules, op: Operator, *given: Any, **named: Any) -> Any:
    """No relevance passes."""
    return tree_map(torch.detach, op(*given, **named))


def product(rules: Rules, op: Operator, *given: Any, **named: Any) -> Any:
    """Linear in each of several operands: the operands that depend on the input share the gradient.

    A gate is a constant: see `Rules.gate`.
    """
    operands = [value for value in tensors(given) if depends(value)]
    if len(operands) == 2 and getattr(op, "overloadpacket", op) is aten.mul:
        gate = rules.gate(*operands)
        if gate is not None:
            return op(*(one.detach() if one is gate else one for one in given), **named)
    found = op(*given, **named)
    return shared(found, len(operands)) if len(operands) > 1 else found


def shared(value: Tensor, count: int) -> Tensor:
    """The same values; the gradient is divided by `count`."""
    same: Tensor = Shared.apply(value, count)  # type: ignore[no-untyped-call]
    return same


def affine(_: Rules, op: Operator, value: Any, weight: Any, *given: Any, **named: Any) -> Any:
    """Weights times the input, plus a bias.

    Raises ExportError for weights that depend on the input: no rule covers them.
    """
    if depends(weight):
        raise ExportError(
            "the weights of a layer must be parameters to have a relevance rule, got ones that depend on the input; "
            "explain by gradient or integrated-gradients instead, or compute with matmul."
        )
    return op(value, weight, *given, **named)


def matrix_product(rules: Rules, op: Operator, left: Tensor, right: Tensor) -> Any:
    """Like `product`, but halves the gradients at the smaller tensors: scores are larger than queries and keys."""
    if rules.mixes(left, right):
        found = rules.mixed(left, right)
        return shared(found, 2) if depends(right) else found
    if not (depends(left) and depends(right)):
        return op(left, right)
    width, columns = left.shape[-1], right.shape[-1]
    narrow = isinstance(columns, int) and not (isinstance(width, int) and width < columns)
    if narrow or left.ndim < 2 or right.ndim < 2:
        return product(rules, op, left, right)
    return op(shared(left, 2), shared(right, 2))


def added_product(
    rules: Rules, _: Operator, added: Any, left: Tensor, right: Tensor, beta: Any = 1, alpha: Any = 1
) -> Any:
    """``beta * added + alpha * left @ right``: a sum and a product."""
    return beta * added + alpha * matrix_product(rules, torch.matmul, left, right)


def quotient(_: Rules, op: Operator, value: Any, by: Any, *given: Any, **named: Any) -> Any:
    """A denominator is a scale, so it is a constant."""
    return op(value, by.detach() if depends(by) else by, *given, **named)


def activation(_: Rules, op: Operator, value: Tensor, *given: Any, **named: Any) -> Any:
    """f(x) = x * c, with c = f(x) / x."""
    return Activation.apply(value, op(value.detach(), *given, **named))  # type: ignore[no-untyped-call]


def gelu(_: Rules, __: Operator, value: Tensor, approximate: str = "none") -> Tensor:
    """x * c, with c = (1 + erf(x / sqrt 2)) / 2, so no division is needed; Hendrycks and Gimpel 2016, section 2."""
    fixed = value.detach()
    if approximate == "tanh":
        curve = (math.sqrt(2 / math.pi) * (fixed + 0.044715 * fixed.pow(3))).tanh()
    else:
        curve = (fixed * math.sqrt(0.5)).erf()
    return value * (0.5 * (1 + curve))


def layer_norm(
    _: Rules, __: Operator, value: Tensor, shape: Any, weight: Any = None, bias: Any = None, epsilon: float = 1e-5, *___: Any
) -> Any:  # fmt: skip
    """(x - mean) * c * weight + bias, with c = 1 / sqrt(variance)."""
    return Normalised.apply(value, weight, bias, list(shape), epsilon)  # type: ignore[no-untyped-call]


def batch_norm(rules: Rules, op: Operator, *given: Any, **named: Any) -> Any:
    """Linear, with the statistics of the training. Raises ExportError for the statistics of the batch."""
    if given[5]:
        raise ExportError(
            "a batch norm must use the statistics of its training, got one that takes its batch's; call eval() on it."
        )
    return plain(rules, op, *given, **named)


def softmax(rules: Rules, op: Operator, *given: Any, **named: Any) -> Any:
    found = (stopped if rules.constant_softmax else plain)(rules, op, *given, **named)
    return rules.weighed(op, given, found)


def normaliser(rules: Rules, op: Operator, *given: Any, **named: Any) -> Any:
    """The first step of a softmax in two steps: logsumexp."""
    found = op(*given, **named)
    rules.normal[found] = True
    return found


def difference(rules: Rules, op: Operator, *given: Any, **named: Any) -> Any:
    """A plain sum; also remembers scores minus their logsumexp, on the way to a softmax."""
    found = op(*given, **named)
    if isinstance(given[1], Tensor) and given[1] in rules.normal:
        rules.normal[found] = True
    return found


def exponential(rules: Rules, op: Operator, value: Tensor) -> Any:
    """The second step of a softmax in two steps, exp(x - logsumexp(x)).

    Raises ExportError for any other exponential: no rule covers it.
    """
    if value not in rules.normal:
        raise ExportError(
            "an exponential must be a softmax's, exp(x - logsumexp(x)), to have a relevance rule, got another one; "
            "explain by gradient or integrated-gradients instead, or compute with softmax."
        )
    return softmax(rules, op, value)


def attention(
    rules: Rules, _: Operator, query: Tensor, key: Tensor, value: Tensor, mask: Any = None, _dropout: float = 0.0,
    is_causal: bool = False, *, scale: float | None = None, enable_gqa: bool = False,
) -> Any:  # fmt: skip
    """Softmax(scale Q K^T + mask) V, computed in parts that have rules; Vaswani et al. 2017, eq. 1."""
    if enable_gqa:
        key, value = grouped(query, key, value)
    factor = 1 / math.sqrt(query.shape[-1]) if scale is None else scale
    query = query * factor
    if is_long(query, key, value) and not depends(mask):
        mask = causal(query, key) if is_causal else mask
        found = recomputed(rules, lambda *given: Recomputed.apply(*given, mask), query, key, value)  # type: ignore[no-untyped-call]
    else:
        scores = matrix_product(rules, torch.matmul, query, key.transpose(-1, -2))
        mask = causal(query, key) if is_causal else mask
        scores = scores if mask is None else hidden(scores, mask)
        found = matrix_product(rules, torch.matmul, softmax(rules, aten.softmax.int, scores, -1), value)
    return found if mask is None else answered(found, mask)


def is_long(query: Tensor, key: Tensor, value: Tensor) -> bool:
    """Whether the weights of an untouched model are so many that they are computed again in its reverse pass."""
    if isinstance(query, FakeTensor) or not query.shape[:-2] == key.shape[:-2] == value.shape[:-2]:
        return False
    return query.shape[-2] * key.shape[-2] > LONG**2


def recomputed(rules: Rules, op: Operator, query: Tensor, key: Tensor, value: Tensor) -> Any:
    """Softmax(Q K^T) V by an operator that keeps no weights, with the gradients that its two products have by rules."""
    if rules.constant_softmax:
        query, key = query.detach(), key.detach()
    elif depends(query) and depends(key):
        query, key = shared(query, 2), shared(key, 2)
    found = op(query, key, value)
    return shared(found, 2) if depends(value) and (depends(query) or depends(key)) else found


def sliced(rules: Rules, op: Operator, query: Tensor, key: Tensor, value: Tensor, *how: Any) -> Any:
    """The operators of a lowered model that compute a slice of the queries, or a block, at a time."""
    return recomputed(rules, lambda *given: op(*given, *how), query, key, value)


ACTIVATIONS = (
    *SIGMOIDS, "tanh", "silu", "elu", "selu", "celu", "mish", "softplus", "hardtanh", "hardswish", "relu6", "erf", "pow",
    "square", "softsign",
)  # fmt: skip
ENTRYWISE = {*ACTIVATIONS, "add", "sub", "rsub", "neg", "mul", "div"}
Rule = Callable[..., Any]
# The first entry that names an operator is its rule. In-place forms have the same rule.
TABLE: tuple[tuple[str, Rule], ...] = (
    ("constant rsqrt sqrt reciprocal linalg_vector_norm norm var std", stopped),
    ("linear conv1d conv2d conv3d", affine),
    ("mul einsum dot mv", product),
    ("matmul mm bmm", matrix_product),
    ("addmm baddbmm", added_product),
    ("div true_divide", quotient),
    ("layer_norm", layer_norm),
    ("batch_norm", batch_norm),
    ("gelu", gelu),
    (" ".join(ACTIVATIONS), activation),
    ("softmax log_softmax attention_weights", softmax),
    ("scaled_dot_product_attention", attention),
    ("sliced windowed", sliced),
    ("lstm gru rnn_tanh rnn_relu", recurrent.layer_rule),
    ("recurrent", recurrent.lowered_rule),
    ("logsumexp", normaliser),
    ("exp", exponential),
    ("sub", difference),
    ("relu leaky_relu max amax maximum min amin minimum clamp clamp_min clamp_max topk sort abs", plain),
    ("max_pool1d max_pool2d max_pool3d adaptive_max_pool2d", plain),
    ("avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d upsample_nearest2d upsample_bilinear2d", plain),
    ("add rsub neg sum mean cumsum cat stack concat hstack vstack pad constant_pad_nd repeat repeat_interleave tile roll flip tril triu", plain),
    ("unsqueeze squeeze transpose clone contiguous to type_as copy lift_fresh_copy _pack_padded_sequence _pad_packed_sequence dropout embedding fill zero detach reshape flatten unflatten new_zeros mixing", plain),
    ("where masked_fill gather index index_select index_put index_add rows scatter scatter_add select_scatter slice_scatter", plain),
)  # fmt: skip
RULES: Mapping[str, Rule] = {name: rule for names, rule in reversed(TABLE) for name in names.split()}
