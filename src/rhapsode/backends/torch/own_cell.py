"""A cell of the user's own, from one Python file that he names: CONTRIBUTING.md shows a whole one.

The file has

    gates: int                        a step gets a [B, gates*H] from the input: a table row, or W_ih x + b
    state: tuple of names             arrays [B, H] that go from step to step
    parameters(rng, H) -> dict        initial values of its own parameters by name, drawn with a numpy generator
    step(a, state, p) -> h, state     one time step in torch, differentiable: h [B, H], p the parameters by name

and may have, in place of `step`, scan(gates, state, p) over gates [T, B, gates*H] that gives h [T, B, H] and the state.

The cell is called NAME@HASH after the file's name and contents, and model files hold that, never code: who uses such a
model names the file again. Everything runs in torch; `OwnCell.scan` lends it to the engine in numpy.
"""

from __future__ import annotations

import hashlib
import re
import sys
from collections import namedtuple
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import torch
from torch import Tensor

from rhapsode.backends.torch.cells import SCANS
from rhapsode.errors import ConfigError
from rhapsode.nn.cells import OWN_CELLS
from rhapsode.nn.cells.base import Cell, LayerState, Vector

TAKEN = frozenset({"table", "weight_ih", "bias", "weight_hh"})
"""Names of parameters that every layer has, or that are treated in a way of their own."""
TRIAL = 32
"""H, when a cell is tried out."""


def load_cell(path: str | Path) -> str:
    """Run the file and have its cell known to this process, by the name that it returns: ``NAME@HASH``.

    Raises:
        ConfigError: the file cannot be read or run, or what it has is no cell; says what is wrong.
    """
    path = Path(path)
    try:
        source = path.read_bytes()
    except OSError as error:
        raise ConfigError("cell", str(path), f"a file that can be read ({error.strerror or error})") from None
    if not re.fullmatch(r"[A-Za-z_][\w-]*", path.stem, re.ASCII):
        raise ConfigError("cell", str(path), "a file's name of letters, digits, _ and -")
    name = f"{path.stem}@{hashlib.sha256(source).hexdigest()[:16]}"
    if name not in OWN_CELLS:
        cell = OwnCell(_run(name, path, source), path)
        cell.try_out()
        OWN_CELLS[name], SCANS[name] = cell, cell.run
    return name


def _run(name: str, path: Path, source: bytes) -> ModuleType:
    sys.modules[name] = module = ModuleType(name)
    module.__file__ = str(path)
    try:
        exec(compile(source, path, "exec"), module.__dict__)
    except Exception as error:
        raise ConfigError("cell", str(path), f"Python that runs ({type(error).__name__}: {error})") from error
    return module


class OwnCell(Cell):
    """What the file describes."""

    matrices = 0

    def __init__(self, module: ModuleType, path: Path):
        self._module, self._path = module, path
        self.gates = self._told("gates", int, "gates: a whole number from 1", lambda n: n >= 1)
        fields = self._told("state", tuple, "state: names of arrays", lambda names: names and all(map(_is_name, names)))
        self.state: type[LayerState] = namedtuple("OwnState", fields)  # type: ignore[assignment,misc]
        self._told("parameters", object, "a function parameters(rng, H)", callable)
        if not callable(getattr(module, "scan", None)):
            self._told("step", object, "a function step(a, state, p), or scan(gates, state, p)", callable)
        self.vectors = tuple(self._vector(name) for name in self._values(TRIAL))

    def run(
        self, gates: Tensor, state: LayerState, parameters: Mapping[str, Tensor], nonlinearity: str
    ) -> tuple[Tensor, LayerState]:
        """Run over gates [T, B, G*H] from `state`; return h [T, B, H] and the state after the last step."""
        if callable(getattr(self._module, "scan", None)):
            outputs, state = self._module.scan(gates, state, parameters)
            return outputs, self.state(*state)
        steps = []
        for a in gates:
            h, state = self._module.step(a, self.state(*state), parameters)
            steps.append(h)
        return torch.stack(steps), self.state(*state)

    def scan(
        self, gates: np.ndarray, state: LayerState, parameters: Mapping[str, np.ndarray], nonlinearity: str
    ) -> tuple[np.ndarray, LayerState]:
        """`Cell.scan`. Rows that are to make products of their own, gates [T, B, 1, G*H], go one by one."""
        own = {vector.name: torch.from_numpy(parameters[vector.name]) for vector in self.vectors}
        with torch.no_grad():
            if gates.ndim == 3:
                return self._scanned(gates, state, own)
            rows = [self._scanned(gates[:, b], self.state(*(s[b] for s in state)), own) for b in range(gates.shape[1])]
        after = (np.stack(arrays) for arrays in zip(*(end for _, end in rows), strict=True))
        return np.stack([h for h, _ in rows], axis=1), self.state(*after)

    def _scanned(self, gates: np.ndarray, state: LayerState, own: dict[str, Tensor]) -> tuple[np.ndarray, LayerState]:
        start = self.state(*(torch.from_numpy(np.ascontiguousarray(array)) for array in state))
        outputs, end = self.run(torch.from_numpy(np.ascontiguousarray(gates)), start, own, "tanh")
        return outputs.numpy(), self.state(*(array.numpy() for array in end))

    def try_out(self) -> None:
        """Three steps of two sequences.

        Raises:
            ConfigError: they fail, or what comes out has not the right shape.
        """
        T, B, H = 3, 2, TRIAL
        own = {name: torch.from_numpy(value) for name, value in self._values(H).items()}
        start = self.state(*(torch.zeros(B, H) for _ in self.state._fields))
        try:
            outputs, end = self.run(torch.zeros(T, B, self.gates * H), start, own, "tanh")
            found = [tuple(outputs.shape), *(tuple(array.shape) for array in end)]
        except Exception as error:
            raise self._error(f"steps that run ({type(error).__name__}: {error})") from error
        if found != [(T, B, H), *((B, H) for _ in end)]:
            raise self._error(f"h and state [B, H], which here are {found[0][1:]} and {found[1:]} for B = {B}, H = {H}")

    def _told(self, name: str, kind: type, wanted: str, is_right: Any) -> Any:
        value = getattr(self._module, name, None)
        if value is None or not isinstance(value, kind) or not is_right(value):
            raise self._error(f"a file that has {wanted}")
        return value

    def _vector(self, name: str) -> Vector:
        if not _is_name(name) or name in TAKEN:
            raise self._error(f"parameters with names of their own, found {name!r}")
        return Vector(
            name,
            lambda rng, hidden: self._values(hidden, rng)[name],
            lru_cache(lambda hidden: self._values(hidden)[name].shape),
        )

    def _values(self, hidden: int, rng: np.random.Generator | None = None) -> dict[str, np.ndarray]:
        try:
            values = self._module.parameters(rng or np.random.default_rng(0), hidden)
            return {name: np.ascontiguousarray(value, np.float32) for name, value in values.items()}
        except Exception as error:
            raise self._error(f"parameters(rng, H) that gives arrays ({type(error).__name__}: {error})") from error

    def _error(self, wanted: str) -> ConfigError:
        return ConfigError("cell", str(self._path), wanted)


def _is_name(value: Any) -> bool:
    return isinstance(value, str) and value.isidentifier() and not value.startswith("_") and value != "conv"
