"""A graph in ONNX Runtime's own format, for builds that hold only the operators that a model needs.

    before  onnx/model.onnx + onnx/model.onnx_data   read by any ONNX Runtime
    after   onnx/model.ort                           the same graph, weights inside, read by a minimal build too

In: the path of a graph, with its weights beside it. Out: the bytes of the .ort file; and for all such files together, the
text of ``required_operators.config``, which `build.sh --include_ops_by_config` of ONNX Runtime reads.

A minimal build optimizes nothing at load. Therefore the file keeps what is optimized now, with the fixed style and the
level *basic*: constants are folded, and what does nothing is dropped. Two alternatives were weighed. The levels *extended*
and *all* merge operators into those of ``com.microsoft``, which other providers of a phone (NNAPI, CoreML, XNNPACK) don't
take, and *all* also chooses the layout of convolutions for the processor that converts. No optimization at all gives the
smallest explain graph, 0.62 of the size with basic of the reference linformer, but each run of it would transpose the
weights anew. The style *runtime* leaves optimizations to the phone, which a file from elsewhere should not ask for.

The order of the entries in an .ort file changes from conversion to conversion, so two conversions are not byte-identical.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import onnxruntime as ort

from edgexf.errors import BundleError

LARGEST = (1 << 31) - 1  # bytes of a flatbuffer
# ONNX Runtime's tool changes `sys.path` and the root logger where it is imported, so it gets a process of its own.
TOOL = """
import sys
from pathlib import Path
from onnxruntime.tools.ort_format_model import create_config_from_models
create_config_from_models([Path(path) for path in sys.argv[2:]], Path(sys.argv[1]), True)
"""
HEADER = """# The operators and types that these graphs need, for a reduced build of ONNX Runtime {version}:
#   build.sh --minimal_build --include_ops_by_config required_operators.config [--enable_reduced_operator_type_support]
{graphs}
"""


def in_ort_format(path: Path) -> bytes:
    """The graph at `path` in the .ort format. Raises BundleError for a graph that can't be converted, or is too large."""
    beside = [path, path.with_name(f"{path.name}_data")]
    size = sum(one.stat().st_size for one in beside if one.exists())
    if size > LARGEST:
        raise BundleError(
            f"an .ort file holds at most 2 GiB, got {path.name} with {size / 2**30:.1f} GiB; quantize the bundle, and convert that dtype alone."
        )
    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        out = Path(folder, "graph.ort")
        options = ort.SessionOptions()
        options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_ENABLE_BASIC
        options.optimized_model_filepath = str(out)
        options.add_session_config_entry("session.save_model_format", "ORT")
        options.log_severity_level = 3
        try:
            ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the binding raises its C++ status types, which share no base class
            said = (str(error).strip().splitlines() or [type(error).__name__])[-1]
            raise BundleError(
                f"{path.name} must be a graph that this onnxruntime {ort.__version__} can convert, got: {said.rstrip('.')}; update onnxruntime."
            ) from error
        return out.read_bytes()


def required_operators(files: Mapping[str, bytes]) -> bytes:
    """The text of ``required_operators.config`` for .ort files, which are given by their paths in the bundle."""
    with tempfile.TemporaryDirectory(prefix="edgexf-") as folder:
        paths = []
        for place, data in enumerate(files.values()):
            paths.append(Path(folder, f"{place}.ort"))
            paths[-1].write_bytes(data)
        listed = Path(folder, "listed.config")
        command = [sys.executable, "-c", TOOL, *map(str, (listed, *paths))]
        done = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (no argument from outside)
        if done.returncode != 0:
            said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
            raise BundleError(
                f"onnxruntime's tools must list the operators of .ort files, got: {said.rstrip('.')}; install onnxruntime anew."
            )
        return (header(files) + operators(listed.read_text(encoding="utf-8"))).encode()


def header(files: Iterable[str]) -> str:
    return HEADER.format(version=ort.__version__, graphs="\n".join(f"# - {path}" for path in sorted(files)))


def operators(text: str) -> str:
    """The lines of operators, without the comments, which name folders of this machine."""
    return "".join(line for line in text.splitlines(keepends=True) if not line.startswith("#"))
