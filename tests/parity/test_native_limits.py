"""What training natively may cost: memory that does not grow, a quick start without torch; and what it refuses."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

_native = pytest.importorskip("rhapsode._native")

from learners import make, random_batch, random_parameters  # noqa: E402
from rhapsode.backends.base import Update  # noqa: E402
from rhapsode.config import ModelConfig, TrainConfig  # noqa: E402
from rhapsode.errors import ConfigError  # noqa: E402

TRAIN = """
import sys, numpy as np
from rhapsode.backends.base import Batch, Update
from rhapsode.backends.choose import make_learner
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.nn.spec import initial_parameters
config = ModelConfig(vocab_size=65, hidden={hidden})
learner = make_learner(config, TrainConfig(backend="native", precision="fp32"), initial_parameters(config))
ids = np.random.default_rng(0).integers(0, 65, ({T} + 1, {B}), dtype=np.int32)
batch, state = Batch(ids[:-1], ids[1:], None, np.zeros({B}, bool)), learner.initial_state({B})
def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024
for step in range({steps}):
    _, state = learner.step(batch, state, Update(step, 1e-3))
    if step == {steps} // 10:
        early = peak()
assert "torch" not in sys.modules
print(early, peak())
"""


def memory(**sizes):
    """Peak memory after a tenth of the steps, and after all, MB."""
    if not Path("/proc/self/status").exists():
        pytest.skip("peak memory is read from /proc")
    done = subprocess.run([sys.executable, "-c", TRAIN.format(**sizes)], text=True, capture_output=True)
    assert done.returncode == 0, done.stderr
    return map(float, done.stdout.split())


def test_peak_memory():
    """Of the whole process that trains the H=512 model of the documentation."""
    _, peak = memory(hidden=512, T=64, B=32, steps=3)
    assert peak < 150


def test_memory_does_not_grow():
    early, late = memory(hidden=20, T=5, B=3, steps=10_000)
    assert late < early + 2


def test_learners_give_their_memory_back():
    import resource

    def one():
        learner = make("native", ModelConfig(vocab_size=500, hidden=200, layers=2))
        learner.step(random_batch(learner.config, 20, 8), learner.initial_state(8), Update(0, 0.1))

    one(), one()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for _ in range(10):
        one()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("RHAPSODE_ISA", "sse9", "plain"),
        ("RHAPSODE_ISA", "AVX2", "plain"),
        ("RHAPSODE_THREADS", "0", "from 1 to 1024"),
        ("RHAPSODE_THREADS", "two", "from 1 to 1024"),
        ("RHAPSODE_THREADS", "1e3", "from 1 to 1024"),
    ],
)
def test_wrong_settings(monkeypatch, name, value, allowed):
    """One clear line that names the variable, what was found and what is allowed."""
    monkeypatch.setenv(name, value)
    code = "import rhapsode._native as n; n.isa(); n.threads()"
    done = subprocess.run([sys.executable, "-c", code], text=True, capture_output=True)
    last = done.stderr.strip().splitlines()[-1]
    assert name in last
    assert repr(value) in last
    assert allowed in last


@pytest.mark.parametrize("isa", _native.available_isas())
def test_a_forced_instruction_set_is_used(monkeypatch, isa):
    monkeypatch.setenv("RHAPSODE_ISA", isa)
    code = "import rhapsode._native as n; print(n.isa())"
    assert subprocess.check_output([sys.executable, "-c", code], text=True).strip() == isa


def test_bf16_needs_matrix_units(monkeypatch):
    before = _native.isa()
    _native.use_isa("plain")
    try:
        with pytest.raises(ConfigError, match="precision"):
            make("native", ModelConfig(vocab_size=5, hidden=4), precision="bf16")
    finally:
        _native.use_isa(before)


def layer(**changes):
    return _native.Recurrent(**{"cell": "lstm", "table": True, "input": 5, "hidden": 4, "precision": "fp32", **changes})


@pytest.mark.parametrize("wrong", [{"cell": "elman"}, {"input": 0}, {"hidden": -1}, {"precision": "fp8"}])
def test_layers_that_cannot_be(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        layer(**wrong)


def zeros(*shape):
    return np.zeros(shape, np.float32)


@pytest.mark.parametrize(
    ("ids", "T", "B", "state", "said"),
    [
        ([[0, 5]], 1, 2, [zeros(2, 4)] * 2, "ids"),
        ([[0, -1]], 1, 2, [zeros(2, 4)] * 2, "ids"),
        ([[0, 1]], 2, 1, [zeros(1, 4)] * 2, "ids"),
        ([[0, 1]], 1, 2, [zeros(2, 4)], "state"),
        ([[0, 1]], 1, 2, [zeros(2, 4), zeros(2, 3)], "state"),
        ([[0, 1]], 0, 2, [zeros(2, 4)] * 2, "T and B"),
    ],
)
def test_the_core_checks_what_it_gets(ids, T, B, state, said):
    mask = _native.Mask()
    with pytest.raises(ValueError, match=said):
        layer().forward(np.array(ids, np.int32), T, B, state, mask, mask, True)


def test_backward_needs_its_forward():
    one, mask, ids = layer(), _native.Mask(), np.zeros((2, 3), np.int32)
    d = _native.Vectors().set(zeros(6, 4))
    with pytest.raises(ValueError, match="forward"):
        one.backward(ids, d, None, mask, False, False)
    one.forward(ids, 2, 3, [zeros(3, 4)] * 2, mask, mask, True)
    with pytest.raises(ValueError, match="d_output"):
        one.backward(ids, _native.Vectors().set(zeros(5, 4)), None, mask, False, False)


def test_targets_are_checked():
    output = _native.Output(5, 4, None, "fp32")
    x = _native.Vectors().set(zeros(2, 4))
    with pytest.raises(ValueError, match="targets"):
        output.losses(x, np.array([[1, 5]], np.int32))


def test_a_fork_trains_on():
    """As data loaders and test runners do it: the child has threads of its own."""
    code = """
import os, numpy as np
from rhapsode.backends.base import Batch, Update
from rhapsode.backends.choose import make_learner
from rhapsode.config import ModelConfig, TrainConfig
from rhapsode.nn.spec import initial_parameters
config = ModelConfig(vocab_size=5, hidden=40)
def step():
    learner = make_learner(config, TrainConfig(backend="native"), initial_parameters(config))
    ids = np.zeros((4, 2), np.int32)
    result, _ = learner.step(Batch(ids, ids, None, np.ones(2, bool)), learner.initial_state(2), Update(0, 0.1))
    return result.loss
here = step()
child = os.fork()
if child == 0:
    os._exit(0 if step() == here else 1)
raise SystemExit(os.waitpid(child, 0)[1])
"""
    assert subprocess.run([sys.executable, "-c", code], timeout=60).returncode == 0


def test_evaluation_between_steps_changes_nothing():
    config = ModelConfig(vocab_size=9, hidden=12, layers=2)
    runs = []
    for evaluate in (False, True):
        learner = make("native", config, random_parameters(config), averaging=0.5)
        state = learner.initial_state(3)
        for step in range(4):
            batch = random_batch(config, 5, 3, step)
            _, state = learner.step(batch, state, Update(step, 0.01))
            if evaluate:
                learner.losses(batch.inputs, batch.targets, learner.initial_state(3), averaged=step % 2 == 0)
        runs.append(learner.parameters())
    for name in runs[0]:
        np.testing.assert_array_equal(runs[0][name], runs[1][name])


def test_default_backend():
    from rhapsode.backends.choose import resolve_backend

    assert resolve_backend("auto") == "native"
    assert TrainConfig().backend == "auto"
