"""benchmarks/quality: that its losses are checked, and that it runs."""

# ruff: noqa: E402
import dataclasses
import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from benchmarks.quality import jobs, network, recurrent
from benchmarks.quality.gpt import GPT

from rhapsode.errors import BenchmarkError
from rhapsode.text.corpus import Part

ROOT = Path(__file__).parents[2]
V = 20


@pytest.fixture
def part():
    tokens = np.random.default_rng(0).integers(0, V, 700)
    return Part(tokens, np.array([0]), 699, 699)


def make(name):
    torch.manual_seed(0)
    if name == "gpt":
        return GPT(V, layers=2, width=32)
    sizes = {"layers": 2, "width": 32}
    return {"lstm": recurrent.LSTM, "mingru": recurrent.MinGRU, "xlstm": recurrent.XLSTM}[name](V, **sizes)


@pytest.mark.parametrize("name", ["gpt", "lstm", "mingru", "xlstm"])
def test_networks_pass_the_check(name, part):
    for package in {"mingru": ["minGRU_pytorch"], "xlstm": ["xlstm"]}.get(name, []):
        pytest.importorskip(package)
    network.check(make(name), part, V)


class SeesTheFuture(network.Network):
    def forward(self, ids, state=None):
        return torch.nn.functional.one_hot(ids.roll(-1, 0), V).float(), ()


class ForgetsItsState(recurrent.LSTM):
    def forward(self, ids, state=None):
        return super().forward(ids, None)


@pytest.mark.parametrize(
    ("broken", "told"), [(SeesTheFuture(), "later symbols"), (ForgetsItsState(V), "in pieces of 50")]
)
def test_a_network_whose_losses_are_not_what_they_seem_is_refused(broken, told, part):
    with pytest.raises(BenchmarkError, match=told):
        network.check(broken, part, V)


@pytest.mark.parametrize(("mode", "context"), [("carried", None), ("reset", 256), ("reset", 7)])
def test_every_symbol_is_counted_once(mode, context, part):
    assert network.nats_per_token(network.Uniform(V), part, mode, context) == pytest.approx(np.log(V))


def test_documents_cost_what_each_costs_alone(part):
    documents = dataclasses.replace(part, starts=np.array([0, 5, 90, 400]))
    lstm = make("lstm")
    alone = [lstm.nats(torch.tensor(part.tokens[a : b + 1])[:, None]).sum() for a, b in ((0, 5), (5, 90), (90, 400))]
    alone.append(lstm.nats(torch.tensor(part.tokens[400:])[:, None]).sum())
    assert network.nats_per_token(lstm, documents, "documents") * 699 == pytest.approx(float(sum(alone)), rel=1e-5)


def test_the_most_telling_jobs_come_first():
    order = jobs.planned(["gpt", "rhapsode", "ngram"], ["names", "shakespeare"], [600, 60, 10], [1, 0])
    assert [tuple(job) for job in order[:7]] == [
        ("rhapsode", "shakespeare", 10, 0),
        ("rhapsode", "shakespeare", 60, 0),
        ("rhapsode", "shakespeare", 10, 1),
        ("rhapsode", "shakespeare", 60, 1),
        ("ngram", "names", 0, 0),
        ("ngram", "shakespeare", 0, 0),
        ("rhapsode", "names", 60, 0),
    ]
    assert len(order) == len(set(order)) == 2 * 2 * 3 * 2 + 2


def test_it_measures_goes_on_and_writes_the_table(tmp_path):
    rng = np.random.default_rng(0)
    words = ["".join(rng.choice(list("aeioulnrst"), 4)) for _ in range(30)]
    (tmp_path / "text.txt").write_text(" ".join(rng.choice(words, 4000)))
    measured = ["--text", str(tmp_path / "text.txt"), "--contestant", "rhapsode", "ngram", "gpt"]
    said = run(tmp_path, *measured, "--seconds", "1", "--seed", "0")
    assert said.startswith("3 of 3 jobs are left")
    assert len(said.splitlines()) == 4
    results = jobs.read(tmp_path / "quality.jsonl")
    assert all(0.3 < row["nats"]["carried"] < np.log(V) for row in results.values()), said
    assert {row["held_out"]["tokens"] for row in results.values()} == {2000}
    assert run(tmp_path, *measured, "--seconds", "1", "--seed", "0").startswith("0 of 3 jobs are left")

    run(tmp_path, "--table", str(tmp_path / "quality_here_today.md"))
    table = (tmp_path / "quality_here_today.md").read_text()
    assert table.startswith("# Held-out loss by seconds of training, here, today\n")
    for row in results.values():
        assert f"{row['nats']['carried']:.4f}" in table
    assert (tmp_path / "quality_here_today.svg").exists() == (importlib.util.find_spec("matplotlib") is not None)


def run(folder, *words):
    command = [sys.executable, "-m", "benchmarks.quality", "--results", str(folder / "quality.jsonl"), *words]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout
