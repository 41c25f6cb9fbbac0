"""How a model of images reads pictures.

In: a `Source`, and the values of its preprocessor_config.json. Out: the source with the record `Image` and the file, or
with the reason why its bundle takes arrays alone; the provenance says either.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from edgexf import names
from edgexf.bundle.preprocess import PIXELS, Image
from edgexf.bundle.steps import size_of
from edgexf_exporters.source import Source
from edgexf_exporters.sources.general.processors import PROCESSORS, Steps, named
from edgexf_exporters.sources.general.timm import CONFIG, timm_steps
from edgexf_exporters.sources.tokenizer import PLACES

SIZES = ("size", "crop_size", "pad_size")
NOT_READ = "not read: "


def with_pictures(source: Source, processor: Mapping[str, Any], image_size: int | tuple[int, int] | None) -> Source:
    """The source of a model of images with what its processor says; another source as it is.

    An `image_size` that is one number scales the sizes of the processor.
    """
    if not any(tensor.name == PIXELS for tensor in source.tensors):
        return source
    try:
        reader, said = reader_of(source, processor, image_size)
    except (ValueError, TypeError, ZeroDivisionError) as error:  # what values of a wrong kind lead to
        reader, said = None, f"{NOT_READ}{error}"
    kept = {name: value for name, value in processor.items() if name not in PLACES}
    files = {names.PROCESSOR_FILE: json.dumps(kept, indent=1, ensure_ascii=False).encode() + b"\n"} if kept else {}
    return replace(
        source,
        preprocess=reader,
        files={**source.files, **files},
        provenance={**source.provenance, names.PICTURES: said},
    )


def reader_of(
    source: Source, processor: Mapping[str, Any], image_size: int | tuple[int, int] | None
) -> tuple[Image, str]:
    """The record, and whose rules it has in words. ValueError with the reason for a model that reads no pictures."""
    shapes = {tensor.name: tensor.shape for tensor in source.tensors}
    if len(shapes) > 1:
        raise ValueError(f"a picture alone does not make {', '.join(shapes)}")
    if not processor and isinstance(source.config.get(CONFIG), Mapping):  # timm keeps it there
        processor = {CONFIG: source.config[CONFIG]}
    if not processor:
        raise ValueError(f"the model has no {names.PROCESSOR_FILE}")
    steps, name = steps_of(processor, str(source.config.get("model_type", "")))
    said = f"as {name} reads them"
    if isinstance(image_size, int) and (size := size_of(steps)) not in (None, (image_size, image_size)):
        assert size is not None  # noqa: S101 (tells mypy what the line above says)
        steps, _ = steps_of(scaled(processor, image_size / max(size), name), str(source.config.get("model_type", "")))
        said += f", with sizes scaled to {image_size}"
    found = Image("image", steps, patch_of(source.config))
    found.check(0, 0, shapes)
    if isinstance(image_size, tuple) and not within(size_of(steps), image_size):
        raise ValueError(f"{name} makes them {size_of(steps)}, outside {image_size[0]} to {image_size[1]}")
    return found, said


def steps_of(processor: Mapping[str, Any], model_type: str) -> tuple[Steps, str]:
    """The steps, and the name of the processor."""
    if isinstance(processor.get(CONFIG), Mapping):
        return timm_steps(processor[CONFIG]), "timm (untested against it)"
    name = named(processor, model_type)
    if name not in PROCESSORS:
        raise ValueError(f"edgexf does not know the image processor {name or 'of the model'}")
    try:
        return PROCESSORS[name].steps(processor), name
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{name} with these values is not known ({error})") from error


def scaled(processor: Mapping[str, Any], factor: float, name: str) -> dict[str, Any]:
    """The values of a processor with all its sizes times a factor."""
    defaults = PROCESSORS[name].defaults if name in PROCESSORS else {}
    values = {**{key: defaults[key] for key in SIZES if key in defaults}, **processor}
    return {key: times(value, factor) if key in SIZES else value for key, value in values.items()}


def times(value: Any, factor: float) -> Any:
    if isinstance(value, Mapping):
        return {key: times(one, factor) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [times(one, factor) for one in value]
    return value if value is None else round(value * factor)


def within(size: tuple[int, int] | None, ends: tuple[int, int]) -> bool:
    return size is None or all(ends[0] <= side <= ends[1] for side in size)


def patch_of(config: Mapping[str, Any]) -> int:
    """The side of the squares of which the model makes tokens; 0 where its config names none."""
    found = config.get("patch_size")
    return found if isinstance(found, int) and not isinstance(found, bool) and found > 0 else 0
