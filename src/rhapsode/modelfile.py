"""The one artefact: a model in one `.safetensors` file, with nothing in it that could run.

Format 1. A safetensors file (https://github.com/huggingface/safetensors) whose tensors are exactly those of
`rhapsode.nn.spec` for its configuration, float32, and whose metadata has one entry, ``rhapsode``, a JSON object:

    format      1
    config      the ModelConfig, by field
    tokenizer   the tokenizer, as its `to_json` gives it
    training    how it was trained: configuration, text, steps, seconds, losses (free form, for people)
    precision   fp32, or int8; a file without this entry is fp32
    blocks      if there: n, and the names of the parameters that are stored by their n blocks
    packed      if there: a precision, and the place [first byte, bytes] of each array in the tensor packed, by name

With precision int8, each matrix NAME [N, K] (in DECAYED of `rhapsode.nn.spec`; vectors stay as they are) is two
tensors: NAME, int8, and NAME.scale [N], float32. Row i stands for the numbers NAME[i] * NAME.scale[i]; its largest
integer is 127 or -127, so that such a matrix is stored as itself again.

A model of n networks that were joined has block-diagonal matrices [N, K], which are stored without what is 0: as
[N, K/n], what `rhapsode.nn.joined.by_blocks` makes of them.

A file with `packed` (see `rhapsode.native_engine.NativeEngine.packed`) has the large arrays of the native engine in
that precision too, in one tensor of bytes, each at a multiple of 64 bytes of the file. It is mapped instead of read:
what an engine does not look at takes no memory, and processes share what they look at. It has precision fp32.

Reading checks, in this order: that the file is one of safetensors, that it is rhapsode's, that its format is known,
that its configuration and tokenizer are whole and agree, and that every tensor has the name, shape and type that the
configuration asks for. Sizes are compared before anything is allocated.
"""

from __future__ import annotations

import json
import typing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np

from rhapsode.config import ModelConfig
from rhapsode.errors import ConfigError, ModelFileError, TokenizerError
from rhapsode.files import named_path
from rhapsode.nn.cells import cell_named
from rhapsode.nn.joined import block_diagonal, by_blocks, from_blocks
from rhapsode.nn.spec import DECAYED, Parameter, Parameters, parameter_spec
from rhapsode.tensorfile import ALIGNED, TensorFile, write
from rhapsode.text.tokenizer import Tokenizer, tokenizer_from_json

FORMAT, ENTRY = 1, "rhapsode"
CLASSIFIER = "classifier"
"""What a file of `rhapsode.classify.file` calls itself in its entry ``kind``, which language models lack."""
BEST, LAST = "best.safetensors", "last.safetensors"
"""Names of the model files in a run folder."""

Precision = Literal["fp32", "bf16", "int8"]


class Packed(NamedTuple):
    """Weights as the native engine reads them in some precision."""

    precision: Precision
    arrays: dict[str, np.ndarray]
    """bytes, uint8 [N], by the engine's names"""


@dataclass(frozen=True)
class ModelFile:
    """Weights, configuration, tokenizer, and how they came about."""

    config: ModelConfig
    tokenizer: Tokenizer
    parameters: Parameters
    training: dict[str, Any] = field(default_factory=dict)
    precision: Precision = "fp32"
    """in which matrices are stored, fp32 or int8, and what engines run them in. Parameters are always float32."""
    packed: Packed | None = None
    """of these parameters; engines then run in its precision"""

    def save(self, path: str | Path) -> None:
        """Write the file, whole or not at all.

        Raises:
            OutputError: it cannot be written.
        """
        head = {
            "format": FORMAT,
            "config": self.config.to_json(),
            "tokenizer": self.tokenizer.to_json(),
            "training": self.training,
            "precision": "fp32" if self.packed else self.precision,
        }
        train = self.training.get("train")
        networks = train.get("networks", 1) if isinstance(train, dict) else 1
        stored = by_blocks(self.parameters, self.config, networks) if networks > 1 else {}
        if stored:
            head["blocks"] = {"networks": networks, "parameters": [*stored]}
        tensors = self.parameters | stored if self.packed else self._tensors(stored)
        if self.packed:
            places, data = _joined(self.packed.arrays)
            head["packed"] = {"precision": self.packed.precision, "arrays": places}
            tensors = tensors | {"packed": data}
        write(path, ENTRY, head, tensors)

    def _tensors(self, stored: Parameters) -> Parameters:
        """The parameters as they are stored, some of them in this form."""
        parameters = self.parameters | stored
        if self.precision == "fp32":
            return parameters
        tensors = {}
        for p in parameter_spec(self.config):
            tensors[p.name] = parameters[p.name]
            if p.role in DECAYED:
                tensors[p.name], tensors[f"{p.name}.scale"] = quantised(parameters[p.name])
        return tensors

    @classmethod
    def load(cls, path: str | Path) -> ModelFile:
        """Read and check the model file at `path`, or the best one of the run folder at `path`.

        Raises:
            ModelFileError: there is none, or it is damaged or of another kind; says what was found and expected.
        """
        path = find(path)
        file = TensorFile(path, ENTRY, "a model", ModelFileError)
        head = file.head
        if head.get("kind") == CLASSIFIER:
            raise ModelFileError(f"{path}: a classifier, which writes no text; it is used with rhapsode classify")
        if head.get("format") != FORMAT:
            raise ModelFileError(f"{path}: format {head.get('format')!r} is not known; this version reads {FORMAT}")
        try:
            config = ModelConfig.from_json(head.get("config"))
            cell_named(config.cell)
            tokenizer = tokenizer_from_json(head.get("tokenizer"))
        except (ConfigError, TokenizerError) as error:
            raise ModelFileError(f"{path}: {error}") from None
        if tokenizer.vocab_size != config.vocab_size:
            raise ModelFileError(
                f"{path}: the tokenizer has {tokenizer.vocab_size} symbols, the configuration {config.vocab_size}"
            )
        training, precision = head.get("training"), head.get("precision", "fp32")
        if precision not in ("fp32", "int8"):
            raise ModelFileError(f"{path}: precision {precision!r} is not known; this version reads fp32 and int8")
        packed = _packed(file) if "packed" in head else None
        parameters = _parameters(file, config, precision)
        return cls(config, tokenizer, parameters, training if isinstance(training, dict) else {}, precision, packed)

    def with_precision(self, precision: Precision) -> ModelFile:
        """The model as it would come back from a file of this precision, fp32 or int8."""
        other = replace(self, precision=precision, packed=None)
        return replace(other, parameters=_restored(other._tensors({}), parameter_spec(self.config)))

    def digest(self) -> str:
        """A hash of everything that decides the model's predictions; ties a saved session to its model."""
        import hashlib

        digest = hashlib.sha256(json.dumps([self.config.to_json(), self.tokenizer.to_json()]).encode())
        for p in parameter_spec(self.config):
            digest.update(np.ascontiguousarray(self.parameters[p.name]).data)
        return digest.hexdigest()


