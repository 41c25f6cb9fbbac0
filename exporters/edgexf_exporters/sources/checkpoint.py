"""Models of transformers as sources.

In: a folder that `save_pretrained` wrote, the id of a model on the Hugging Face hub, or a `PreTrainedModel` in memory.
Out: a `Source` in float32, with the inputs that the family of the model takes. A checkpoint must hold all weights of
its model: transformers draws missing weights at random and only warns. The weights of other heads are not used.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from operator import attrgetter
from pathlib import Path
from typing import Any

import torch
import transformers
from optimum.exporters.tasks import TasksManager
from transformers import AutoConfig, PreTrainedModel

from edgexf.bundle.heads import HIDDEN, LABELS, VOCABULARY, Task
from edgexf.bundle.manifest import Globals, Limits
from edgexf.bundle.preprocess import Text
from edgexf.errors import ExportError, UsageError, first_three, in_a_sentence
from edgexf_exporters import VARIANTS
from edgexf_exporters.source import Family, Source
from edgexf_exporters.sources.calls import in_float32
from edgexf_exporters.sources.heads import labels_of, scores_of, task_of
from edgexf_exporters.sources.notices import quiet
from edgexf_exporters.sources.on_disk import check_config, check_model
from edgexf_exporters.sources.request import check_task
from edgexf_exporters.sources.tokenizer import Carried, Longest, of_checkpoint, of_tokenizer
from edgexf_exporters.variant import Variant, load

CONSTANTS = ("position_ids", "token_type_ids", "inv_freq")  # older versions of the library saved them
BASE = ("embeddings", "encoder", "decoder", "shared", "transformer")  # the parts of a base model, in any family


def from_model(
    model: PreTrainedModel,
    max_global: int | None = None,
    name: str = "",
    origin: Mapping[str, Any] | None = None,
    tokenizer: Any = None,
    carried: Carried | None = None,
) -> Source:
    """The source of a model in memory.

    Args:
        model: the model.
        max_global: how many tokens of a row a caller may make global; by default as many as the task needs.
        name: the name of a checkpoint; by default the model_type of the config.
        origin: where a checkpoint comes from, for the provenance.
        tokenizer: the tokenizer of transformers, for a model that reads text.
        carried: the tokenizer of a checkpoint, instead of `tokenizer`.

    Raises ExportError for a family or head that edgexf does not export, and UsageError for a `max_global` that the
    family does not take or that is out of range.
    """
    variant, task, decoder = family_of(type(model))
    model = in_float32(model)
    config: Any = model.config
    with quiet():
        about: Family = load(variant.describe)(model)
    padding: Any = about.padding_id if config.pad_token_id is None else config.pad_token_id
    carried = carried or (Carried() if tokenizer is None else of_tokenizer(tokenizer, config.vocab_size))
    longest = min(Longest(about.longest, "the model's positions"), carried.longest, key=attrgetter("tokens"))
    limits = limits_of(config, about, padding, variant, task, max_global, longest.tokens)
    first = getattr(config, "bos_token_id", None) or 0
    sizes = {LABELS: config.num_labels, HIDDEN: about.width or config.hidden_size, VOCABULARY: config.vocab_size}
    return Source(
        name=name or config.model_type,
        task=task.name,
        variant=variant,
        module=model,
        embedding=about.embedding or model.get_input_embeddings(),
        outputs=task.outputs(sizes, decoder),
        limits=limits,
        labels=labels_of(config) if task.columns == LABELS else (),
        preprocess=Text("text", padding, carried.segments) if carried.files else None,
        first_id=first if first != padding else (first + 1) % config.vocab_size,
        padding_id=padding,
        globals=default_globals("none" if decoder else task.global_tokens, config) if variant.globals else None,
        segments=about.segments if limits.token_types else None,
        decoder=about.decoder if decoder else None,
        multiple_choice=task.multiple_choice,
        has_argmax=about.has_argmax,
        scores=scores_of(config),
        files=carried.files,
        settings={"use_cache": False} if config.is_encoder_decoder else {},
        call_context=about.call_context,
        per_row=about.per_row,
        sliced=about.sliced,
        config=portable(config, type(model).__name__),
        provenance={
            **(origin or {"source": "a model in memory"}),
            **about.provenance,
            "architecture": type(model).__name__,
            "transformers": transformers.__version__,
            "longest": f"by {longest.setting}",
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


def portable(config: Any, architecture: str) -> dict[str, Any]:
    """config.json as the library reads it, without the folder that the model was loaded from."""
    values = {name: value for name, value in config.to_dict().items() if name != "_name_or_path"}
    return {**values, "architectures": [architecture]}


def family_of(cls: Any) -> tuple[Variant, Task, bool]:
    """The variant whose attention the models of a class have, the task, and whether a decoder answers.

    A class that a user wrote counts as the class of the library that it extends. Raises ExportError for a class of no
    known family, and for a head that the family's variant does not export.
    """
    families = {module_of(variant): variant for variant in VARIANTS if variant.family == "transformers"}
    writes = getattr(getattr(cls, "config_class", None), "is_encoder_decoder", False) is True
    for base in cls.__mro__:
        if base.__module__ in families:
            variant, (task, decoder) = families[base.__module__], task_of(base.__name__, writes)
            if task.name not in variant.tasks:
                raise ExportError(
                    f"a head of {variant.name} must be for {', '.join(variant.tasks)}, got {base.__name__} for {task.name}; "
                    "export another head of the same weights."
                )
            return variant, task, decoder
    known = ", ".join(variant.name for variant in families.values())
    raise ExportError(
        f"a model of transformers must be of a family that edgexf lowers ({known}), got {cls.__name__}; see `edgexf variants`."
    )


def module_of(variant: Variant) -> str:
    """The module of transformers that holds a family's classes."""
    return variant.lowers.partition(":")[0]


