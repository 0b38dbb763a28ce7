"""A model of BERT base's shape with random weights: speed does not depend on what it has learnt."""

import json
import shutil
import struct
from pathlib import Path

import numpy as np

LAYERS, HIDDEN, INTERMEDIATE, HEADS, POSITIONS = 12, 768, 3072, 12, 512

CONFIG = {
    "model_type": "bert",
    "vocab_size": 30522,
    "hidden_size": HIDDEN,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "intermediate_size": INTERMEDIATE,
    "max_position_embeddings": POSITIONS,
    "type_vocab_size": 2,
    "hidden_act": "gelu",
    "layer_norm_eps": 1e-12,
}


def make(folder: Path, like: Path) -> Path:
    """Writes the model, with the tokenizer of another one, unless it is there."""
    (folder / "1_Pooling").mkdir(parents=True, exist_ok=True)
    shutil.copy(like / "tokenizer.json", folder)
    (folder / "config.json").write_text(json.dumps(CONFIG))
    (folder / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    weights = folder / "model.safetensors"
    if not weights.exists():
        partial = weights.with_suffix(".partial")
        write(partial, shapes())
        partial.rename(weights)
    return folder


def shapes() -> dict[str, tuple[int, ...]]:
    found = {
        "embeddings.word_embeddings.weight": (CONFIG["vocab_size"], HIDDEN),
        "embeddings.position_embeddings.weight": (POSITIONS, HIDDEN),
        "embeddings.token_type_embeddings.weight": (2, HIDDEN),
        "embeddings.LayerNorm.weight": (HIDDEN,),
        "embeddings.LayerNorm.bias": (HIDDEN,),
    }
    linear = {
        "attention.self.query": (HIDDEN, HIDDEN),
        "attention.self.key": (HIDDEN, HIDDEN),
        "attention.self.value": (HIDDEN, HIDDEN),
        "attention.output.dense": (HIDDEN, HIDDEN),
        "attention.output.LayerNorm": (HIDDEN,),
        "intermediate.dense": (INTERMEDIATE, HIDDEN),
        "output.dense": (HIDDEN, INTERMEDIATE),
        "output.LayerNorm": (HIDDEN,),
    }
    for layer in range(LAYERS):
        for name, shape in linear.items():
            found[f"encoder.layer.{layer}.{name}.weight"] = shape
            found[f"encoder.layer.{layer}.{name}.bias"] = shape[:1]
    return found


def write(file: Path, tensors: dict[str, tuple[int, ...]]) -> None:
    """A safetensors file: the header's length, the header, the elements."""
    header, end = {}, 0
    for name, shape in tensors.items():
        start, end = end, end + 4 * int(np.prod(shape))
        header[name] = {"dtype": "F32", "shape": shape, "data_offsets": [start, end]}
    text = json.dumps(header).encode()
    drawn = np.random.default_rng(0)
    with file.open("wb") as opened:
        opened.write(struct.pack("<Q", len(text)) + text)
        for name, shape in tensors.items():
            # As BERT is initialised: normal with a deviation of 0.02, LayerNorm as the identity.
            values = drawn.normal(0.0, 0.02, shape)
            if name.endswith("bias"):
                values = np.zeros(shape)
            elif "LayerNorm" in name:
                values = np.ones(shape)
            opened.write(values.astype("<f4").tobytes())
