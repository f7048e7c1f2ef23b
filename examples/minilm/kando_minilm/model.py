"""The model: a BERT of six layers (https://arxiv.org/abs/2002.10957), in numpy."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file
from tokenizers import Tokenizer

__all__ = ["Encoder"]

Array = np.ndarray[Any, np.dtype[np.float32]]

_MAX_TOKENS = 256


class Encoder:
    """Computes the vectors of texts.

    Args:
        folder: holds the weights, the tokenizer and their configuration.
    """

    def __init__(self, folder: Path) -> None:
        self._config = json.loads((folder / "config.json").read_text())
        self._weights = load_file(folder / "model.safetensors")
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(_MAX_TOKENS)

    def vectors(self, texts: Sequence[str]) -> Array:
        """Return a vector of length 1 for each text, in rows."""
        # One by one: without padding, the vector of a text does not depend on the others.
        return np.stack([self._vector(text) for text in texts])

    def _vector(self, text: str) -> Array:
        ids = self._tokenizer.encode(text).ids
        at = "embeddings"
        states = (
            self._weights[f"{at}.word_embeddings.weight"][ids]
            + self._weights[f"{at}.position_embeddings.weight"][: len(ids)]
            + self._weights[f"{at}.token_type_embeddings.weight"][0]
        )
        states = self._normal(states, f"{at}.LayerNorm")
        for number in range(self._config["num_hidden_layers"]):
            states = self._layer(states, f"encoder.layer.{number}")
        mean: Array = states.mean(axis=0)
        return mean / np.linalg.norm(mean)

    def _layer(self, states: Array, at: str) -> Array:
        mixed = self._linear(
            self._attention(states, f"{at}.attention.self"), f"{at}.attention.output.dense"
        )
        states = self._normal(states + mixed, f"{at}.attention.output.LayerNorm")
        inner = _gelu(self._linear(states, f"{at}.intermediate.dense"))
        return self._normal(
            states + self._linear(inner, f"{at}.output.dense"), f"{at}.output.LayerNorm"
        )

    def _attention(self, states: Array, at: str) -> Array:
        heads = self._config["num_attention_heads"]
        size = states.shape[1] // heads
        query, key, value = (
            self._linear(states, f"{at}.{name}").reshape(-1, heads, size).swapaxes(0, 1)
            for name in ("query", "key", "value")
        )
        scores = query @ key.swapaxes(1, 2) / np.float32(np.sqrt(size))
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        mixed: Array = (weights @ value).swapaxes(0, 1).reshape(states.shape)
        return mixed

    def _linear(self, states: Array, at: str) -> Array:
        result: Array = states @ self._weights[f"{at}.weight"].T + self._weights[f"{at}.bias"]
        return result

    def _normal(self, states: Array, at: str) -> Array:
        centred = states - states.mean(axis=-1, keepdims=True)
        spread = np.sqrt(states.var(axis=-1, keepdims=True) + self._config["layer_norm_eps"])
        result: Array = (
            centred / spread * self._weights[f"{at}.weight"] + self._weights[f"{at}.bias"]
        )
        return result


def _gelu(x: Array) -> Array:
    # The error function by Abramowitz and Stegun 7.1.26: numpy has none, and scipy is large.
    z = np.abs(x) / np.float32(np.sqrt(2))
    t = 1 / (1 + np.float32(0.3275911) * z)
    sum_ = np.float32(1.061405429)
    for factor in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        sum_ = sum_ * t + np.float32(factor)
    error = np.copysign(1 - sum_ * t * np.exp(-z * z), x)
    result: Array = x / 2 * (1 + error)
    return result
