"""What all tests share: one thread for torch, the backends that the laws run over, and that no check measures time."""

import os

os.environ.setdefault("OMP_NUM_THREADS", "1")

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("untimed", settings.default, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("untimed")

BACKENDS = ["torch", "native"]


@pytest.fixture(scope="session", params=BACKENDS)
def backend(request):
    """The name of a backend, as `TrainConfig.backend` has it."""
    if request.param == "torch":
        pytest.importorskip("torch")
    return request.param
