"""rhapsode train-classifier and classify, as typed."""

import io
import json
import sys

import pytest

from rhapsode.cli.main import main


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A table of names of two made-up languages, and the classifier that learned it."""
    folder = tmp_path_factory.mktemp("classify")
    rows = [(f"{a}{b}{a}o", "Umbrian") for a in "lmnrst" for b in ("al", "er", "in", "os", "un")]
    rows += [(f"{a}{b}{a}x", "Zembla") for a in "kqwzxj" for b in ("yk", "yz", "yw", "yq", "yj")]
    (folder / "names.csv").write_text("name,language\n" + "".join(f"{text},{label}\n" for text, label in rows))
    assert train(folder, "--json") == 0
    return folder


def train(folder, *options, source="names.csv", out="names.safetensors"):
    small = ["--hidden", "8", "--epochs", "12", "--lr", "0.03", "--column", "name", "--label", "language"]
    return main(["train-classifier", str(folder / source), "--out", str(folder / out), *small, *options])


def complaint(capsys, status=2):
    """The one line on stderr, after the notes."""
    lines = capsys.readouterr().err.splitlines()
    assert lines[-1].startswith("rhapsode: ")
    assert not any(line.startswith("rhapsode: ") for line in lines[:-1])
    return lines[-1]


def test_training(data, capsys):
    assert train(data, "--json", out="other.safetensors", source="names.csv") == 0
    shown = capsys.readouterr()
    told = json.loads(shown.out)
    assert told["labels"] == ["Umbrian", "Zembla"]
    assert told["accuracy"] == 1
    assert (told["sequences"], told["held_out"]["count"]) == (54, 6)
    assert "54 of 2 classes to learn from, 6 held out" in shown.err
    assert "accuracy 1.0000" in shown.err
    assert (data / "other.safetensors").read_bytes()  # and it says what it is
    assert main(["info", str(data / "other.safetensors")]) == 0
    assert "Umbrian, Zembla" in capsys.readouterr().out


def test_classes_of_which_nothing_can_be_measured_are_named(data, capsys):
    table = (data / "names.csv").read_text() + "Qo,Rare\n"
    (data / "rare.csv").write_text(table)
    assert train(data, "--json", "--epochs", "1", out="rare.safetensors", source="rare.csv") == 0
    assert "too few texts to hold one out, so that nothing is measured: Rare\n" in capsys.readouterr().err


def test_using(data, capsys, monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"lallo\n\nkykyx\n")))
    model = str(data / "names.safetensors")
    assert main(["classify", model]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(line[0], line[2]) for line in lines] == [("Umbrian", "lallo"), ("Zembla", "kykyx")]
    assert main(["classify", model, str(data / "names.csv"), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert len(told["predictions"]) == 60
    first = told["predictions"][0]
    assert (first["text"], first["label"]) == ("lallo", "Umbrian")
    assert first["probabilities"]["Umbrian"] == first["probability"] > 0.5
    assert sum(first["probabilities"].values()) == pytest.approx(1)


def test_measuring(data, capsys):
    model, table = str(data / "names.safetensors"), str(data / "names.csv")
    assert main(["classify", model, table, "--measure"]) == 0
    assert capsys.readouterr().out.startswith("accuracy 1.0000 on 60, ")
    assert main(["classify", model, table, "--measure", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["confusion"] == [[30, 0], [0, 30]]


def test_mistakes(data, capsys, tmp_path):
    model, table = str(data / "names.safetensors"), str(data / "names.csv")
    assert train(data) == 2
    assert "is there already; --overwrite replaces it" in complaint(capsys)
    capsys.readouterr()
    out = ["--out", str(tmp_path / "c.safetensors")]
    assert main(["train-classifier", table, *out]) == 2
    assert "no column 'text'; it has 'name', 'language': choose one with --column" in complaint(capsys)
    assert main(["train-classifier", table, "--column", "name", *out]) == 2
    assert "no column 'label'; it has 'name', 'language': choose one with --label" in complaint(capsys)
    (tmp_path / "one.csv").write_text("text,label\na,x\nb,x\n")
    assert main(["train-classifier", str(tmp_path / "one.csv"), *out]) == 2
    assert "all 2 texts are of one class, 'x': expected at least two" in complaint(capsys)
    (tmp_path / "odd.csv").write_bytes(b"text,label\ncaf\xe9,x\n")
    assert main(["train-classifier", str(tmp_path / "odd.csv"), *out]) == 2
    assert "is not utf-8" in complaint(capsys)
    (tmp_path / "new.csv").write_text("name,language\nx,Klingon\n")
    assert main(["classify", model, str(tmp_path / "new.csv"), "--measure"]) == 2
    assert "class 'Klingon' was not learned; the classifier knows 'Umbrian', 'Zembla'" in complaint(capsys)
    (tmp_path / "empty.txt").write_text("\n")
    assert main(["classify", model, str(tmp_path / "empty.txt")]) == 2
    assert "no text in it" in complaint(capsys)
    assert main(["classify", table]) == 2
    assert "not a whole safetensors file" in complaint(capsys)
    assert main(["train-classifier", table, "--out", str(tmp_path / "nowhere" / "c.safetensors")]) == 2
    assert "no such folder" in complaint(capsys)
    assert main(["train-classifier", table, "--out", str(tmp_path), "--overwrite"]) == 2
    assert "is a folder; --out names a file" in complaint(capsys)
    assert main(["classify", str(tmp_path)]) == 2
    assert "a folder; expected the file of a classifier" in complaint(capsys)
    assert main(["generate", model]) == 2
    assert "a classifier, which writes no text" in complaint(capsys)
    assert main(["train-classifier", table, "--tied"]) == 2
    assert "--tied: no such option" in complaint(capsys)
