"""The recurrent cells on the native core, one file each: the backward equations beside the forward ones.

The forward equations are those of `rhapsode.nn.cells`. A whole sequence is one call forward and one call backward; what
happens inside is in native/kernels.inc and native/elementwise.inc, a struct a cell with the same names.
"""

from rhapsode.backends.native.cells.base import NativeCell
from rhapsode.backends.native.cells.gru import NativeGRU
from rhapsode.backends.native.cells.lstm import NativeLSTM
from rhapsode.backends.native.cells.mingru import NativeMinGRU
from rhapsode.backends.native.cells.minlstm import NativeMinLSTM
from rhapsode.backends.native.cells.mlstm import NativeMLSTM
from rhapsode.backends.native.cells.mogrifier import NativeMogrifier
from rhapsode.backends.native.cells.rglru import NativeRGLRU
from rhapsode.backends.native.cells.rnn import NativeRNN
from rhapsode.backends.native.cells.sru import NativeSRU

NATIVE_CELLS: dict[str, type[NativeCell]] = {
    "rnn": NativeRNN,
    "gru": NativeGRU,
    "lstm": NativeLSTM,
    "mlstm": NativeMLSTM,
    "mogrifier": NativeMogrifier,
    "mingru": NativeMinGRU,
    "minlstm": NativeMinLSTM,
    "sru": NativeSRU,
    "rglru": NativeRGLRU,
}

__all__ = ["NATIVE_CELLS", "NativeCell"]
