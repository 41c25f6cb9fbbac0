"""Which embedding of a module looks up which ids.

In: a module, called inside the context. Out: pairs of an embedding and the ids that it looked up, in the order of the calls.

An embedding may take something else than ids in its ``forward``: that of positions takes a mask, a number of tokens, or ids
for their shape alone. So the lookup itself is noted, and not what ``forward`` is given.
"""

from __future__ import annotations

from typing import Any

import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode


class Lookups(TorchFunctionMode):
    """Notes lookups for the duration.

    Attributes:
        seen: an embedding and its ids, for each lookup.
    """

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.readers = [part for part in module.modules() if isinstance(part, nn.Embedding)]
        self.seen: list[tuple[nn.Embedding, Tensor]] = []
        self.inside: list[nn.Embedding] = []
        self.hooks: list[Any] = []

    def __enter__(self) -> Lookups:
        self.hooks = [reader.register_forward_pre_hook(self.enters) for reader in self.readers]
        self.hooks += [reader.register_forward_hook(self.leaves) for reader in self.readers]
        super().__enter__()  # type: ignore[no-untyped-call]
        return self

    def __exit__(self, *error: object) -> None:
        super().__exit__(*error)  # type: ignore[no-untyped-call]
        for hook in self.hooks:
            hook.remove()

    def enters(self, reader: nn.Module, _: Any) -> None:
        assert isinstance(reader, nn.Embedding)  # noqa: S101 (tells mypy: it was chosen so)
        self.inside.append(reader)

    def leaves(self, *_: object) -> None:
        self.inside.pop()

    def __torch_function__(self, func: Any, _: Any, args: Any = (), kwargs: Any = None) -> Any:
        named = kwargs or {}
        if func is F.embedding and self.inside:
            self.seen.append((self.inside[-1], named["input"] if "input" in named else args[0]))
        return func(*args, **named)
