"""The weights of reference models on disk: safetensors files that hold their specification.

In: a file. Out: an `Encoder` in eval mode, or an error that says what does not fit. The metadata of the file hold the
specification as JSON, so the file alone says which model it belongs to.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from edgexf.errors import ExportError, InputError
from edgexf.models import build
from edgexf.models.encoder import Encoder
from edgexf.spec import EncoderSpec

SPEC_KEY = "edgexf.spec"


def save(model: Encoder, path: Path) -> None:
    """Writes the parameters, the rotations of a hashed attention, and the specification."""
    tensors = {name: tensor.detach().contiguous() for name, tensor in model.state_dict().items()}
    save_file(tensors, path, metadata={SPEC_KEY: json.dumps(model.spec.to_dict())})


def read(path: Path) -> tuple[dict[str, torch.Tensor], EncoderSpec | None]:
    """Reads the tensors, and the specification or None. InputError for a file that is no whole safetensors file."""
    if not path.is_file():
        raise InputError(f"weights must be a safetensors file, got {path}, which is no file; check the path.")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (no mapping: needs keys())
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"weights must be a whole safetensors file, got {path} ({error}); fetch or save it again."
        ) from error
    return tensors, specification(metadata[SPEC_KEY], path) if SPEC_KEY in metadata else None


def specification(text: str, path: Path) -> EncoderSpec:
    """Reads the specification in a weights file. InputError for a text that is no specification."""
    try:
        return EncoderSpec.from_dict(json.loads(text))
    except (ValueError, TypeError) as error:
        raise InputError(
            f"{SPEC_KEY} in a weights file must be what edgexf saved, got another text in {path} ({error}); save it again."
        ) from error


def load_into(model: Encoder, tensors: dict[str, torch.Tensor], source: str) -> Encoder:
    """Loads weights into the model.

    ExportError names the tensors that are missing, extra, of another shape, or not finite.
    """
    wanted = model.state_dict()
    problems = {
        "missing": sorted(set(wanted) - set(tensors)),
        "extra": sorted(set(tensors) - set(wanted)),
        "of another shape": sorted(
            f"{name} {tuple(tensors[name].shape)} for {tuple(wanted[name].shape)}"
            for name in set(wanted) & set(tensors)
            if tensors[name].shape != wanted[name].shape
        ),
        "not finite": sorted(
            name
            for name in set(wanted) & set(tensors)
            if tensors[name].is_floating_point() and not tensors[name].isfinite().all()
        ),
    }
    found = "; ".join(
        f"{what}: {', '.join(names[:3])}{' ...' if len(names) > 3 else ''}" for what, names in problems.items() if names
    )
    if found:
        raise ExportError(
            f"weights must hold exactly the tensors that the specification asks for, got {source} with {found}; "
            "give the sizes that the weights were trained with."
        )
    model.load_state_dict(tensors)
    return model.eval()


def load(path: Path, spec: EncoderSpec | None = None) -> Encoder:
    """Builds the model of a weights file. Only a file without a specification needs `spec`.

    InputError as `read`, ExportError for a missing or a different specification and as `load_into`.
    """
    tensors, own = read(path)
    if spec is None and own is None:
        raise ExportError(
            f"weights without a specification need one, got {path} with neither; name the variant and its sizes."
        )
    if spec is not None and own is not None and spec != own:
        raise ExportError(
            f"sizes given must be those of the weights, got {spec} for weights of {own}; leave the sizes out."
        )
    chosen = own or spec
    assert chosen is not None
    return load_into(build(chosen), tensors, path.name)


def shipped(variant: str) -> Path:
    """The path of the trained weights of a reference model, which come with edgexf."""
    return Path(__file__).with_name("trained") / f"{variant}.safetensors"
