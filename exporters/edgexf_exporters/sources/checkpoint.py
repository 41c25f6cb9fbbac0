"""Models of transformers as sources.

In: a folder that `save_pretrained` wrote, the id of a model on the Hugging Face hub, or a `PreTrainedModel` in memory.
Out: a `Source` in float32, with the inputs that the family of the model takes. A family or head that is not listed goes the
general way. A checkpoint must hold all weights of its model: transformers draws missing weights at random and only warns.
The weights of other heads are not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import nullcontext
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
import transformers
from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig, PreTrainedModel

from edgexf.bundle.heads import HIDDEN, LABELS, VOCABULARY, Task
from edgexf.bundle.manifest import Globals, Limits
from edgexf.bundle.preprocess import Text
from edgexf.errors import ExportError, UsageError, first_three, in_a_sentence
from edgexf_exporters.source import Family, Source
from edgexf_exporters.sources.calls import in_float32
from edgexf_exporters.sources.classes import listed, model_class
from edgexf_exporters.sources.general.model import about, from_any_model
from edgexf_exporters.sources.heads import labels_of, portable, scores_of
from edgexf_exporters.sources.notices import quiet
from edgexf_exporters.sources.on_disk import check_config, check_model, read
from edgexf_exporters.sources.request import check_task
from edgexf_exporters.sources.sentences.described import described
from edgexf_exporters.sources.sentences.source import with_embedding
from edgexf_exporters.sources.tokenizer import (
    UNLIMITED,
    Carried,
    Longest,
    check_longest,
    fetched,
    of_checkpoint,
    of_tokenizer,
)
from edgexf_exporters.variant import Variant, load

FEATURES = "feature-extraction"
CONSTANTS = ("position_ids", "token_type_ids", "inv_freq")  # older versions of the library saved them
PROCESSORS = ("preprocessor_config.json", "processor_config.json")
BASE = ("embeddings", "encoder", "decoder", "shared", "transformer")  # the parts of a base model, in any family


def from_model(
    model: PreTrainedModel,
    max_global: int | None = None,
    name: str = "",
    origin: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    carried: Carried | None = None,
    processor: Mapping[str, Any] | None = None,
    max_length: int | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Source:
    """The source of a model in memory.

    Args:
        model: the model.
        max_global: how many tokens of a row a caller may make global; by default as many as the task needs.
        name: the name of a checkpoint; by default the model_type of the config.
        origin: where a checkpoint comes from, for the provenance.
        tokenizer: the tokenizer of transformers, for a model that reads text.
        carried: the tokenizer of a checkpoint, instead of `tokenizer`.
        processor: the values of a checkpoint's preprocessor_config.json.
        max_length: the longest input in tokens; by default that of the model or its tokenizer, the shorter one.
        image_size: the height and width of images in pixels, or the least and the most of both, which then vary; by default
            what the config or `processor` says.

    Raises ExportError for a model that its family does not export, and UsageError for a `max_global` that the family does
    not take, or one of both that is out of range.
    """
    config: Any = model.config
    found = listed(type(model))
    if found is None:
        if carried is None:
            with about(type(model)):
                carried = Carried() if tokenizer is None else of_tokenizer(tokenizer, vocabulary_of(config))
        return from_any_model(model, max_global, name, origin, carried, processor or {}, max_length, image_size)
    variant, task, decoder = found
    if image_size is not None:
        raise UsageError(f"image_size is that of a model of images, got it for {type(model).__name__}; leave it out.")
    model = in_float32(model)
    with quiet():
        family: Family = load(variant.describe)(model)
    padding: Any = family.padding_id if config.pad_token_id is None else config.pad_token_id
    carried = carried or (Carried() if tokenizer is None else of_tokenizer(tokenizer, config.vocab_size))
    longest = min(Longest(family.longest, "the model's positions"), carried.longest, key=attrgetter("tokens"))
    chosen = longest if max_length is None else Longest(max_length, "max_length")
    limits = limits_of(config, family, padding, variant, task, max_global, chosen.tokens)
    if max_length is not None:
        alone = family.per_row is not None and family.per_row.fails(max_length)  # the library answers its longest alone
        check_longest(max_length, longest.tokens if alone else max(family.shortest, family.switch), longest)
    first = getattr(config, "bos_token_id", None) or 0
    sizes = {LABELS: config.num_labels, HIDDEN: family.width or config.hidden_size, VOCABULARY: config.vocab_size}
    return Source(
        name=name or config.model_type,
        task=task.name,
        variant=variant,
        module=model,
        embedding=family.embedding or model.get_input_embeddings(),
        outputs=task.outputs(sizes, decoder),
        limits=limits,
        labels=labels_of(config) if task.columns == LABELS else (),
        preprocess=Text("text", padding, carried.segments) if carried.files else None,
        first_id=first if first != padding else (first + 1) % config.vocab_size,
        padding_id=padding,
        globals=default_globals("none" if decoder else task.global_tokens, config) if variant.globals else None,
        segments=family.segments if limits.token_types else None,
        decoder=family.decoder if decoder else None,
        multiple_choice=task.multiple_choice,
        has_argmax=family.has_argmax,
        scores=scores_of(config),
        files=carried.files,
        settings={"use_cache": False} if config.is_encoder_decoder else {},
        call_context=family.call_context,
        per_row=family.per_row,
        sliced=family.sliced,
        config=portable(config, type(model).__name__),
        provenance={
            **(origin or {"source": "a model in memory"}),
            **family.provenance,
            "architecture": type(model).__name__,
            "transformers": transformers.__version__,
            "longest": f"by {chosen.setting}",
            "tokenizer": (carried.note or "as transformers reads it") if carried.files else "none",
        },
        quiet=quiet,
    )


def limits_of(
    config: Any, about: Family, padding: Any, variant: Variant, task: Task, max_global: int | None, most: int
) -> Limits:
    """What an input must keep to, with the caller's `max_global` or the number that the task needs.

    `most` is the longest input in tokens. It is no shorter than the model's shortest input and its switch.
    Raises ExportError for a config without a padding id or without positions, and UsageError for a wrong `max_global`.
    """
    reach, types = (
        min(about.longest, max(most, about.shortest, about.switch)),
        max(about.token_types, getattr(config, "type_vocab_size", 1)),
    )
    if padding is None or reach < about.shortest:
        raise ExportError(
            f"a config must name its pad_token_id and leave positions for {about.shortest} tokens, got {padding} and {max(reach, 0)}; mend it."
        )
    if max_global is not None and not (variant.globals and isinstance(max_global, int) and 1 <= max_global <= reach):
        raise UsageError(
            f"max_global must be 1 to {reach} for a family with global tokens, got {max_global} for {variant.name}; leave it out."
        )
    chosen = max_global or min(task.max_global, reach) if variant.globals else 0
    segments = types if types > 1 else 0
    return Limits(
        config.vocab_size, about.shortest, reach, 1, chosen, about.padding, segments, about.switch, about.pads_left
    )


def from_checkpoint(
    path_or_id: str, task: str | None = None, max_global: int | None = None, max_length: int | None = None,
    image_size: int | tuple[int, int] | None = None,
) -> Source:  # fmt: skip
    """The source of a saved or published model. `task` defaults to the task of the class that the checkpoint names, and
    `max_length` and `image_size` to what the model, its tokenizer and its image processor say. A checkpoint of
    sentence-transformers is exported with its embedding, unless `task` is another one than feature-extraction.

    Raises UsageError for an unknown task, and ExportError for a checkpoint that can't be read, or whose weights and
    config don't fit each other. From a pickle file only tensors are loaded.
    """
    check_task(task)
    check_model(path_or_id)
    found = described(path_or_id) if task in (None, FEATURES) else None
    if found is None:
        return from_transformers(path_or_id, task, max_global, max_length, image_size)
    local = Path(path_or_id).is_dir()
    alone = from_transformers(found.model, FEATURES, max_global, max_length, image_size)
    origin = {"source": "a local checkpoint" if local else path_or_id}
    return with_embedding(alone, found, name_of(path_or_id, local), origin)


def name_of(path_or_id: str, local: bool) -> str:
    """The name of a checkpoint: of its folder, or of its id without the owner."""
    return Path(path_or_id).resolve().name if local else path_or_id.rpartition("/")[2]


def from_transformers(
    path_or_id: str, task: str | None, max_global: int | None, max_length: int | None,
    image_size: int | tuple[int, int] | None,
) -> Source:  # fmt: skip
    """The source of a checkpoint of transformers. See `from_checkpoint`."""
    local = Path(path_or_id).is_dir()
    where = f"{path_or_id}, " + ("a local folder" if local else "no local folder")
    config = config_of(path_or_id, local, where)
    cls = model_class(config, task)  # raises before gigabytes are downloaded
    with (
        quiet(),
        in_a_sentence(
            f"weights must be whole and fit their config ({where}, {cls.__name__})",
            "fetch or save the checkpoint again, or install the package that this names",
        ),
    ):
        model, report = cls.from_pretrained(
            path_or_id, config=config, dtype=torch.float32, local_files_only=local, weights_only=True,
            output_loading_info=True, ignore_mismatched_sizes=True,  # the report names them all, the error names none
        )  # fmt: skip
    ignored = check_weights(cls, report)
    origin = {"source": "a local checkpoint" if local else path_or_id, "ignored": ignored}
    revision = getattr(config, "_commit_hash", None)
    name = name_of(path_or_id, local)
    with quiet(), about(cls) if listed(cls) is None else nullcontext():
        carried = of_checkpoint(path_or_id, local, vocabulary_of(config))
        processor = processor_of(path_or_id, local) if listed(cls) is None else {}
    return from_model(
        model, max_global, name, origin if revision is None else {**origin, "revision": revision},
        carried=carried, processor=processor, max_length=max_length, image_size=image_size,
    )  # fmt: skip


def config_of(path_or_id: str, local: bool, where: str) -> Any:
    """The config of a checkpoint. Raises ExportError for one that can't be read, and for one of code outside transformers."""
    with (
        quiet(),
        in_a_sentence(
            f"a model must be a folder that save_pretrained wrote or the id of one on the hub ({where})",
            "check the path, or the network for an id",
        ),
    ):
        values, _ = PretrainedConfig.get_config_dict(path_or_id, local_files_only=local)
        check_code(values, where)
        config = AutoConfig.from_pretrained(path_or_id, local_files_only=local, trust_remote_code=False)
    check_config(config.to_dict(), where)
    return config


