"""Public names of tensors, dimensions and files: what graphs, bundles and callers agree on."""

from collections.abc import Iterable

INPUT_IDS = "input_ids"  # int64 [batch, sequence]
ATTENTION_MASK = "attention_mask"  # int64 [batch, sequence], 1 = real, 0 = padding
TOKEN_TYPE_IDS = "token_type_ids"  # int64 [batch, sequence], the segment of a pair; 0 where none is given  # noqa: S105 (no password)
DECODER_INPUT_IDS = "decoder_input_ids"  # int64 [batch, decoder_sequence], what the decoder has written so far
GLOBAL_ATTENTION_MASK = "global_attention_mask"  # int64 [batch, sequence], 1 = sees and is seen by every token
TARGET = "target"  # float32 [batch, classes], weights on the logits; a row of zeros means the predicted class
POSITION = "position"  # int64 [batch], the token whose logits or vector are explained
TARGET_START = "target_start"  # float32 [batch, sequence], weights on start_logits; zeros in both: the best answer
TARGET_END = "target_end"  # float32 [batch, sequence], weights on end_logits
BASELINE = "baseline"  # int64 [batch, sequence], token ids from which integrated gradients start
PATH = "path"  # float32 [steps], points between the baseline (0) and the input (1)
LOGITS = "logits"  # float32 [batch, classes]
START_LOGITS = "start_logits"  # float32 [batch, sequence], where an answer starts
END_LOGITS = "end_logits"  # float32 [batch, sequence], where an answer ends
LAST_HIDDEN_STATE = "last_hidden_state"  # float32 [batch, sequence, width]
ENCODER_LAST_HIDDEN_STATE = "encoder_last_hidden_state"  # float32 [batch, sequence, width], beside a decoder's
RELEVANCE = "relevance"  # float32 [batch, sequence], signed, raw, 0 at padding
RESIDUAL = "residual"  # float32 [batch], the explained value minus the sum of relevance
ATTENTION = (
    "attention"  # float32 [batch, layers, heads, sequence], the weights of the query that the explained value reads
)
PATH_VALUES = "path_values"  # float32 [batch, steps], the explained value at each point of the path

SHARES = (
    "attention-rollout",
    "attention",
)  # methods whose scores are shares of attention, no parts of the explained value

# Dimensions carry the names of the ecosystem: other readers look for them, as transformers.js for `batch_size`.
BATCH = "batch_size"
SEQUENCE = "sequence_length"
CHOICES = "num_choices"  # of a multiple-choice model: its inputs are [batch_size, num_choices, sequence_length]
STEPS = "steps"
DECODER_SEQUENCE = "decoder_sequence_length"
# What bundles called them before; a manifest that is read has the new names.
OLD_DIMENSIONS = {"batch": BATCH, "sequence": SEQUENCE, "choices": CHOICES, "decoder_sequence": DECODER_SEQUENCE}

MANIFEST_FILE = "edgexf.json"
CONFIG_FILE = "config.json"
JS_CONFIG = "transformers.js_config"  # its key that tells transformers.js what to load
TOKENIZER_FILE = "tokenizer.json"
GOLDEN_FILE = "golden.npz"
CARD_FILE = "README.md"
PREDICT_FILE = "onnx/model.onnx"
WEIGHTS_FILE = "onnx/model.onnx_data"
QUANTIZE_FILE = "quantize_config.json"


def relevance_of(method: str, first: bool) -> str:
    """What a method's relevance is called beside another's."""
    return RELEVANCE if first else f"{RELEVANCE}_{method}"


def residual_of(method: str, first: bool) -> str:
    return RESIDUAL if first else f"{RESIDUAL}_{method}"


def explain_files(methods: Iterable[str]) -> dict[str, str]:
    """The path in a bundle of each method's explain graph; that of the first method has the plain name."""
    return {
        method: "onnx/explain.onnx" if place == 0 else f"onnx/explain_{method}.onnx"
        for place, method in enumerate(methods)
    }
