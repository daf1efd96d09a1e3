"""Labels as a person uses them on the command line, with what they get wrong."""

import json
import random
import subprocess
import sys

import pytest

WORDS = {"news": ["war", "vote", "law"], "sport": ["goal", "team", "match"]}


def rhapsode(place, *words, **kwargs):
    line = [sys.executable, "-m", "rhapsode", *map(str, words)]
    return subprocess.run(line, cwd=place, capture_output=True, text=True, timeout=120, **kwargs)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a table and a model trained on it."""
    folder = tmp_path_factory.mktemp("place")
    rng = random.Random(0)
    rows = [(label, " ".join(rng.choices(WORDS[label], k=3))) for label in rng.choices(list(WORDS), k=300)]
    table = "category,headline\n" + "".join(f"{label},{text}\n" for label, text in rows)
    (folder / "headlines.csv").write_text(table)
    (folder / "note.txt").write_text("vote law")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RHAPSODE_CACHE", str(folder / "cache"))
        patch.setenv("OMP_NUM_THREADS", "1")
        sizes = ["--hidden", 24, "--steps", 120, "--lr", 0.01, "--no-samples"]
        done = rhapsode(
            folder, "train", "headlines.csv", "--column", "headline", "--label", "category", "--out", "run", *sizes
        )
        assert done.returncode == 0, done.stderr
        assert "symbols, 2 of them labels" in done.stderr
        yield folder


def test_texts_of_a_label_and_of_any(place):
    done = rhapsode(place, "generate", "run", "--label", "sport", "--samples", 3, "--seed", 1, "--temperature", 0.5)
    assert done.returncode == 0, done.stderr
    assert "=== 1 of 3, seed 1, label sport ===" in done.stdout
    report = json.loads(rhapsode(place, "generate", "run", "--seed", 1, "--json").stdout)
    assert report["texts"][0]["label"] in WORDS
    done = rhapsode(place, "generate", "run", "--prompt", "goal", "--seed", 1)
    assert done.stdout.startswith("goal")
    assert "rhapsode: label sport" in done.stderr


def test_the_model_tells_its_labels(place):
    told = json.loads(rhapsode(place, "info", "run", "--json").stdout)
    assert told["tokenizer"]["labels"] == ["news", "sport"]
    assert sum(told["training"]["labels"].values()) == told["training"]["text"]["train"]["documents"]
    assert "labels                 news, sport" in rhapsode(place, "info", "run").stdout


def test_what_texts_cost_with_their_labels(place):
    table = json.loads(rhapsode(place, "evaluate", "run", "headlines.csv", "--json").stdout)
    held_out = json.loads(rhapsode(place, "evaluate", "run", "--json").stdout)
    assert table["nats_per_token"] == pytest.approx(held_out["nats_per_token"], rel=0.2)
    right, wrong = (
        json.loads(rhapsode(place, "score", "run", "note.txt", "--label", label, "--json").stdout)["nats_total"]
        for label in WORDS
    )
    assert right < wrong
    unnamed = json.loads(rhapsode(place, "score", "run", "note.txt", "--json").stdout)["nats_total"]
    assert unnamed == right  # as the text suits news
    assert json.loads(rhapsode(place, "score", "run", "headlines.csv", "--json").stdout)["chars"] == table["chars"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["generate", "run", "--label", "food"], "--label: found 'food', allowed: news, sport"),
        (["write", "run", "--label", "food"], "--label: found 'food', allowed: news, sport"),
        (
            ["evaluate", "run", "note.txt"],
            "note.txt: its texts have no labels: name theirs with --label, one of news,",
        ),
        (["evaluate", "run", "note.txt", "--label", "x"], "--label: found 'x', allowed: news, sport"),
        (["train", "headlines.csv", "--column", "headline", "--label", "kind"], "no column 'kind'; it has 'category'"),
        (["train", "note.txt", "--label", "kind"], "note.txt: its texts have no labels (--label)"),
        (["train", "headlines.csv", "--column", "headline", "--from", "run", "--out", "more"], "--label: found None"),
    ],
)
def test_mistakes_are_one_line(place, words, said):
    done = rhapsode(place, *words)
    assert done.returncode == 2
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
