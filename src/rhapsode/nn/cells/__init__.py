"""The recurrent cells, one file each: the paper's equations, the parameters, and the scan over time in numpy.

To add a cell: write its file, name it in `CELLS` and in `ModelConfig.cell`, write its twin in each backend's `cells`
folder; the laws in tests/properties then run over it.
"""

from rhapsode.nn.cells.base import Cell, HiddenAndCell, HiddenState, LayerState, Memory, Vector
from rhapsode.nn.cells.gru import GRU
from rhapsode.nn.cells.lstm import LSTM
from rhapsode.nn.cells.mingru import MinGRU
from rhapsode.nn.cells.minlstm import MinLSTM
from rhapsode.nn.cells.mlstm import MLSTM
from rhapsode.nn.cells.rglru import RGLRU
from rhapsode.nn.cells.rnn import RNN
from rhapsode.nn.cells.sru import SRU

CELLS: dict[str, Cell] = {
    "rnn": RNN(),
    "gru": GRU(),
    "lstm": LSTM(),
    "mlstm": MLSTM(),
    "mingru": MinGRU(),
    "minlstm": MinLSTM(),
    "sru": SRU(),
    "rglru": RGLRU(),
}

__all__ = ["CELLS", "Cell", "HiddenAndCell", "HiddenState", "LayerState", "Memory", "Vector"]
