"""Explain a file with onnxruntime alone, without edgexf and PyTorch, as any language with ONNX Runtime can.

    python samples/explain_plain.py linformer-bundle README.md

In: a bundle of a reference model, and a file. Out: the label, and the ten bytes that speak most for the label.
"""

import argparse
from pathlib import Path

import numpy as np
import onnxruntime

parser = argparse.ArgumentParser(description="Explain a file with onnxruntime alone.")
parser.add_argument("bundle", help="bundle of a reference model, such as linformer-bundle")
parser.add_argument("file", type=Path, help="file to explain; its first 4,096 bytes are read")
given = parser.parse_args()
for path in (given.file, Path(given.bundle, "onnx", "explain.onnx")):
    if not path.is_file():
        parser.error(f"{path} must be a file, got none")
data = given.file.read_bytes()[:4096]
session = onnxruntime.InferenceSession(f"{given.bundle}/onnx/explain.onnx")
ids = np.array([[257, *data]], dtype=np.int64)
target = np.zeros((1, session.get_inputs()[2].shape[1]), dtype=np.float32)  # zeros mean the predicted label
feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "target": target}
logits, relevance, residual = session.run(None, feeds)
print(f"label {logits[0].argmax()}: {logits.max():.2f} = {relevance.sum():.2f} + {residual[0]:.2f} not attributed")
for place in relevance[0, 1:].argsort()[:-11:-1]:
    print(f"{place:5} {data[place : place + 1]!r:8} {relevance[0, 1 + place]:+.3f}")
