"""The public names of tensors, dimensions and files, on which graphs, bundles and callers agree."""

from collections.abc import Iterable

INPUT_IDS = "input_ids"  # int64 [batch, sequence]
ATTENTION_MASK = "attention_mask"  # int64 [batch, sequence], 1 = real, 0 = padding
# int64 [batch, sequence], the segment of each token in a pair of texts; `Segments` in the manifest says the default
TOKEN_TYPE_IDS = "token_type_ids"  # noqa: S105 (no password)
DECODER_INPUT_IDS = "decoder_input_ids"  # int64 [batch, decoder_sequence], what the decoder has written so far
GLOBAL_ATTENTION_MASK = "global_attention_mask"  # int64 [batch, sequence], 1 = attends to all, all attend to it
TARGET = "target"  # float32 [batch, classes], weights of the logits; a row of zeros means the predicted class
POSITION = "position"  # int64 [batch], the token whose logits or vector the explanation explains
TARGET_START = "target_start"  # float32 [batch, sequence], weights of start_logits; zeros in both: best answer
TARGET_END = "target_end"  # float32 [batch, sequence], weights of end_logits
BASELINE = "baseline"  # int64 [batch, sequence], token ids at which integrated gradients start
PATH = "path"  # float32 [steps], points between the baseline (0) and the input (1)
LOGITS = "logits"  # float32 [batch, classes]
START_LOGITS = "start_logits"  # float32 [batch, sequence], scores of the first token of an answer
END_LOGITS = "end_logits"  # float32 [batch, sequence], scores of the last token of an answer
LAST_HIDDEN_STATE = "last_hidden_state"  # float32 [batch, sequence, width]
ENCODER_LAST_HIDDEN_STATE = "encoder_last_hidden_state"  # float32 [batch, sequence, width], of a model with a decoder
SENTENCE_EMBEDDING = (
    "sentence_embedding"  # float32 [batch, width], one vector for all tokens, as sentence-transformers pools
)
RELEVANCE = "relevance"  # float32 [batch, sequence], signed, raw, 0 at padding
RESIDUAL = "residual"  # float32 [batch], the explained value minus the sum of relevance
ATTENTION = "attention"  # float32 [batch, layers, heads, sequence], attention weights of the query that the value reads
PATH_VALUES = "path_values"  # float32 [batch, steps], the explained value at each point of the path

PROMPT_MARK = 2  # in attention_mask: a token that the model reads and the pooling leaves out

SHARES = (
    "attention-rollout",
    "attention",
)  # methods whose scores are shares of attention, not parts of the explained value

# Dimensions have the names of the ecosystem, because other readers look for them: transformers.js reads `batch_size`.
BATCH = "batch_size"
SEQUENCE = "sequence_length"
CHOICES = "num_choices"  # the inputs of a multiple-choice model are [batch_size, num_choices, sequence_length]
STEPS = "steps"
HEIGHT, WIDTH = "height", "width"  # of images whose size varies
DECODER_SEQUENCE = "decoder_sequence_length"
# The names in older bundles; reading a manifest translates them into the new names.
OLD_DIMENSIONS = {"batch": BATCH, "sequence": SEQUENCE, "choices": CHOICES, "decoder_sequence": DECODER_SEQUENCE}

MANIFEST_FILE = "edgexf.json"
CONFIG_FILE = "config.json"
JS_CONFIG = "transformers.js_config"  # the key of config.json that tells transformers.js what to load
TOKENIZER_FILE = "tokenizer.json"
GOLDEN_FILE = "golden.npz"
CARD_FILE = "README.md"
ROUNDED = "@rounded"  # in golden.npz; no tensor has such a name
PREDICT = "predict"  # the method of the graph that answers without an explanation
PREDICT_FILE = "onnx/model.onnx"
WEIGHTS_FILE = "onnx/model.onnx_data"
PROFILE_FILE = "profile.json"  # where the time of each graph goes
QUANTIZE_FILE = "quantize_config.json"
OPERATORS_FILE = "onnx/required_operators.config"  # what a reduced build of ONNX Runtime needs for the .ort files
PROCESSOR_FILE = "preprocessor_config.json"  # how pictures are read, as the model came; for transformers.js
PICTURES = "pictures"  # the key of a manifest's provenance that says how pictures are read, or why they are not


def relevance_of(method: str, first: bool) -> str:
    """The output name of the relevance of a method: plain for the first method, with the method for a further one."""
    return RELEVANCE if first else f"{RELEVANCE}_{method}"


def residual_of(method: str, first: bool) -> str:
    return RESIDUAL if first else f"{RESIDUAL}_{method}"


def explain_files(methods: Iterable[str]) -> dict[str, str]:
    """The path in a bundle of each method's explain graph; that of the first method has the plain name."""
    return {
        method: "onnx/explain.onnx" if place == 0 else f"onnx/explain_{method}.onnx"
        for place, method in enumerate(methods)
    }


def ort_file(path: str) -> str:
    """The path in a bundle of the .ort file of the graph at `path`."""
    return f"{path.removesuffix('.onnx')}.ort"


def ort_files(paths: Iterable[str]) -> list[str]:
    """The .ort files among the paths, in order, and the list of their operators behind them; empty without such files."""
    return [
        *sorted(path for path in paths if path.endswith(".ort")),
        *[path for path in paths if path == OPERATORS_FILE],
    ]
