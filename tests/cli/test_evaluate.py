"""``rhapsode evaluate`` and ``rhapsode score`` as they are typed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from models import byte_tokenizer, char_tokenizer, random_model
from rhapsode.cli.main import main
from rhapsode.config import CorpusConfig, ModelConfig
from rhapsode.modelfile import ModelFile
from rhapsode.nn.spec import initial_parameters
from rhapsode.text.corpus import Corpus, prepare
from texts import verses

NAMES = ["emma", "ava", "noah", "liam", "anna", "leon", "mona", "neal", "alan", "ella"]


def save_model(folder: Path, corpus: Corpus, batches: str) -> str:
    """An untrained model of the corpus's symbols, with what a trained one says of its training."""
    tokenizer = corpus.tokenizer
    config = ModelConfig(vocab_size=tokenizer.vocab_size, specials=tokenizer.specials, hidden=8)
    said = {
        "documents": corpus.documents,
        "batches": batches,
        "corpus": corpus.config.to_json() | {"digest": corpus.digest},
    }
    folder.mkdir(exist_ok=True)
    path = folder / "best.safetensors"
    ModelFile(config, tokenizer, initial_parameters(config), said).save(path)
    return str(path)


@pytest.fixture
def prose(tmp_path, monkeypatch):
    """Verses, their corpus and a model of it, by relative names."""
    monkeypatch.chdir(tmp_path)
    Path("text.txt").write_text(verses(300), encoding="utf-8")
    corpus = prepare(["text.txt"], CorpusConfig(documents="whole"), Path("corpus"))
    return save_model(Path("run"), corpus, "streams")


@pytest.fixture
def names(tmp_path, monkeypatch):
    """Names, one a line, their corpus with two held out, and a model of it."""
    monkeypatch.chdir(tmp_path)
    Path("names.txt").write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    config = CorpusConfig(documents="lines", held_out=2.0, split="documents")
    return save_model(Path("run"), prepare(["names.txt"], config, Path("corpus")), "documents")


def run_json(capsys, *words: str) -> dict:
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refusal(capsys, *words: str) -> str:
    """The one line of a mistake."""
    assert main(words) == 2
    caught = capsys.readouterr()
    assert caught.out == ""
    assert caught.err.count("\n") == 1
    return caught.err


def test_a_text_is_measured_whole(prose, capsys):
    found = run_json(capsys, "evaluate", prose, "text.txt")
    size = len(Path("text.txt").read_text())
    assert (found["tokens"], found["chars"], found["bytes"], found["unknown"]) == (size, size, size, 0)
    assert found["mode"] == "carried"
    assert found["bits_per_char"] == pytest.approx(found["nats_per_token"] / math.log(2))
    assert found["perplexity"] == pytest.approx(math.exp(found["nats_per_token"]))
    assert found["baseline"] is None


def test_of_a_corpus_the_held_out_part_is_measured(prose, capsys):
    whole = run_json(capsys, "evaluate", prose, "text.txt")
    found = run_json(capsys, "evaluate", prose, "corpus", "--context", "64")
    assert found["tokens"] == math.ceil(whole["tokens"] / 10)
    assert (found["mode"], found["context"]) == ("reset", 64)


