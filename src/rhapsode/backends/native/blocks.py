"""What stands around the recurrent layers on the native core: dropout, norm, short convolution, gated MLP.

Forward beside backward; each `backward` belongs to the `forward` before it, and parameters' gradients are overwritten
or, with `accumulate`, added to.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import rhapsode._native as _native
from rhapsode.backends.native.masks import NOTHING
from rhapsode.config import ModelConfig
from rhapsode.nn.forward import EPSILON
from rhapsode.nn.spec import mlp_width


class Masked:
    """Dropout of vectors."""

    def __init__(self) -> None:
        self._ahead, self._back = _native.Dropout(), _native.Dropout()

    def forward(self, x: Any, mask: Any) -> Any:
        self._mask = mask
        return x if mask is NOTHING else self._ahead.run(x, mask)

    def backward(self, d: Any) -> Any:
        return d if self._mask is NOTHING else self._back.run(d, self._mask)


class Normalised:
    """A norm, or none."""

    def __init__(self, kind: str, width: int):
        self._core = None if kind == "none" else _native.Norm(width, kind == "layer", EPSILON)

    def parameters(self) -> dict[str, Any]:
        return {p.name: p for p in self._core.parameters()} if self._core else {}

    def forward(self, x: Any) -> Any:
        self._x = x
        return self._core.forward(x) if self._core else x

    def backward(self, d: Any, accumulate: bool) -> Any:
        return self._core.backward(self._x, d, accumulate) if self._core else d


class Convolved:
    """A short convolution over time, or none; its state is as `rhapsode.nn.spec` has it, None for none."""

    def __init__(self, width: int, taps: int):
        self._core = _native.Convolution(width, taps) if taps else None

    def parameters(self) -> dict[str, Any]:
        return {p.name: p for p in self._core.parameters()} if self._core else {}

    def forward(self, x: Any, state: np.ndarray | None) -> tuple[Any, np.ndarray | None]:
        self._x = x
        return self._core.forward(x, state) if self._core else (x, None)

    def backward(
        self, d: Any, d_state: np.ndarray | None, with_state: bool, accumulate: bool
    ) -> tuple[Any, np.ndarray | None]:
        if not self._core:
            return d, None
        return self._core.backward(self._x, d, d_state, with_state, accumulate)


class GatedMLP:
    """y + mlp(norm(y)), or y where the model has none."""

    def __init__(self, config: ModelConfig, precision: str):
        width = mlp_width(config)
        self._norm = Normalised(config.norm if width else "none", config.hidden)
        self._core = _native.GatedMlp(config.hidden, width, precision) if width else None
        self._sum, self._d_sum = _native.Sum(precision), _native.Sum(precision)

    def parameters(self) -> dict[str, Any]:
        norm = {f"norm.{name}": p for name, p in self._norm.parameters().items()}
        return norm | ({p.name: p for p in self._core.parameters()} if self._core else {})

    def forward(self, y: Any, training: bool) -> Any:
        if not self._core:
            return y
        self._z = self._norm.forward(y)
        return self._sum.run(y, self._core.forward(self._z, training))

    def backward(self, d: Any, accumulate: bool) -> Any:
        if not self._core:
            return d
        d_z = self._core.backward(self._z, d, accumulate)
        return self._d_sum.run(self._norm.backward(d_z, accumulate), d)
