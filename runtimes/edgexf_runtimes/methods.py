"""The run-time methods, in the order in which they are listed. A new one is a file and a line here."""

from __future__ import annotations

from edgexf_runtimes.explain import Method
from edgexf_runtimes.kernel_shap import KERNEL_SHAP
from edgexf_runtimes.lime import LIME
from edgexf_runtimes.occlusion import OCCLUSION

METHODS: tuple[Method, ...] = (OCCLUSION, LIME, KERNEL_SHAP)


def find(name: str | None) -> Method | None:
    """The run-time method of a name, None for every other name."""
    return next((method for method in METHODS if method.name == name), None)


def takes(name: str) -> tuple[str, ...]:
    """The options of a method; one that is compiled into the bundle takes none."""
    found = find(name)
    return () if found is None else found.takes