def test_the_baseline_learns_from_the_training_part(prose, capsys):
    found = run_json(capsys, "evaluate", prose, "corpus", "--baseline", "--order", "5")
    assert found["baseline"]["order"] == 5
    assert found["baseline"]["nats_per_token"] < 1.2 < found["nats_per_token"]
    text = Path("text.txt").read_text()
    Path("train.txt").write_text(text[: len(text) * 9 // 10])
    named = run_json(capsys, "evaluate", prose, "corpus", "--baseline-text", "train.txt", "--order", "5")
    assert named["baseline"]["nats_per_token"] == pytest.approx(found["baseline"]["nats_per_token"])


def test_a_mixture_beats_its_parts(prose, capsys):
    found = run_json(capsys, "evaluate", prose, "corpus", "--mix")
    parts = [found, found["baseline"], found["cache"]]
    assert found["mixture"]["nats_per_token"] < min(part["nats_per_token"] for part in parts)
    alone = run_json(capsys, "evaluate", prose, "corpus", "--baseline")
    assert (alone["cache"], alone["mixture"]) == (None, None)
    assert alone["baseline"] == found["baseline"]
    assert main(["evaluate", prose, "corpus", "--mix", "--order", "5"]) == 0
    assert capsys.readouterr().out.splitlines()[2].split() == ["model", "5-gram", "cache", "mixture"]
    assert "--baseline-text" in refusal(capsys, "evaluate", prose, "text.txt", "--mix")


def test_the_model_learns_from_the_text(prose, capsys):
    before = Path(prose).read_bytes()
    found = run_json(capsys, "evaluate", prose, "text.txt", "--dynamic", "--dynamic-lr", "1e-3")
    assert found["dynamic"]["nats_per_token"] < 0.97 * found["nats_per_token"]
    still = run_json(capsys, "evaluate", prose, "text.txt", "--dynamic", "--dynamic-lr", "0")
    assert still["dynamic"]["nats_per_token"] == pytest.approx(found["nats_per_token"], rel=1e-5)
    both = run_json(capsys, "evaluate", prose, "corpus", "--dynamic", "--mix")
    parts = [both[name]["nats_per_token"] for name in ("dynamic", "baseline", "cache")]
    assert both["mixture"]["nats_per_token"] < min(parts)
    assert Path(prose).read_bytes() == before


def test_what_does_not_go_with_learning(prose, capsys):
    assert "--dynamic-lr" in refusal(capsys, "evaluate", prose, "text.txt", "--dynamic-lr", "1e-3")
    assert "--dynamic-lr" in refusal(capsys, "evaluate", prose, "text.txt", "--dynamic", "--dynamic-lr", "-1")
    assert "int8" in refusal(capsys, "evaluate", prose, "text.txt", "--dynamic", "--precision", "int8")


def test_names_are_mixed_document_by_document(names, capsys):
    found = run_json(capsys, "evaluate", names, "names.txt", "--mix", "--dynamic", "--baseline-text", "corpus")
    assert found["mode"] == "documents"
    assert found["mixture"]["nats_per_token"] < found["nats_per_token"]


def test_the_baseline_needs_a_training_text(prose, capsys):
    assert "--baseline-text" in refusal(capsys, "evaluate", prose, "text.txt", "--baseline")
    assert "name a FILE" in refusal(capsys, "evaluate", prose)


def test_the_baseline_never_learns_from_another_corpus(prose, capsys):
    """The n-gram of another training text would be no baseline for this model."""
    Path("other.txt").write_text(verses(200, seed=5), encoding="utf-8")
    prepare(["other.txt"], CorpusConfig(documents="whole"), Path("other"))
    assert "--baseline-text" in refusal(capsys, "evaluate", prose, "other", "--baseline")
    assert run_json(capsys, "evaluate", prose, "other", "--baseline-text", "other")["baseline"]


def test_a_run_knows_its_training_text(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    Path("text.txt").write_text(verses(300), encoding="utf-8")
    words = ["train", "text.txt", "--out", "run", "--steps", "1", "--hidden", "8", "--documents", "whole"]
    assert main([*words, "--no-samples"]) == 0
    capsys.readouterr()
    Path("other.txt").write_text(verses(30, seed=1), encoding="utf-8")
    found = run_json(capsys, "evaluate", "run", "other.txt", "--baseline")
    assert found["baseline"]["nats_per_token"] < found["nats_per_token"]
    held_out = run_json(capsys, "evaluate", "run")
    assert held_out["tokens"] == math.ceil(len(Path("text.txt").read_text()) / 10)


def test_names_are_read_as_they_were_for_training(names, capsys):
    found = run_json(capsys, "evaluate", names, "names.txt")
    assert found["mode"] == "documents"
    assert (found["tokens"], found["chars"]) == (sum(len(name) + 1 for name in NAMES), sum(map(len, NAMES)))
    held_out = run_json(capsys, "evaluate", names, "corpus")
    assert held_out["tokens"] == held_out["chars"] + 2


def test_figures_for_people(prose, capsys):
    assert main(["evaluate", prose, "corpus", "--baseline"]) == 0
    out = capsys.readouterr().out
    assert "7-gram" in out
    assert [line.split()[0] for line in out.splitlines()[3:7]] == ["nats", "bits", "bits", "perplexity"]
    assert "too little text to say how certain" in out.splitlines()[7]


def test_long_work_tells_how_far_it_is(prose, capsys, monkeypatch):
    monkeypatch.setattr("rhapsode.cli.measuring.SECONDS", 0.0)
    assert main(["evaluate", prose, "text.txt", "--json"]) == 0
    caught = capsys.readouterr()
    json.loads(caught.out)
    assert caught.err.startswith("evaluate: ")
    assert "100 %" in caught.err.splitlines()[-1]


def test_unknown_symbols_are_told_of(prose, capsys):
    Path("new.txt").write_text("the kÿng", encoding="utf-8")
    assert main(["evaluate", prose, "new.txt", "--json"]) == 0
    caught = capsys.readouterr()
    assert json.loads(caught.out)["unknown"] == 1
    assert "no symbol for: 1;" in caught.err


def test_lines_are_scored_and_ranked(prose, capsys):
    Path("new.txt").write_text("the king\nqqqq\nrosy dawn", encoding="utf-8")
    found = run_json(capsys, "score", prose, "new.txt")
    assert [unit["text"] for unit in found["scores"]] == ["the king", "qqqq", "rosy dawn"]
    assert math.fsum(unit["nats"] for unit in found["scores"]) == pytest.approx(found["nats_total"])
    assert found["nats_total"] == pytest.approx(run_json(capsys, "evaluate", prose, "new.txt")["nats_total"], rel=1e-5)
    ranked = run_json(capsys, "score", prose, "new.txt", "--rank")["scores"]
    assert ranked == sorted(found["scores"], key=lambda unit: unit["bits_per_char"])


def test_scores_for_people(names, capsys):
    assert main(["score", names, "names.txt"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[-1] for line in lines[1:-1]] == NAMES
    assert lines[-1].endswith(f"total of {sum(map(len, NAMES))} characters")


def test_files_and_characters_are_scored(prose, capsys):
    Path("one.txt").write_text("the", encoding="utf-8")
    Path("two.txt").write_text("king\n", encoding="utf-8")
    found = run_json(capsys, "score", prose, "one.txt", "two.txt", "--by", "file")
    assert [(unit["file"], unit["chars"]) for unit in found["scores"]] == [("one.txt", 3), ("two.txt", 5)]
    found = run_json(capsys, "score", prose, "two.txt", "--by", "char")
    assert "".join(unit["text"] for unit in found["scores"]) == "king\n"


@pytest.mark.parametrize("command", ["evaluate", "score"])
def test_mistakes_are_one_line(command, prose, capsys):
    Path("empty.txt").touch()
    Path("bytes.txt").write_bytes(b"ab\xff")
    assert "no text in it" in refusal(capsys, command, prose, "empty.txt")
    assert "no such file" in refusal(capsys, command, prose, "nowhere.txt")
    assert "byte 2 (0xFF)" in refusal(capsys, command, prose, "bytes.txt")
    assert "no such model file" in refusal(capsys, command, "nowhere", "text.txt")


def test_a_corpus_of_other_symbols_is_refused(prose, capsys):
    prepare(["text.txt"], CorpusConfig(tokenizer="byte"), Path("bytes"))
    assert "another tokenizer" in refusal(capsys, "evaluate", prose, "bytes")
    assert "--documents" in refusal(capsys, "evaluate", prose, "corpus", "--documents", "lines")


def test_a_corpus_without_a_held_out_part(prose, capsys):
    prepare(["text.txt"], CorpusConfig(documents="whole", held_out=0.0), Path("all"))
    assert "nothing was held out" in refusal(capsys, "evaluate", prose, "all")


def test_bad_bytes_can_be_replaced(prose, capsys):
    Path("bytes.txt").write_bytes(b"ab\xff")
    assert run_json(capsys, "evaluate", prose, "bytes.txt", "--errors", "replace")["tokens"] == 3


@pytest.fixture
def styles(tmp_path, monkeypatch):
    """Two models of a symbol each, of different alphabets and tokenizers: "ab" likes a, "byte" likes b."""
    monkeypatch.chdir(tmp_path)
    for name, tokenizer, liked in (("ab", char_tokenizer("\nab"), "a"), ("byte", byte_tokenizer(), "b")):
        file = random_model(tokenizer, scale=0.0, training={"batches": "streams", "documents": "whole"})
        bias = np.zeros(tokenizer.vocab_size, np.float32)
        bias[tokenizer.encode(liked + "\n")] = 9
        ModelFile(file.config, tokenizer, file.parameters | {"output.bias": bias}, file.training).save(name)
    Path("new.txt").write_text("aaaa\nbb\nqa\naaab\n", encoding="utf-8")


def test_two_models_are_compared_line_by_line(styles, capsys):
    found = run_json(capsys, "score", "ab", "new.txt", "--against", "byte")
    alone = [run_json(capsys, "score", model, "new.txt")["scores"] for model in ("ab", "byte")]
    assert [unit["nats"] for unit in found["scores"]] == [unit["nats"] for unit in alone[0]]
    assert [unit["against_nats"] for unit in found["scores"]] == [unit["nats"] for unit in alone[1]]
    ratios = [unit["log_ratio"] for unit in found["scores"]]
    assert ratios[0] > 0 > ratios[1]
    assert ratios[2] is None  # q is unknown to "ab"
    assert [unit["comparable"] for unit in found["scores"]] == [True, True, False, True]
    assert found["log_ratio"] == pytest.approx(ratios[0] + ratios[1] + ratios[3])
    assert (found["compared"], found["likelier"], found["against_likelier"], found["compared_chars"]) == (3, 2, 1, 13)
    swapped = run_json(capsys, "score", "byte", "new.txt", "--against", "ab", "--by", "file")
    assert (swapped["compared"], swapped["log_ratio"]) == (0, 0)
    ranked = run_json(capsys, "score", "ab", "new.txt", "--against", "byte", "--rank")["scores"]
    assert [unit["text"] for unit in ranked] == ["aaaa", "aaab", "bb", "qa"]
    chars = run_json(capsys, "score", "ab", "new.txt", "--against", "byte", "--by", "char")
    assert chars["compared_chars"] == 15


def test_a_comparison_for_people(styles, capsys):
    assert main(["score", "ab", "new.txt", "--against", "byte"]) == 0
    out, err = capsys.readouterr()
    assert out.splitlines()[-1] == "likelier: ab, in 2 of 3"
    assert out.splitlines()[3].split() == [*out.splitlines()[3].split()[:2], "unknown", "qa"]
    assert "not compared, for text that one of the models has no symbol for: 1" in err
    assert main(["score", "ab", "new.txt", "--against", "none"]) == 2
