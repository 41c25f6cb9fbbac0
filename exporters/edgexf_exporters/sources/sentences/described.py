"""What a checkpoint of sentence-transformers says: modules.json, and the configs of its modules.

In: a folder or a hub id. Out: a `Described`, or None for a checkpoint of another library or of another kind of model.

    modules.json                        the modules in order, each with its type and its folder
    config_sentence_transformers.json   prompts, how much of an embedding is kept, the kind of model
    sentence_bert_config.json           beside the model of transformers: its outputs, lower case
    1_Pooling/config.json ...           the settings of each module

The names of types and keys are those of versions 2 to 6. The model of transformers stands in the folder itself, or in
``0_Transformer`` below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgexf.bundle.embedding import SIMILARITIES, Embedding
from edgexf.errors import ExportError, in_a_sentence
from edgexf_exporters.sources.on_disk import MODULES, folder_of, parsed, read
from edgexf_exporters.sources.sentences.layers import LAYERS, WEIGHT_FILES
from edgexf_exporters.sources.sentences.pooling import POOLS
from edgexf_exporters.sources.tokenizer import SENTENCES, fetched

CONFIG = "config_sentence_transformers.json"
KIND = "SentenceTransformer"  # other kinds are cross-encoders and sparse encoders, which have other heads
# The keys of earlier versions, in the order in which they are concatenated.
FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
WITHOUT = f"take {MODULES} out of the folder to export the vectors of its tokens alone, or export the model as a module"
EMBEDDING = "sentence_embedding"  # the feature that layers read and write


@dataclass(frozen=True)
class Layer:
    """A module behind the pooling: its kind, its config, the file of its weights, and where it stands, in words."""

    kind: str
    config: Mapping[str, Any]
    weights: Path | None
    where: str


@dataclass(frozen=True)
class Described:
    """A model of sentence-transformers as plain values.

    Attributes:
        model: the folder or hub id of the model of transformers.
        width: the width of the vectors that are pooled.
        modes: the names of the ways of pooling, which are concatenated.
        layers: the modules behind the pooling.
        lower_case: the tokenizer reads texts in lower case.
        embedding: what is left to a reader of the bundle.
    """

    model: str
    width: int
    modes: tuple[str, ...]
    layers: tuple[Layer, ...]
    lower_case: bool
    embedding: Embedding

    @property
    def names(self) -> str:
        """The modules in words."""
        return ", ".join((f"Pooling ({', '.join(self.modes)})", *(layer.kind for layer in self.layers)))


def described(path_or_id: str) -> Described | None:
    """See the module's docstring. Raises ExportError for files that can't be read, and for modules that edgexf can't compute."""
    local = Path(path_or_id).is_dir()
    listing = fetched(path_or_id, MODULES, local)
    if listing is None:
        return None
    about = config_at(path_or_id, CONFIG, local)
    if about.get("model_type", KIND) != KIND:
        return None
    modules = [(kind_of(one), folder_of(one)) for one in records(listing)]
    kinds = [kind for kind, _ in modules]
    check_order(kinds)
    (_, first), (_, second), *behind = modules
    own = transformer_config(path_or_id, first, local)
    pooling = config_at(path_or_id, f"{second}/config.json", local)
    include = pooling.get("include_prompt", True) is not False
    return Described(
        model=model_at(path_or_id, first, local),
        width=pooling.get("embedding_dimension", pooling.get("word_embedding_dimension", 0)),
        modes=modes_of(pooling),
        layers=tuple(layer_at(path_or_id, kind, folder, local) for kind, folder in behind),
        lower_case=own.get("do_lower_case") is True,
        embedding=embedding_of(about, include, kinds),
    )


def records(listing: Path) -> Sequence[Mapping[str, Any]]:
    """The records of modules.json. Raises ExportError for a file that holds none."""
    found = parsed(listing)
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise ExportError(f"{MODULES} must hold a list of objects, got another value; fetch or save the model again.")
    return found


def kind_of(record: Mapping[str, Any]) -> str:
    """The last part of a type, such as ``Pooling``. Raises ExportError for code outside the library."""
    path = str(record.get("type"))
    package, _, name = path.rpartition(".")
    if package.partition(".")[0] != "sentence_transformers":
        raise ExportError(f"a module in {MODULES} must be one of sentence_transformers, got {path}; {WITHOUT}.")
    return name


