"""Opens a graph on the hardware that was asked for.

In: the settings of a session. Out: ONNX Runtime sessions. What was asked for is what runs, or an error says what there
is. With `Settings.strict` off, the CPU runs what the asked providers can't, and a warning says how much that is.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import onnxruntime as ort

from edgexf.bundle.manifest import Graph, Manifest
from edgexf.errors import BundleError, EdgexfError, UsageError
from edgexf_runtimes.calls.call import Call
from edgexf_runtimes.device import plugins, shapes
from edgexf_runtimes.device.asked import CPU, TABLE, Asked, asked
from edgexf_runtimes.device.distributions import several
from edgexf_runtimes.device.profiles import Settings
from edgexf_runtimes.device.session_options import session_options, threads_of
from edgexf_runtimes.device.weights import in_place

PLACEMENT_SINCE = "1.24"
RECORD = "session.record_ep_graph_assignment_info"
# Operators that compute sizes, where `structure` finds that nothing but sizes feeds them. ONNX Runtime keeps such nodes on
# the CPU beside a provider with memory of its own, because what comes next waits for their numbers.
OF_SIZES = frozenset((
    "Shape", "Size", "Gather", "Concat", "Slice", "Unsqueeze", "Squeeze", "Cast", "Range", "Add", "Sub", "Mul",
    "Div", "Mod", "Min", "Max", "Neg", "Ceil", "Floor", "Clip", "ReduceProd", "ReduceMax", "ReduceMin",
    "ReduceSum", "Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual", "And", "Or", "Not", "Where",
    "Reshape", "Expand", "ConstantOfShape", "Constant", "Identity",
))  # fmt: skip


def named(settings: Settings) -> str:
    """The first provider of the settings by ONNX Runtime's name."""
    return asked(settings.providers)[0].provider.ort


def available() -> list[str]:
    """The short names of the providers of this onnxruntime and of its installed plugin libraries."""
    return [one.name for one in TABLE if plugins.built_in(one) or plugins.installed(one)]


def lacking(wanted: tuple[Asked, ...]) -> list[Asked]:
    """The providers that neither this onnxruntime nor a plugin library has."""
    return [one for one in wanted if not plugins.built_in(one.provider) and not plugins.installed(one.provider)]


def check_available(settings: Settings) -> Settings:
    """The settings with the providers that there are. Raises UsageError if one is lacking.

    Where the settings aren't strict, a UserWarning takes the place of the error, and the CPU that of the provider.
    """
    wanted = asked(settings.providers)
    missing = lacking(wanted)
    if not missing:
        return settings
    lost = ", ".join(one.provider.name for one in missing)
    sentence = (
        f"providers must be among those of this onnxruntime ({', '.join(available())}), got {lost}; "
        f"install {' and '.join(one.provider.package for one in missing)}{' in place of onnxruntime' if not any(one.provider.plugin for one in missing) else ''}"
    )
    if several():
        sentence += f" ({several().rstrip('.')})"
    if settings.strict:
        raise UsageError(f"{sentence}.")
    warnings.warn(f"{sentence}; the CPU runs in its place, since strict is off.", stacklevel=4)
    kept = [(one.provider.name, one.options) for one in wanted if one not in missing]
    return settings.with_providers(kept or [CPU.name])


def most_rows(settings: Settings) -> int | None:
    """The rows that a run may have; None for any number."""
    return shapes.MOST_ROWS if any(one.provider.shapes for one in asked(settings.providers)) else None


def create(
    path: Path,
    call: Call | None = None,
    *,
    settings: Settings | None = None,
    manifest: Manifest | None = None,
    profile: Path | None = None,
    explains: bool = False,
) -> ort.InferenceSession:
    """Opens a session of the graph at `path` on the first provider of `settings`, within its call if there is one.

    `manifest` is the bundle's: some providers need the range of shapes that it says. With `profile`, the session
    writes ONNX Runtime's profile to a file whose path begins so, and tells where its nodes run. `explains` says whether
    it is an explain graph. Raises UsageError for a provider that is lacking or does not run the graph, and BundleError for
    a graph that ONNX Runtime refuses.
    """
    settings = check_available(settings or Settings())
    wanted = asked(settings.providers)
    options = session_options(settings)
    alone = all(one.provider != CPU for one in wanted)
    if alone:
        watch(options, wanted[0], settings)
    if profile is not None:
        options.enable_profiling, options.profile_file_prefix = True, str(profile)
        if not alone:
            options.add_session_config_entry(RECORD, "1")
    packs = settings.profile.packs_explain if explains else settings.profile.packs_predict
    without = [] if packs or any(one.provider != CPU for one in wanted) else in_place(options)
    session = opened(path, call, options, with_options(settings, manifest, path), without)
    if check_first(session, wanted[0], settings) and alone:
        check_rest(session, wanted[0], settings, path)
    return session


def watch(options: ort.SessionOptions, first: Asked, settings: Settings) -> None:
    """Lets the session say later which nodes run on the CPU, or refuse them all where onnxruntime can't say it."""
    if hasattr(ort.InferenceSession, "get_provider_graph_assignment_info"):
        options.add_session_config_entry(RECORD, "1")
    elif settings.strict and first.provider.sizes_on_cpu:
        raise UsageError(
            f"{first.provider.name} as the only provider needs onnxruntime {PLACEMENT_SINCE} or later, which tells where each node runs, got {ort.__version__}; update it, or name cpu beside it for the rest."
        )
    elif settings.strict:
        options.add_session_config_entry("session.disable_cpu_ep_fallback", "1")


def with_options(settings: Settings, manifest: Manifest | None, path: Path) -> tuple[Asked, ...]:
    """What the settings ask for, with all options that ONNX Runtime is given for the graph at `path`."""
    wanted = asked(settings.providers)
    return tuple(Asked(one.provider, options_for(one, settings, manifest, path)) for one in wanted)


