"""A cell of the user's own from one Python file: the laws over what CONTRIBUTING.md shows, and what is refused."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch")

import rhapsode
from learners import close, make, random_ids
from models import random_model
from properties import test_batch_law as batch_law
from properties import test_causality_law as causality_law
from properties import test_chunk_law as chunk_law
from properties import test_resume_law as resume_law
from rhapsode.backends.choose import load_cell, resolve_backend
from rhapsode.cli.main import main
from rhapsode.config import ModelConfig
from rhapsode.engine import open_engine, rows
from rhapsode.errors import ConfigError, ModelFileError
from rhapsode.modelfile import ModelFile
from rhapsode.nn.cells import OWN_CELLS
from rhapsode.training.start import start
from texts import verses

CONTRIBUTING = Path(__file__).parents[2] / "CONTRIBUTING.md"

MINIMAL = """
import numpy as np, torch
gates, state = 2, ("h",)
def parameters(rng, H): return {"weight_n": rng.normal(0, 0.1, (H, H)), "bias_n": np.zeros(H)}
def scan(gates, state, p):
    (h,), outputs = state, []
    for a in gates:
        f, n = a.chunk(2, dim=1)
        h = torch.lerp(h, torch.tanh(n + h @ p["weight_n"].T + p["bias_n"]), torch.sigmoid(f))
        outputs.append(h)
    return torch.stack(outputs), (h,)
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The cell that CONTRIBUTING.md shows, and one with a scan."""
    folder = tmp_path_factory.mktemp("cells")
    shown = re.search(r"## A cell of your own.*?```python\n(.*?)```", CONTRIBUTING.read_text("utf-8"), re.S)[1]
    (folder / "mgu.py").write_text(shown, "utf-8")
    (folder / "minimal.py").write_text(MINIMAL, "utf-8")
    return {"mgu": folder / "mgu.py", "minimal": folder / "minimal.py"}


@pytest.fixture(params=["mgu", "minimal"])
def file(files, request):
    return files[request.param]


@pytest.mark.parametrize(
    "fields",
    [
        {"hidden": 16},
        {"hidden": 7, "layers": 2, "input": "embedding", "norm": "layer", "residual": True, "conv": 3, "mlp": 1.0},
        {"hidden": 5, "layers": 2, "input": "scalar", "learned_state": True},
    ],
)
def test_laws(file, fields):
    """Those over all cells, with one that no list names."""
    config = ModelConfig(vocab_size=11, cell=load_cell(file), **fields)
    for seed in range(3):
        chunk_law.test_outputs_and_state.hypothesis.inner_test("torch", config, (7, 3), 3, seed)
        chunk_law.test_gradients.hypothesis.inner_test("torch", config, (6, 2), 2, seed)
        batch_law.test_a_sequence_alone.hypothesis.inner_test("torch", config, 5, 3, seed)
        batch_law.test_gradients_add_up.hypothesis.inner_test("torch", config, 4, 3, seed)
        batch_law.test_a_spoilt_neighbour.hypothesis.inner_test("torch", config, 4, seed)
    causality_law.test_the_future_sees_the_past("torch", config.cell, config.input)


def test_resume_law(file, tmp_path, monkeypatch):
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(resume_law.loop, "REPORT_SECONDS", 0.0)
    source = tmp_path / "verses.txt"
    source.write_text(verses(40))
    fields = resume_law.COMMON | {"cell": str(file), "layers": 2, "dropout": 0.2}
    whole = start((str(source),), tmp_path / "whole", fields)
    whole.go()
    with pytest.raises(resume_law.Killed):
        start((str(source),), tmp_path / "killed", fields).go([resume_law.Killer(5)])
    run = start((str(source),), tmp_path / "killed", {"cell": str(file)}, resume=True)
    run.go()
    expected, found = (resume_law.final(tmp_path / n, whole.description.model)[0] for n in ("whole", "killed"))
    assert all(np.array_equal(found[key], value) for key, value in expected.items())


def test_file_and_engine(file, tmp_path):
    """Saved and loaded, the engine's logits are the learner's, and a row's are its own to the last bit."""
    model = random_model(cell=load_cell(file), layers=2)
    model.save(tmp_path / "m.safetensors")
    engine = open_engine(ModelFile.load(tmp_path / "m.safetensors"))
    ids, learner = random_ids(model.config, 6, 4), make("torch", model.config, model.parameters)
    logits, state = engine.read(ids, engine.initial_state(4))
    close(logits, learner.logits(ids, learner.initial_state(4))[0])
    together, after = engine.step(ids[0], state)
    alone, end = engine.step(ids[0, 2:3], rows(state, [2]))
    assert np.array_equal(alone[0], together[2])
    for one, other in zip(end.layers, rows(after, [2]).layers, strict=True):
        assert all(map(np.array_equal, one, other))