def check_code(values: Mapping[str, Any], where: str) -> None:
    """Raises ExportError for a model with its own code, which edgexf doesn't run, and for an unknown model_type.

    A checkpoint may bring code for a model_type that transformers has too. The library's class has the same weights and
    may answer otherwise: it would read in one direction where the checkpoint reads in both.
    """
    kind, own = values.get("model_type"), values.get("auto_map")
    brings = isinstance(own, Mapping) and any(key.startswith("AutoModel") for key in own)
    if kind is not None and kind in CONFIG_MAPPING and brings:
        raise ExportError(
            f"the code of a model must be in transformers, got {kind} with code of its own in {where}, which edgexf does not run; "
            "take auto_map out of config.json if the library's own class is meant, or load it in Python with trust_remote_code=True, "
            "once you trust it, and export it as a module, by its example_inputs."
        )
    if kind is None or kind in CONFIG_MAPPING:
        return
    if own is not None:
        raise ExportError(
            f"the code of a model must be in transformers, got {kind} with code of its own in {where}, which edgexf does not run; "
            "load it in Python with trust_remote_code=True, once you trust it, and export it as a module, by its example_inputs."
        )
    raise ExportError(
        f"a model_type must be one of transformers {transformers.__version__}, got {kind} in {where}; "
        "update transformers, or export the model as a module, by its example_inputs."
    )


