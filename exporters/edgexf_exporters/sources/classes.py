"""Which class of transformers a checkpoint is loaded as, and whether edgexf lists the family and head of the class.

In: a config and a task, or a class. Out: the class; the record in `VARIANTS`, the task, and whether a decoder answers. A class
of a family or head that is not listed takes the general way (`sources.general`).
"""

from __future__ import annotations

import sys
from importlib import import_module
from typing import Any

import transformers
from optimum.exporters.tasks import TasksManager
from transformers.models.auto import modeling_auto

from edgexf import names
from edgexf.bundle.heads import Task
from edgexf.errors import ExportError, in_a_sentence
from edgexf_exporters import VARIANTS
from edgexf_exporters.sources.heads import known_task
from edgexf_exporters.variant import Variant

LIBRARY = "transformers.models."


def listed(cls: Any) -> tuple[Variant, Task, bool] | None:
    """The variant whose attention the models of a class have, the task, and whether a decoder answers.

    None for a class of no listed family, and for a head that the family's variant does not export. A class that a user
    wrote counts as the class of the library that it extends; a class of the library is of the family in whose file it
    stands, also where it extends a class of another one.
    """
    families = {module_of(variant): variant for variant in VARIANTS if variant.family == "transformers"}
    writes = getattr(getattr(cls, "config_class", None), "is_encoder_decoder", False) is True
    own = next((base for base in cls.__mro__ if base.__module__.startswith(LIBRARY)), cls)
    variant, found = families.get(own.__module__), known_task(own.__name__, writes)
    if variant is None or found is None or found[0].name not in variant.tasks:
        return None
    if found[1] and names.DECODER_INPUT_IDS not in variant.optional_inputs:  # the family is that of an encoder alone
        return None
    return variant, *found


def module_of(variant: Variant) -> str:
    """The module of transformers that holds a family's classes."""
    return variant.lowers.partition(":")[0]


def model_class(config: Any, task: str | None) -> Any:
    """The class to load: the library's class for the task, or by default the class that the checkpoint names.

    Raises ExportError if transformers has no such class for the config, or if the class needs a package that is missing.
    """
    if task is not None:
        return class_for(config, task)
    named = config.architectures[0] if isinstance(config.architectures, list) and config.architectures else None
    found = class_named(named, config) if isinstance(named, str) else None
    if getattr(found, "config_class", None) is not type(config) and not maps(config, named):
        raise ExportError(
            f"a config must name an architecture of its model_type {config.model_type} that transformers "
            f"{transformers.__version__} has, got {config.architectures}; name the --task."
        )
    return found


def maps(config: Any, named: Any) -> bool:
    """Whether transformers makes models of a config's type by a class of this name, such as `LlamaForCausalLM` for EXAONE."""
    tables = (table for name, table in vars(modeling_auto).items() if name.endswith("_MAPPING_NAMES"))
    return any(named in (table.get(config.model_type), *parts(table.get(config.model_type))) for table in tables)


def parts(value: Any) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple | list) else ()


def class_for(config: Any, task: str) -> Any:
    """The library's class for a task."""
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


def class_named(name: str, config: Any) -> Any:
    """A class of transformers: a public class, or a part of the config's family such as an encoder. Otherwise None.

    Raises ExportError where transformers can't import the file of the family.
    """
    found = getattr(transformers, name, None)
    if found is not None:
        return found
    where = type(config).__module__.replace(".configuration_", ".modeling_")
    with in_a_sentence(
        f"the file of {name} in transformers must be one that can be imported", "install the package that it names"
    ):
        module = import_module(where) if where in sys.modules or where.startswith(LIBRARY) else None
    return getattr(module, name, None)