def options_for(one: Asked, settings: Settings, manifest: Manifest | None, path: Path) -> Mapping[str, str]:
    """The options of a provider: those of the caller, over those that follow from the settings and the manifest."""
    threads = "1" if settings.profile.side_by_side else str(threads_of(settings))
    library = plugins.is_plugin(one.provider) and bool(one.provider.plugin_options)
    usual = one.provider.plugin_options if library else one.provider.options
    found = {name: value.replace("{threads}", threads) for name, value in usual.items()}
    graph = None if manifest is None else graph_at(manifest, path)
    if one.provider.shapes and manifest is not None and graph is not None:
        given = [one.provider.shapes.format(which) in one.options for which in ("min", "opt", "max")]
        found |= {} if any(given) else shapes.profile(one.provider.shapes, manifest, graph)
    return found | dict(one.options)


def graph_at(manifest: Manifest, path: Path) -> Graph | None:
    return next((graph for graph in manifest.variants if path.as_posix().endswith(f"/{graph.file}")), None)


class Unretried(ort.InferenceSession):  # type: ignore[misc]
    """A session that does not open again on the CPU after an error.

    onnxruntime 1.20 would print that it does, to standard output. Later ones heed the argument ``enable_fallback``.
    """

    def _create_inference_session(self, *arguments: Any, **options: Any) -> Any:
        self._enable_fallback = False
        return super()._create_inference_session(*arguments, **options)


def opened(
    path: Path, call: Call | None, options: ort.SessionOptions, wanted: tuple[Asked, ...], without: list[str]
) -> ort.InferenceSession:
    """The session, on the providers in order, without some optimizers. Loading stops when the call must end, where onnxruntime (1.22) can."""
    named: list[tuple[str, dict[str, str]]] | None = [(one.provider.ort, dict(one.options)) for one in wanted]
    if any(plugins.is_plugin(one.provider) for one in wanted):
        add(wanted, options)
        named = None
    stop = getattr(options, "set_load_cancellation_flag", lambda _: None)
    try:
        with nullcontext() if call is None else call.stoppable(lambda: stop(True)):
            return Unretried(str(path), options, providers=named, enable_fallback=0, disabled_optimizers=without)
    except EdgexfError:
        raise
    except Exception as error:  # the binding raises its C++ status types, which share no base class
        said = (str(error).strip().splitlines() or [type(error).__name__])[-1]  # the lines before name C++ functions
        if "fallback to CPU EP has been explicitly disabled" in said:
            raise UsageError(
                f"{wanted[0].provider.name} must run every node of {path.name}, got nodes that it leaves to the CPU, or all of them, since it did not start; check its driver, name cpu beside it, or pass strict=False."
            ) from error
        raise BundleError(
            f"{path.name} must be a graph that this onnxruntime {ort.__version__} can load on {wanted[0].provider.name}, got: {said.rstrip('.')}; update onnxruntime, or ask for another provider."
        ) from error


def add(wanted: tuple[Asked, ...], options: ort.SessionOptions) -> None:
    """Adds providers to the options of a session. Those of plugin libraries take no other way."""
    for one in wanted:
        if plugins.is_plugin(one.provider):
            devices = plugins.devices(one)  # first: it says if this onnxruntime has no plugin libraries
            options.add_provider_for_devices(devices, dict(plugins.options_of(one)))
        else:
            options.add_provider(one.provider.ort, dict(one.options))


def check_first(session: ort.InferenceSession, first: Asked, settings: Settings) -> bool:
    """Whether the first provider started. Where it did not, raises UsageError, or warns if the settings aren't strict."""
    found = session.get_providers()[0]
    if found == first.provider.ort:
        return True
    sentence = f"a graph must run on the provider that was asked for, got {found} for {first.provider.ort}; check its driver, or ask for cpu"
    if settings.strict:
        raise UsageError(f"{sentence}.")
    warnings.warn(f"{sentence}; the CPU runs in its place, since strict is off.", stacklevel=6)
    return False


def check_rest(session: ort.InferenceSession, first: Asked, settings: Settings, path: Path) -> None:
    """Raises UsageError, or warns where the settings aren't strict, if the CPU runs more nodes of the graph at `path` than
    those of sizes.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        if not settings.strict:  # else `watch` had onnxruntime refuse every node on the CPU
            warnings.warn(
                f"{first.provider.name} runs what it can, and the CPU the rest; onnxruntime {PLACEMENT_SINCE} or later would say how much that is.",
                stacklevel=6,
            )
        return
    parts = session.get_provider_graph_assignment_info()
    there = [node for part in parts if part.ep_name == CPU.ort for node in part.get_nodes()]
    total = sum(len(part.get_nodes()) for part in parts)
    if first.provider.sizes_on_cpu and there:
        from edgexf_runtimes.device.structure import of_sizes  # here, because few sessions need it

        sizes = of_sizes(path)  # of a node that ONNX Runtime made itself, the operator must do
        there = [node for node in there if node.op_type not in OF_SIZES or not sizes.get(node.name, True)]
    rest = Counter(node.op_type for node in there)
    if not rest:
        return
    operators = ", ".join(f"{count} {operator}" for operator, count in rest.most_common(3))
    if settings.strict:
        raise UsageError(
            f"{first.provider.name} must run every node but those of sizes, got {rest.total()} of {total} on the CPU ({operators}); name cpu beside it, or pass strict=False."
        )
    warnings.warn(
        f"{rest.total()} of {total} nodes run on the CPU, since {first.provider.name} does not run them ({operators}).",
        stacklevel=6,
    )