def check_order(kinds: Sequence[str]) -> None:
    """Raises ExportError for other modules than a Transformer, a Pooling, and layers that edgexf can compute."""
    wanted = ("Transformer", "Pooling")
    wrong = [kind for place, kind in enumerate(kinds) if kind not in ((wanted[place],) if place < 2 else LAYERS)]
    if wrong or len(kinds) < len(wanted):
        raise ExportError(
            f"{MODULES} must list Transformer, Pooling and then some of {', '.join(LAYERS)}, "
            f"got {wrong[0] if wrong else ', '.join(kinds) or 'no module'}; {WITHOUT}."
        )


def config_at(path_or_id: str, name: str, local: bool) -> Mapping[str, Any]:
    """A config by its path; empty if the checkpoint has none."""
    path = fetched(path_or_id, name, local)
    return {} if path is None else read(path)


def transformer_config(path_or_id: str, folder: str, local: bool) -> Mapping[str, Any]:
    """The config of the Transformer module. Raises ExportError if what it pools is not ``last_hidden_state``."""
    at = f"{folder}/" if folder else ""
    found = next((one for one in (config_at(path_or_id, at + name, local) for name in SENTENCES) if one), {})
    output = found.get("modality_config", {"text": {}}).get("text", {"method": ""})
    asked = output.get("method", "forward"), output.get("method_output_name", "last_hidden_state")
    if (
        asked != ("forward", "last_hidden_state")
        or found.get("module_output_name", "token_embeddings") != "token_embeddings"
    ):
        raise ExportError(
            f"a Transformer module must give last_hidden_state of forward for a text, got {asked[1]} of {asked[0] or 'no method'}; {WITHOUT}."
        )
    return found


def model_at(path_or_id: str, folder: str, local: bool) -> str:
    """The folder or hub id of the model of transformers. Of a hub id, a folder below it is fetched as a whole."""
    if not folder:
        return path_or_id
    if local:
        return str(Path(path_or_id, folder))
    from huggingface_hub import snapshot_download

    with in_a_sentence(f"the folder {folder} of {path_or_id} must be one that can be fetched", "check the network"):
        return str(Path(snapshot_download(path_or_id, allow_patterns=[f"{folder}/*"]), folder))


def modes_of(config: Mapping[str, Any]) -> tuple[str, ...]:
    """The ways of pooling of a config. Raises ExportError for one that edgexf does not know."""
    told = config.get("pooling_mode")
    flags = tuple(mode for flag, mode in FLAGS.items() if config.get(flag) is True) or ("mean",)
    modes = flags if told is None else (told,) if isinstance(told, str) else tuple(told)
    wrong = [mode for mode in modes if mode not in POOLS]
    if wrong or not modes:
        raise ExportError(
            f"a pooling mode must be one of {', '.join(POOLS)}, got {wrong[0] if wrong else 'none'}; {WITHOUT}."
        )
    return modes


def layer_at(path_or_id: str, kind: str, folder: str, local: bool) -> Layer:
    """A module behind the pooling. Raises ExportError for one that reads or writes something else than the embedding."""
    config = config_at(path_or_id, f"{folder}/config.json", local)
    through = {config.get(key) or EMBEDDING for key in ("module_input_name", "module_output_name")}
    if through != {EMBEDDING}:
        raise ExportError(
            f"a {kind} module must read and write {EMBEDDING}, got {', '.join(sorted(through - {EMBEDDING}))} in {folder}; {WITHOUT}."
        )
    files = (fetched(path_or_id, f"{folder}/{name}", local) for name in WEIGHT_FILES)
    return Layer(kind, config, next((path for path in files if path is not None), None), f"{folder} ({kind})")


def embedding_of(about: Mapping[str, Any], include_prompt: bool, kinds: Sequence[str]) -> Embedding:
    """The record of a manifest. A prompt without a text, and a similarity of another kind of model, count as none."""
    prompts = {name: text for name, text in (about.get("prompts") or {}).items() if isinstance(text, str)}
    default, similarity = about.get("default_prompt_name") or "", about.get("similarity_fn_name")
    lasting = [kind for kind in kinds if kind != "Dropout"]
    with in_a_sentence(f"{CONFIG} must hold prompts and a truncate_dim of its own format", "save the model again"):
        return Embedding(
            prompts=prompts,
            default_prompt=default if default in prompts else "",
            include_prompt=include_prompt,
            normalised=lasting[-1] == "Normalize",
            dimensions=about.get("truncate_dim") or 0,
            similarity=similarity if similarity in SIMILARITIES else SIMILARITIES[0],
        )
