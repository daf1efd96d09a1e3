"""What all tests share: one thread for torch, and the backends that the laws run over."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest

BACKENDS = ["torch", "native"]


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request):
    """The name of a backend, as `TrainConfig.backend` has it."""
    if request.param == "torch":
        pytest.importorskip("torch")
    return request.param