def test_a_model_file_runs_no_code(files, tmp_path, monkeypatch):
    """Without the file, or with another, the model is refused in one line; a file that is not named is not run."""
    monkeypatch.chdir(tmp_path)
    mine = tmp_path / "mine.py"
    mine.write_text(f"from pathlib import Path\nPath('ran').touch()\n{MINIMAL}")
    name = load_cell(mine)
    random_model(cell=name).save("m.safetensors")
    Path("ran").unlink()
    monkeypatch.delitem(OWN_CELLS, name)
    load_cell(files["mgu"])
    with pytest.raises(ModelFileError, match=r"m.safetensors: cell: found 'mine@.*', allowed: .*--cell mine.py"):
        ModelFile.load("m.safetensors")
    mine.write_text(MINIMAL)
    load_cell(mine)
    with pytest.raises(ModelFileError, match="as it was in training"):
        ModelFile.load("m.safetensors")
    assert not Path("ran").exists()


def test_commands(files, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    Path("verses.txt").write_text(verses(40))
    cell = ("--cell", str(files["mgu"]))

    def told(*words):
        assert main([*words, *cell, "--json"]) == 0
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    settings = ("--out", "run", "--steps", "40", "--hidden", "16", "--length", "16", "--lr", "0.02", "--no-samples")
    loss = told("train", "verses.txt", *settings)["val_nats_per_token"]
    assert loss < 3
    assert told("evaluate", "run", "verses.txt")["nats_per_token"] < 3
    assert len(told("generate", "run", "--length", "20")["texts"][0]["text"]) == 20
    assert told("score", "run", "verses.txt")
    assert told("info", "run")["config"]["cell"].startswith("mgu@")
    assert told("average", "run", "run/last.safetensors")["averaged"] == ["run", "run/last.safetensors"]
    assert main(["train", "verses.txt", "--out", "a run", "--steps", "1", "--hidden", "16", "--no-samples", *cell]) == 0
    assert f"rhapsode generate 'a run' --cell {files['mgu']}\n" in capsys.readouterr().out

    for name in list(OWN_CELLS):
        monkeypatch.delitem(OWN_CELLS, name)
    with pytest.raises(ModelFileError):
        rhapsode.load("run")
    assert main(["generate", "run"]) != 0
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert "--cell mgu.py" in error
    assert len(rhapsode.load("run", cell=files["mgu"]).generate(length=9)) == 9


def test_only_torch_has_it(file):
    name = load_cell(file)
    assert resolve_backend("auto", name) == resolve_backend("torch", name) == "torch"
    with pytest.raises(ConfigError, match="backend"):
        resolve_backend("native", name)
    with pytest.raises(ConfigError, match="dropconnect"):
        ModelConfig(vocab_size=9, cell=name, dropconnect=0.1)


@pytest.mark.parametrize(
    ("source", "said"),
    [
        (None, "a file that can be read"),
        ("def", "SyntaxError"),
        ("import nowhere_to_be_found", "ModuleNotFoundError"),
        (MINIMAL.replace("gates, state = 2", "gates, state = 0"), "gates: a whole number from 1"),
        (MINIMAL.replace('("h",)\n', '("conv",)\n'), "state: names of arrays"),
        (MINIMAL.replace("def parameters", "def others"), "parameters(rng, H)"),
        (MINIMAL.replace("def scan", "def others"), "step(a, state, p)"),
        (MINIMAL.replace("weight_n", "weight_hh"), "names of their own, found 'weight_hh'"),
        (MINIMAL.replace("(H, H)", "(H, H + 1)"), "steps that run (RuntimeError"),
        (MINIMAL.replace("(h,)\n", "(h[:1],)\n"), "h and state [B, H]"),
        (MINIMAL.replace("torch.stack(outputs)", "outputs[-1]"), "h and state [B, H]"),
    ],
)
def test_what_is_no_cell(source, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("verses.txt").write_text(verses(4))
    if source is not None:
        Path("mine.py").write_text(source)
    assert main(["train", "verses.txt", "--cell", "./mine.py"]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert said in error
    assert "--cell: found 'mine.py'" in error
    assert not Path("runs").exists()