def from_checkpoint(path_or_id: str, task: str | None = None, max_global: int | None = None) -> Source:
    """The source of a saved or published model. `task` defaults to the task of the class that the checkpoint names.

    Raises UsageError for an unknown task, and ExportError for a checkpoint that can't be read, or whose weights and
    config don't fit each other. From a pickle file only tensors are loaded.
    """
    check_task(task)
    check_model(path_or_id)
    local = Path(path_or_id).is_dir()
    where = f"{path_or_id}, " + ("a local folder" if local else "no local folder")
    with (
        quiet(),
        in_a_sentence(
            f"a model must be a folder that save_pretrained wrote or the id of one on the hub ({where})",
            "check the path, or the network for an id",
        ),
    ):
        config = AutoConfig.from_pretrained(path_or_id, local_files_only=local, trust_remote_code=False)
    check_config(config.to_dict(), where)
    cls = model_class(config, task)
    family_of(cls)  # raises before gigabytes are downloaded
    with (
        quiet(),
        in_a_sentence(f"weights must be whole and fit their config ({where})", "fetch or save the checkpoint again"),
    ):
        model, report = cls.from_pretrained(
            path_or_id, config=config, dtype=torch.float32, local_files_only=local, weights_only=True,
            output_loading_info=True, ignore_mismatched_sizes=True,  # the report names them all, the error names none
        )  # fmt: skip
    ignored = check_weights(cls, report)
    origin = {"source": "a local checkpoint" if local else path_or_id, "ignored": ignored}
    revision = getattr(config, "_commit_hash", None)
    name = Path(path_or_id).resolve().name if local else path_or_id.rpartition("/")[2]
    with quiet():
        carried = of_checkpoint(path_or_id, local, config.vocab_size)
    return from_model(
        model, max_global, name, origin if revision is None else {**origin, "revision": revision}, carried=carried
    )


def check_weights(cls: Any, report: Mapping[str, Any]) -> list[str]:
    """The names of the missing and the unused weights, which change no answer.

    Published checkpoints carry the heads of the training, and older versions of the library saved constants and a
    pooler that most heads don't have. A pooler may also be missing if no answer comes from it. Raises ExportError for
    other weights that are missing, for extra weights of the base model, whose layers the config then does not name, and
    for weights of another shape.
    """
    variant, task, _ = family_of(cls)
    pooled = task.name in variant.pooled
    missing = [key for key in report["missing_keys"] if pooled or ".pooler." not in f".{key}"]
    extra = [
        key
        for key in report["unexpected_keys"]
        if ".pooler." not in f".{key}" and not key.endswith(CONSTANTS) and not is_of_a_head(cls, key)
    ]
    problems = {
        "missing": missing, "extra": extra, "of another shape": [name for name, *_ in report["mismatched_keys"]],
    }  # fmt: skip
    found = "; ".join(f"{what}: {first_three(keys)}" for what, keys in problems.items() if keys)
    if found:
        raise ExportError(
            f"a checkpoint must hold the weights of {cls.__name__} as its config says, got {found}; "
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


def model_class(config: Any, task: str | None) -> Any:
    """The class to load: the library's class for the task, or by default the class that the checkpoint names.

    Raises ExportError if transformers has no such class for the config.
    """
    if task is None:
        named = config.architectures[0] if isinstance(config.architectures, list) and config.architectures else None
        found = class_named(named) if isinstance(named, str) else None
        if getattr(found, "config_class", None) is not type(config):
            raise ExportError(
                f"a config must name an architecture of its model_type {config.model_type} that transformers "
                f"{transformers.__version__} has, got {config.architectures}; name the --task."
            )
        return found
    try:
        loader = TasksManager.get_model_class_for_task(task, framework="pt", model_type=config.model_type)
    except KeyError as error:
        raise ExportError(
            f"a model of {config.model_type} must have a head for {task}, got none in optimum; choose another task, or name the class in architectures of config.json."
        ) from error
    classes = loader._model_mapping  # an Auto class: config class -> model class
    if type(config) not in classes:
        raise ExportError(
            f"a model of {config.model_type} must have a head for {task}, got none in transformers; choose another task."
        )
    found = classes[type(config)]
    if not isinstance(found, tuple):
        return found
    named = [one for one in found if one.__name__ in (config.architectures or ())]  # Funnel has two base models
    return (named or found)[0]


def class_named(name: str) -> Any:
    """A class of transformers: a public class, or a part of a known family such as an encoder. Otherwise None."""
    found = getattr(transformers, name, None)
    modules = [import_module(module_of(variant)) for variant in VARIANTS if variant.family == "transformers"]
    parts = [getattr(module, name) for module in modules if hasattr(module, name)] if found is None else [found]
    return parts[0] if parts else None


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