def processor_of(path_or_id: str, local: bool) -> Mapping[str, Any]:
    """What a checkpoint says of its images; empty if it says nothing. Some keep it beside what they say of texts."""
    paths = (fetched(path_or_id, name, local) for name in PROCESSORS)
    values = next((read(path) for path in paths if path is not None), {})
    inside = values.get("image_processor", values)
    return inside if isinstance(inside, Mapping) else values


def vocabulary_of(config: Any) -> int:
    """The number of token ids of a model, which a config may keep in the part for its text."""
    found = getattr(config, "vocab_size", None) or getattr(config.get_text_config(), "vocab_size", None)
    return found if isinstance(found, int) else UNLIMITED.tokens


def check_weights(cls: Any, report: Mapping[str, Any]) -> list[str]:
    """The names of the missing and the unused weights, which change no answer.

    Published checkpoints carry the heads of the training, and older versions of the library saved constants and a
    pooler that most heads don't have. A pooler may also be missing if no answer comes from it. Raises ExportError for
    other weights that are missing, for extra weights of the base model, whose layers the config then does not name, and
    for weights of another shape.
    """
    found = listed(cls)
    pooled = found is None or found[1].name in found[0].pooled
    missing = [key for key in report["missing_keys"] if pooled or ".pooler." not in f".{key}"]
    extra = [
        key
        for key in report["unexpected_keys"]
        if ".pooler." not in f".{key}" and not key.endswith(CONSTANTS) and not is_of_a_head(cls, key)
    ]
    problems = {
        "missing": missing, "extra": extra, "of another shape": [name for name, *_ in report["mismatched_keys"]],
    }  # fmt: skip
    wrong = "; ".join(f"{what}: {first_three(keys)}" for what, keys in problems.items() if keys)
    if wrong:
        raise ExportError(
            f"a checkpoint must hold the weights of {cls.__name__} as its config says, got {wrong}; "
            "name the --task that it was trained for, or save it again with its own config."
        )
    return sorted({*report["missing_keys"], *report["unexpected_keys"]})


def is_of_a_head(cls: Any, key: str) -> bool:
    """Whether a weight is no part of the base model.

    Names of the base model's weights begin with the base model's prefix. They have no prefix if `cls` is the base model
    itself.
    """
    prefix = f"{cls.base_model_prefix}."
    base = key.startswith(prefix) or key.partition(".")[0] in BASE
    return not base


def default_globals(rule: str, config: Any) -> Globals:
    """Which tokens are global if a caller names none, by the rule of the task.

    Raises ExportError for a rule that needs a separator where the config has none.
    """
    separator = config.sep_token_id if rule in ("question", "answer") else -1
    if separator is None:
        raise ExportError(
            f"a model that finds the {rule} by itself needs sep_token_id, got none in its config; set it."
        )
    return Globals(rule, separator)
