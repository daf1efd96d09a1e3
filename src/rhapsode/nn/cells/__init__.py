"""The recurrent cells, one file each: the paper's equations, the parameters, and the scan over time in numpy.

To add a cell: write its file, name it in `CELLS` and in `ModelConfig.cell`, write its twin in each backend's `cells`
folder; the laws in tests/properties then run over it.
"""

from rhapsode.errors import ConfigError
from rhapsode.nn.cells.base import Cell, HiddenAndCell, HiddenState, LayerState, Memory, Vector
from rhapsode.nn.cells.gru import GRU
from rhapsode.nn.cells.lstm import LSTM
from rhapsode.nn.cells.mingru import MinGRU
from rhapsode.nn.cells.minlstm import MinLSTM
from rhapsode.nn.cells.mlstm import MLSTM
from rhapsode.nn.cells.mogrifier import Mogrifier
from rhapsode.nn.cells.rglru import RGLRU
from rhapsode.nn.cells.rnn import RNN
from rhapsode.nn.cells.sru import SRU

CELLS: dict[str, Cell] = {
    "rnn": RNN(),
    "gru": GRU(),
    "lstm": LSTM(),
    "mlstm": MLSTM(),
    "mogrifier": Mogrifier(),
    "mingru": MinGRU(),
    "minlstm": MinLSTM(),
    "sru": SRU(),
    "rglru": RGLRU(),
}

OWN_CELLS: dict[str, Cell] = {}
"""The user's own, by NAME@HASH, whose files this process has run because it was told to
(`rhapsode.backends.torch.own_cell`)."""


def cell_named(name: str) -> Cell:
    """The cell of this name.

    Raises:
        ConfigError: it is one of the user's own, and its file has not been named.
    """
    if name in CELLS:
        return CELLS[name]
    if name not in OWN_CELLS:
        raise ConfigError("cell", name, f"its file, as it was in training: --cell {name.split('@')[0]}.py")
    return OWN_CELLS[name]


__all__ = ["CELLS", "OWN_CELLS", "Cell", "HiddenAndCell", "HiddenState", "LayerState", "Memory", "Vector", "cell_named"]
