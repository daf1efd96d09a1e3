"""The cells with their hand-written backward passes, judged by torch's own RNN, GRU and LSTM."""

# ruff: noqa: E402
import numpy as np
import pytest

torch = pytest.importorskip("torch")

from rhapsode.backends.torch.cells import SCANS
from rhapsode.nn.cells import CELLS

TOLERANCE = {torch.float64: {"rtol": 1e-10, "atol": 1e-11}, torch.float32: {"rtol": 2e-5, "atol": 5e-6}}
SIZES = [(1, 1, 1), (1, 3, 5), (7, 1, 4), (13, 3, 37), (5, 32, 16)]
"""T, B, H"""


def judge(cell, nonlinearity, D, H, dtype):
    options = {"nonlinearity": nonlinearity} if cell == "rnn" else {}
    module = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}[cell](D, H, dtype=dtype, **options)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.7 * H**-0.5)
    return module


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize(("T", "B", "H"), SIZES)
@pytest.mark.parametrize(
    ("cell", "nonlinearity"), [("rnn", "tanh"), ("rnn", "relu"), ("gru", "tanh"), ("lstm", "tanh")]
)
def test_values_and_gradients(cell, nonlinearity, T, B, H, dtype):
    torch.manual_seed(T * 100 + B * 10 + H)
    D, kind = 6, CELLS[cell].state
    module = judge(cell, nonlinearity, D, H, dtype)
    x = torch.randn(T, B, D, dtype=dtype, requires_grad=True)
    start = [torch.randn(B, H, dtype=dtype, requires_grad=True) for _ in kind._fields]
    weights = dict(module.named_parameters())
    leaves = [x, *start, *weights.values()]

    # torch keeps two biases a gate. Only the candidate's recurrent one in the GRU is not simply added to the other.
    recurrent = weights["bias_hh_l0"]
    own = {"weight_hh": weights["weight_hh_l0"], "bias_hn": recurrent[-H:]}
    added = torch.cat([recurrent[:-H], torch.zeros_like(recurrent[-H:])]) if cell == "gru" else recurrent
    gates = x @ weights["weight_ih_l0"].t() + weights["bias_ih_l0"] + added
    outputs, final = SCANS[cell](gates, kind(*start), own, nonlinearity)

    before = tuple(s[None] for s in start)
    expected, after = module(x, before if cell == "lstm" else before[0])
    after = after if cell == "lstm" else (after,)

    d = [torch.randn_like(v) for v in (outputs, *final)]
    pairs = list(zip((outputs, *final), (expected, *(a[0] for a in after)), strict=True))
    found_gradients = torch.autograd.grad([a for a, _ in pairs], leaves, d)
    expected_gradients = torch.autograd.grad([b for _, b in pairs], leaves, d)
    scale = max(1.0, max(g.abs().max().item() for g in expected_gradients))
    for a, b in pairs:
        np.testing.assert_allclose(a.detach(), b.detach(), **TOLERANCE[dtype])
    for name, a, b in zip(["x", *kind._fields, *weights], found_gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(a / scale, b / scale, err_msg=name, **TOLERANCE[dtype])


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_its_inputs_are_left_alone(cell):
    """The scans work in place, on memory of their own only; one sequence makes rows and columns look alike."""
    H, kind = 4, CELLS[cell]
    gates, weight = torch.randn(3, 1, kind.gates * H), torch.randn(kind.matrices * H, H)
    vectors = {vector.name: torch.randn(vector.shape(H)) for vector in kind.vectors}
    state = kind.state(*(torch.randn(1, H) for _ in kind.state._fields))
    copies = [v.clone() for v in (gates, weight, *state)]
    SCANS[cell](gates, state, {"weight_hh": weight, **vectors}, "tanh")
    for value, copy in zip((gates, weight, *state), copies, strict=True):
        assert torch.equal(value, copy)
