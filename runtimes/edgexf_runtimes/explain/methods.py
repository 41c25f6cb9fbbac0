"""The run-time methods, in the order in which they are listed. A new method is a file and a line here."""

from __future__ import annotations

from edgexf_runtimes.explain.graph import PATH_OPTIONS
from edgexf_runtimes.explain.kernel_shap import KERNEL_SHAP
from edgexf_runtimes.explain.lime import LIME
from edgexf_runtimes.explain.occlusion import OCCLUSION
from edgexf_runtimes.explain.perturbation import Method

PATH_METHOD = "integrated-gradients"
METHODS: tuple[Method, ...] = (OCCLUSION, LIME, KERNEL_SHAP)


def find(name: object) -> Method | None:
    """The run-time method with this name, or None."""
    return next((method for method in METHODS if isinstance(name, str) and method.name == name), None)


def takes(name: str) -> tuple[str, ...]:
    """The options of a method. Of the compiled methods, only integrated gradients takes options."""
    found = find(name)
    if found is None:
        return PATH_OPTIONS if name == PATH_METHOD else ()
    return found.takes
