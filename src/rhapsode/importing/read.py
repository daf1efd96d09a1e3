"""A file of another library, whichever it is, to a model."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from rhapsode.errors import SourceError
from rhapsode.importing.assemble import assemble
from rhapsode.importing.vocabulary import read_vocabulary, tokenizer_of
from rhapsode.modelfile import ModelFile

KERAS, PYTORCH = (".keras", ".h5", ".hdf5"), (".safetensors",)
PICKLES = (".pt", ".pth", ".bin", ".ckpt", ".pkl")


def import_model(
    path: str | Path,
    vocabulary: str | Path,
    *,
    lowercase: bool = False,
    nonlinearity: Literal["tanh", "relu"] = "tanh",
) -> ModelFile:
    """The model in a file of Keras (.keras, .h5) or PyTorch (.safetensors), which predicts what it predicted there.

    Args:
        vocabulary: which text its ids stand for (see `rhapsode.importing.vocabulary`).
        lowercase: it was trained on text in lower case, though the vocabulary has capitals.
        nonlinearity: of PyTorch's ``nn.RNN``, whose file does not tell; elsewhere the file does.

    Raises:
        SourceError: a file cannot be read, or the network is none that rhapsode can be: says which part of it.
        MissingDependency: reading Keras files needs h5py.
    """
    path, vocabulary = Path(path), Path(vocabulary)
    if path.suffix in PICKLES:
        raise SourceError(
            f"{path}: a pickle can run code and is not read; save the weights with "
            f"safetensors.torch.save_file(model.state_dict(), {path.with_suffix('.safetensors').name!r})"
        )
    if path.suffix in KERAS + PYTORCH and not path.is_file():
        raise SourceError(f"{path}: no such file")
    if path.suffix in KERAS:
        from rhapsode.importing.keras import read_keras

        network = read_keras(path)
    elif path.suffix in PYTORCH:
        from rhapsode.importing.pytorch import read_pytorch

        network = read_pytorch(path, nonlinearity)
    else:
        raise SourceError(f"{path}: expected a file that ends in {', '.join(KERAS + PYTORCH)}")
    tokenizer, index = tokenizer_of(vocabulary, read_vocabulary(vocabulary, network.symbols), lowercase)
    return assemble(network, tokenizer, index, path)