def find(path: str | Path) -> Path:
    """The model file that `path` means: itself, or the best (else the last) one of a run folder."""
    path = named_path(path, ModelFileError)
    try:
        folder = path.is_dir()
        for file in (path / BEST, path / LAST) if folder else (path,):
            if file.is_file():
                return file
    except OSError as error:
        raise ModelFileError(f"{path}: cannot be read: {error.strerror or error}") from None
    if folder:
        raise ModelFileError(f"{path}: a folder without a model file ({BEST} or {LAST})")
    raise ModelFileError(f"{path}: no such model file or run folder")


def is_classifier(path: str | Path) -> bool:
    """Whether the file, which is one of rhapsode, holds a classifier.

    Raises:
        ModelFileError: it is none of rhapsode.
    """
    return TensorFile(path, ENTRY, "a model", ModelFileError).head.get("kind") == CLASSIFIER


def quantised(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The matrix [N, K] as int8 [N, K] and a float32 scale [N] for each row; the nearest integers."""
    scale = np.abs(matrix).max(-1) / np.float32(127)
    with np.errstate(all="ignore"):
        integers = np.nan_to_num(np.rint(matrix / scale[:, None]), nan=0)
    return np.clip(integers, -127, 127).astype(np.int8), scale


def _parameters(file: TensorFile, config: ModelConfig, precision: Precision) -> Parameters:
    """The tensors, if they are those that the configuration asks for."""
    networks, names = _blocks(file)
    try:
        parts = {p.name: p for p in block_diagonal(config, networks)} if names else {}
        own = {name: (networks * parts[name].shape[0], parts[name].shape[1]) for name in names}
    except (ConfigError, KeyError):
        raise ModelFileError(f"{file.path}: its blocks are none of this configuration's") from None
    spec = [replace(p, shape=own.get(p.name, p.shape)) for p in parameter_spec(config)]
    integers = [p for p in spec if precision == "int8" and p.role in DECAYED]
    expected = {p.name: (p.shape, "F32") for p in spec}
    expected |= {p.name: (p.shape, "I8") for p in integers}
    expected |= {f"{p.name}.scale": (p.shape[:1], "F32") for p in integers}
    for name in file.names - expected.keys() - ({"packed"} if "packed" in file.head else set()):
        raise ModelFileError(f"{file.path}: tensor {name} is none of this configuration's")
    parameters = _restored({name: file.tensor(name, *kind) for name, kind in expected.items()}, spec)
    stored = {name: parameters[name] for name in names}
    return parameters | (from_blocks(stored, config, networks) if names else {})


def _blocks(file: TensorFile) -> tuple[int, list[str]]:
    """How many blocks, and the names of the parameters that are stored by them."""
    blocks = file.head.get("blocks", {"networks": 1, "parameters": []})
    match blocks:
        case {"networks": int(networks), "parameters": [*names]} if networks > 0:
            return networks, [str(name) for name in names]
    raise ModelFileError(f"{file.path}: its description of blocks is damaged")


def _joined(arrays: dict[str, np.ndarray]) -> tuple[dict[str, list[int]], np.ndarray]:
    """Arrays of bytes in one, each at a multiple of ALIGNED, and where they are."""
    places, end = {}, 0
    for name, array in arrays.items():
        places[name] = [end, array.nbytes]
        end += -(-array.nbytes // ALIGNED) * ALIGNED
    data = np.zeros(end, np.uint8)
    for name, (first, size) in places.items():
        data[first : first + size] = arrays[name]
    return places, data


def _packed(file: TensorFile) -> Packed:
    """The packed arrays of a file, which is mapped from now on."""
    head = file.head["packed"]
    try:
        precision, places = head["precision"], {str(name): (int(a), int(n)) for name, (a, n) in head["arrays"].items()}
        if precision not in typing.get_args(Precision) or any(a < 0 or n < 0 for a, n in places.values()):
            raise ValueError(head)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
        raise ModelFileError(f"{file.path}: its description of packed weights is damaged") from None
    file.map()
    data = file.tensor("packed", (None,), "U8")
    return Packed(precision, {name: data[first : first + size] for name, (first, size) in places.items()})


def _restored(tensors: Parameters, spec: list[Parameter]) -> Parameters:
    """Stored tensors as float32 parameters."""

    def value(name: str) -> np.ndarray:
        return tensors[name] * tensors[f"{name}.scale"][:, None] if f"{name}.scale" in tensors else tensors[name]

    return {p.name: value(p.name) for p in spec}
