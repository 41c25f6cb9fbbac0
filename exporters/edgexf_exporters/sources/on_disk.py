"""What stands at the place that a user names as a model, looked at before torch or a weight is loaded.

In: a path or a hub id. Out: nothing, or an error with the remedy for what stands there instead of a checkpoint.
"""

from __future__ import annotations

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from edgexf import names
from edgexf.errors import ExportError, first_three

CONFIG, ADAPTER = names.CONFIG_FILE, "adapter_config.json"
MODULES = "modules.json"  # what a checkpoint of sentence-transformers consists of
WEIGHTS = ("*.safetensors", "*.bin")
IN_MEMORY = "load it in Python and call edgexf.export(module, example_inputs=...)"
# A file that users name as a model: what it is, and what to do instead.
FILES = {
    ".gguf": ("quantized weights for llama.cpp", "name the folder or id of the checkpoint that it was made from"),
    ".onnx": ("a graph already", "name the checkpoint that it was made from"),
    ".safetensors": ("weights alone", f"name the folder that also holds {CONFIG}"),
    ".bin": ("weights alone", f"name the folder that also holds {CONFIG}"),
    ".pt": ("a pickle", IN_MEMORY),
    ".pth": ("a pickle", IN_MEMORY),
    ".ckpt": ("a pickle", IN_MEMORY),
    ".pt2": ("a program that torch.export wrote", "export the module that it was made from, by its example_inputs"),
    ".h5": ("weights of TensorFlow", "save the model from PyTorch"),
}
TORCHSCRIPT = ("a TorchScript program", "export the module that it was made from, by its example_inputs")


def check_model(source: str | os.PathLike[str]) -> None:
    """Raises ExportError for a file, for a path without a folder, and for a folder that holds no whole checkpoint.

    The id of a model on the hub passes.
    """
    path = Path(source)
    if path.is_dir():
        check_folder(path)
    elif path.exists():
        what, remedy = kind_of(path)
        raise ExportError(f"a model must be a folder that save_pretrained wrote, got the file {path}{what}; {remedy}.")
    elif not isinstance(source, str) or is_a_path(source):
        raise ExportError(
            f"a model must be a folder that save_pretrained wrote or the id of one on the hub, got {path}, which is no folder here; check the path."
        )


def kind_of(path: Path) -> tuple[str, str]:
    """What a file is, in words that follow its name, and the remedy."""
    what, remedy = TORCHSCRIPT if is_torchscript(path) else FILES.get(path.suffix.lower(), ("", "name its folder"))
    return f", {what}" if what else "", remedy


def is_torchscript(path: Path) -> bool:
    """Whether torch.jit.save wrote the file: an archive that holds code."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def is_a_path(text: str) -> bool:
    """Whether a text can be no id of the hub, which has the form ``name`` or ``owner/name``."""
    return text.startswith((".", "/", "~")) or text.endswith("/") or "\\" in text or text.count("/") > 1 or not text


def check_folder(folder: Path) -> None:
    """Raises ExportError unless the folder holds a config, of weights in full precision."""
    if (folder / names.MANIFEST_FILE).is_file():
        raise ExportError(
            f"a model must be a folder that save_pretrained wrote, got {folder}, a bundle that is exported already; run it, or quantize it."
        )
    folder = transformer_in(folder)
    whole = any(not path.name.startswith("adapter_") for pattern in WEIGHTS for path in folder.glob(pattern))
    if (folder / ADAPTER).is_file() and not ((folder / CONFIG).is_file() and whole):
        raise ExportError(
            f"a model must hold its own weights, got the adapter (LoRA) in {folder} without them; load it with peft, and save what merge_and_unload() returns."
        )
    if not (folder / CONFIG).is_file():
        files = sorted(path for path in folder.iterdir() if path.suffix.lower() in FILES)
        below = sorted(path.parent.name for path in folder.glob(f"*/{CONFIG}"))
        what, remedy = kind_of(files[0]) if files else ("", "save the model with save_pretrained")
        if below:
            remedy = f"name one of the folders in it that hold one: {first_three(below)}"
        found = f", but {files[0].name}{what}" if files else ""
        raise ExportError(f"a folder of a model must hold {CONFIG}, got none in {folder}{found}; {remedy}.")
    check_config(read(folder / CONFIG), str(folder))


def transformer_in(folder: Path) -> Path:
    """The folder of the model of transformers: of a checkpoint of sentence-transformers it may be one below."""
    if not (folder / MODULES).is_file() or (folder / CONFIG).is_file():
        return folder
    modules = parsed(folder / MODULES)
    first = modules[0] if isinstance(modules, list) and modules else {}
    return folder / folder_of(first) if isinstance(first, dict) else folder


def folder_of(record: Mapping[str, Any]) -> str:
    """The folder of a module in modules.json; empty for the checkpoint's own. Raises ExportError for one outside of it."""
    folder = record.get("path", "")
    if not isinstance(folder, str) or Path(folder).is_absolute() or ".." in Path(folder).parts:
        raise ExportError(
            f"the path of a module in {MODULES} must be a folder of the checkpoint, got {folder!r}; save the model again."
        )
    return Path(folder).as_posix() if folder and folder != "." else ""


def read(path: Path) -> Mapping[str, Any]:
    """The object in a JSON file. Raises ExportError for a file that holds none."""
    values = parsed(path)
    if not isinstance(values, dict):
        raise ExportError(
            f"{path.name} of a model must hold an object, got a {type(values).__name__} in {path.parent}; fetch or save it again."
        )
    return values


def parsed(path: Path) -> Any:
    """What a JSON file holds. Raises ExportError for a file that can't be read."""
    try:
        return json.loads(path.read_bytes())
    except (OSError, ValueError) as error:
        raise ExportError(
            f"{path.name} of a model must be JSON that can be read, got {error} in {path.parent}; fetch or save it again."
        ) from error


def check_config(values: Mapping[str, Any], where: str) -> None:
    """Raises ExportError for a config of quantized weights."""
    quantized = values.get("quantization_config")
    if quantized:
        method = (
            quantized.get("quant_method", "another library") if isinstance(quantized, Mapping) else "another library"
        )
        raise ExportError(
            f"weights must be in full precision, got weights quantized by {method} in {where}; export the checkpoint that they were made from, then call edgexf quantize."
        )
