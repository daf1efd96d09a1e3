"""Classifying: what is learned, how texts are cut, batched, split and read, what is refused, what a report says."""

import json
import random
import signal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rhapsode import SequenceClassifier
from rhapsode.classify.examples import Batches, by_length, cut, padded
from rhapsode.classify.report import Report
from rhapsode.classify.source import read_labelled, read_texts
from rhapsode.classify.split import hold_out
from rhapsode.config import CorpusConfig
from rhapsode.errors import ConfigError, ModelFileError, SourceError, TrainingInterrupted
from rhapsode.nn.cells import CELLS
from rhapsode.training.schedule import learning_rate


def words(count, seed=0):
    """Words of two made-up languages that share their letters: one begins with vowels, the other ends in them."""
    rng, pairs = random.Random(seed), []
    for _ in range(count):
        vowels, others = (rng.choice("aeiou") for _ in range(3)), [rng.choice("klmnprst") for _ in range(3)]
        mixed = [v + c for v, c in zip(vowels, others, strict=True)]
        pairs.append(("".join(mixed), "front") if rng.random() < 0.5 else ("".join(mixed)[::-1], "back"))
    return [text for text, _ in pairs], [label for _, label in pairs]


def trained(num_epochs=8, **fields):
    inputs, targets = words(400)
    return SequenceClassifier(**{"hidden": 12, "lr": 0.02, **fields}).train(inputs, targets, num_epochs=num_epochs)


@pytest.mark.parametrize(
    "fields",
    [
        *({"cell": cell, "pooling": "last", "bidirectional": False} for cell in sorted(CELLS)),
        *({"pooling": pooling, "layers": 2} for pooling in ("last", "mean", "max", "attention")),
        *({"tokenizer": kind, "vocab_size": 300} for kind in ("byte", "bpe")),
        {"input": "embedding", "learned_state": True, "norm": "layer", "precision": "fp32"},
    ],
    ids=str,
)
def test_it_learns_and_knows_what_it_has_not_seen(fields):
    assert trained(**fields).evaluate(*words(200, seed=1)).accuracy > 0.9


def test_both_backends_learn_the_same():
    pytest.importorskip("torch")
    one, other = (trained(backend=backend, precision="fp32", num_epochs=2) for backend in ("native", "torch"))
    texts, _ = words(20, seed=2)
    np.testing.assert_allclose(one.distributions(texts), other.distributions(texts), atol=1e-2)


def test_the_ancestors_way():
    """Ids and numbered classes; a learning rate and a number of epochs."""
    rng = np.random.default_rng(0)
    inputs = [rng.integers(0, 5, rng.integers(1, 9)) for _ in range(300)]
    targets = [int(x[-1] > 2) for x in inputs]
    classifier = SequenceClassifier(cell="rnn", pooling="last", hidden=16, bidirectional=False)
    assert classifier.train(inputs, targets, 0.01, 20) is classifier
    assert [classifier.predict(x) for x in ([0, 1, 4], [4, 4, 1], (2,))] == [1, 0, 0]
    assert classifier.probabilities([3, 3, 4])[1] == pytest.approx(1, abs=0.05)
    assert classifier.labels == (0, 1)
    with pytest.raises(ConfigError, match="ids from 0 to 4"):
        classifier.predict([5])


def test_predictions():
    classifier, (texts, _) = trained(), words(50, seed=3)
    found = classifier.distributions(texts)
    np.testing.assert_allclose(found.sum(1), 1)
    assert [classifier.predict(text) for text in texts] == [classifier.labels[i] for i in found.argmax(1)]
    for text, row in zip(texts, found, strict=True):
        np.testing.assert_allclose(list(classifier.probabilities(text).values()), row, rtol=1e-5)
    assert classifier.distributions([]).shape == (0, 2)
    assert set(classifier.probabilities("жѣ")) == {"back", "front"}  # characters that it never saw


def test_training_repeats_to_the_bit():
    one, other = (trained(dropout_output=0.2, num_epochs=2).file.parameters for _ in range(2))
    for name in one:
        np.testing.assert_array_equal(one[name], other[name])


def test_an_interrupt_is_raised_with_what_was_learned(monkeypatch):
    def at_step_five(config, step, used):
        if step == 5:
            signal.raise_signal(signal.SIGINT)
        return learning_rate(config, step, used)

    monkeypatch.setattr("rhapsode.classify.fit.learning_rate", at_step_five)
    before, classifier = signal.getsignal(signal.SIGINT), SequenceClassifier(hidden=12)
    with pytest.raises(TrainingInterrupted) as stopped:
        classifier.train(*words(400), num_epochs=1000)
    assert isinstance(stopped.value, KeyboardInterrupt)
    assert stopped.value.model is classifier
    assert classifier.file.training["steps"] == 6
    assert classifier.predict("abc") in classifier.labels
    assert signal.getsignal(signal.SIGINT) == before


def test_long_texts_are_read_in_pieces():
    classifier = trained(length=10)
    whole = classifier.distributions(["akepik" * 5])[0]
    parts = classifier.distributions(["akepikakep", "ikakepikak", "epikakepik"])
    np.testing.assert_allclose(whole, parts.mean(0), rtol=1e-6)


def test_the_held_out_part_is_only_measured():
    inputs, targets = words(200)
    seen = []
    with_it, without = (SequenceClassifier(hidden=12) for _ in range(2))
    with_it.train(
        inputs, targets, num_epochs=2, held_out=words(50, 1), watch=lambda e, r: seen.append((e.number, r.count))
    )
    without.train(inputs, targets, num_epochs=2)
    assert seen == [(1, 50), (2, 50)]
    assert with_it.file.training["held_out"]["count"] == 50
    for name, value in without.file.parameters.items():
        np.testing.assert_array_equal(value, with_it.file.parameters[name])


@pytest.mark.parametrize(
    ("inputs", "targets", "says"),
    [
        ([], [], "at least two classes"),
        (["a", "b"], ["x", "x"], "at least two classes"),
        (["a", "b", "c"], ["x", "y"], "as many as inputs"),
        (["a", ""], ["x", "y"], r"inputs\[1\]: found '', allowed: a text that is not empty"),
        (["a", [1, 2]], ["x", "y"], r"inputs\[1\]"),
        ([[1, 2], []], ["x", "y"], r"inputs\[1\]"),
        ([[1, 2], [-1]], ["x", "y"], "found -1, allowed: ids from 0"),
        ([[[0.5, 1.5]], [[2.0, 1.0]]], ["x", "y"], "vectors are not read"),
        (["a", "b"], ["x", None], r"targets\[1\]: found None"),
        (["a", "b"], ["x", ""], r"targets\[1\]: found ''"),
        (["a", "b"], [True, False], r"targets\[0\]: found True"),
    ],
)
def test_what_cannot_be_learned_from(inputs, targets, says):
    with pytest.raises(ConfigError, match=says):
        SequenceClassifier(hidden=4).train(inputs, targets, num_epochs=1)


def test_what_cannot_be_asked():
    classifier = trained(num_epochs=1)
    with pytest.raises(ConfigError, match="a text that is not empty"):
        classifier.predict("")
    with pytest.raises(ConfigError, match=r"inputs\[0\]"):
        classifier.predict([1, 2])
    with pytest.raises(
        ConfigError, match=r"targets\[1\]: found 'Klingon', allowed: a class that was learned: back, front"
    ):
        classifier.evaluate(["ak", "ka"], ["front", "Klingon"])
    with pytest.raises(ModelFileError, match="not been trained"):
        SequenceClassifier().predict("x")
    for field, value in {"poolin": "max", "pooling": "sum", "tied": True, "patience": 3, "held_out": 0.1}.items():
        with pytest.raises(ConfigError, match=field):
            SequenceClassifier(**{field: value})


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 12))
def test_pieces_are_the_whole(lengths, length):
    sequences = [np.arange(n, dtype=np.int32) + 100 * i for i, n in enumerate(lengths)]
    pieces = cut(sequences, length)
    for i, sequence in enumerate(sequences):
        own = [piece for piece, of in zip(pieces.ids, pieces.of, strict=True) if of == i]
        np.testing.assert_array_equal(np.concatenate(own), sequence)
        sizes = {len(piece) for piece in own}
        assert max(sizes) <= length
        assert max(sizes) - min(sizes) <= 1
    groups = list(by_length(pieces.ids))
    assert sorted(np.concatenate(groups)) == list(range(len(pieces.ids)))


@given(st.lists(st.integers(1, 9), min_size=1, max_size=40), st.integers(1, 7), st.integers(0, 3))
def test_an_epoch_reads_every_piece_once(lengths, batch_size, seed):
    sequences = [np.full(n, i, np.int32) for i, n in enumerate(lengths)]
    batches = Batches(cut(sequences, 5), np.arange(len(lengths)), batch_size, seed)
    for epoch in range(2):
        read = []
        for step in range(batches.steps_per_epoch):
            batch = batches.at(epoch * batches.steps_per_epoch + step)
            for b, (length, label) in enumerate(zip(batch.lengths, batch.classes, strict=True)):
                assert (batch.ids[:length, b] == label).all()
                read.append((int(label), int(length)))
        assert sorted(read) == sorted((i, len(p)) for i, s in enumerate(sequences) for p in cut([s], 5).ids)
    again = batches.at(0)
    np.testing.assert_array_equal(
        again.ids, Batches(cut(sequences, 5), np.arange(len(lengths)), batch_size, seed).at(0).ids
    )


def test_padding():
    ids, lengths = padded([np.array([1, 2, 3]), np.array([4])])
    assert ids.tolist() == [[1, 4], [2, 0], [3, 0]]
    assert lengths.tolist() == [3, 1]


pairs = st.lists(st.tuples(st.text("abAB", min_size=1, max_size=2), st.sampled_from("xyz")), min_size=1, max_size=60)


@given(pairs, st.sampled_from([0.0, 0.1, 0.5, 0.9, 3.0]), st.booleans())
def test_no_text_is_on_both_sides(pairs, share, lowercase):
    texts, labels = map(list, zip(*pairs, strict=True))
    config = CorpusConfig(held_out=share, lowercase=lowercase)
    learned, held_out = hold_out(texts, labels, config)
    same = str.lower if lowercase else str
    assert not set(map(same, learned[0])) & set(map(same, held_out[0]))
    assert learned[0]
    assert sorted([*zip(*learned, strict=True), *zip(*held_out, strict=True)]) == sorted(pairs)
    if share == 0:
        assert not held_out[0]


def test_a_tenth_of_every_class_is_held_out():
    texts, labels = [str(i) for i in range(1000)], ["a"] * 900 + ["b"] * 100
    _, held_out = hold_out(texts, labels, CorpusConfig())
    assert (held_out[1].count("a"), held_out[1].count("b")) == (90, 10)
    assert hold_out(texts, labels, CorpusConfig(split_seed=1))[1] != held_out


def test_a_report():
    probabilities = np.array([[0.5, 0.25, 0.25], [0.6, 0.3, 0.1], [0.2, 0.7, 0.1], [0.9, 0.1, 0.0]])
    report = Report.of(("a", "b", "c"), probabilities, np.array([0, 0, 1, 1]))
    assert report.confusion.tolist() == [[2, 0, 0], [1, 1, 0], [0, 0, 0]]
    assert (report.count, report.accuracy, report.majority) == (4, 0.75, 0.5)
    np.testing.assert_array_equal(report.precision, [2 / 3, 1, np.nan])
    np.testing.assert_array_equal(report.recall, [1, 0.5, np.nan])
    assert report.nats == pytest.approx(-np.log([0.5, 0.6, 0.7, 0.1]).mean())
    told = json.loads(json.dumps(report.to_json()))
    assert told["recall"] == [1, 0.5, None]
    assert Report.from_json(told).confusion.tolist() == report.confusion.tolist()
    shown = str(report).splitlines()
    assert shown[0].startswith("accuracy 0.7500 on 4, ")
    assert shown[2].split() == ["a", "100.0%", "2", "0", "0", "2"]
    assert shown[5].split() == ["precision", "66.7%", "100.0%", "-"]


def notes():
    found = []
    return found, found.append


def read(*names, label="label", **fields):
    return read_labelled([str(name) for name in names], CorpusConfig(**fields), label, lambda text: None)


def test_tables(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nciao,it\n,it\nhello,en\n")
    (tmp_path / "b.tsv").write_text("5\tpt\tola\n")
    (tmp_path / "c.jsonl").write_text('{"text": "hei", "label": 3}\n{"text": "hej", "label": true}\n')
    found, note = notes()
    pairs = read_labelled([str(tmp_path / "a.csv"), str(tmp_path / "c.jsonl")], CorpusConfig(), "label", note)
    assert pairs == (["ciao", "hello", "hei", "hej"], ["it", "en", "3", "true"])
    assert found == [f"{tmp_path / 'a.csv'}: 1 rows without text were left out"]
    assert read(tmp_path / "b.tsv", column="2", label="1") == (["ola"], ["pt"])
    assert read(tmp_path / "a.csv", column="0", label="label") == (["ciao", "hello"], ["it", "en"])


def test_a_file_or_folder_a_class(tmp_path):
    (tmp_path / "names").mkdir()
    entries = [f"name{i}" for i in range(250)]
    for language in ("Italian", "French"):
        (tmp_path / "names" / f"{language}.txt").write_text("".join(f"{language[0]}{e}\n" for e in entries))
    texts, labels = read(tmp_path / "names")
    assert (len(texts), set(labels)) == (500, {"Italian", "French"})
    assert read(*sorted((tmp_path / "names").iterdir())) == (texts, labels)
    assert read(tmp_path / "names" / "*.txt") == (texts, labels)
    for name in ("pos", "neg"):
        (tmp_path / "films" / name).mkdir(parents=True)
        (tmp_path / "films" / name / "1.txt").write_text(f"a {name} film\n\nindeed\n")
    assert read(tmp_path / "films") == (["a neg film\n\nindeed\n", "a pos film\n\nindeed\n"], ["neg", "pos"])
    assert read(tmp_path / "films" / "pos", tmp_path / "films" / "neg")[1] == ["pos", "neg"]
    (tmp_path / "austen.txt").write_text("It is a truth\nuniversally acknowledged\n\nthat a man\n")
    assert read(tmp_path / "austen.txt")[0] == ["It is a truth\nuniversally acknowledged", "that a man"]
    assert read(tmp_path / "austen.txt", documents="lines")[0] == [
        "It is a truth",
        "universally acknowledged",
        "that a man",
    ]


def test_lines_are_texts_where_a_class_has_no_blank_lines(tmp_path):
    verse = [f"a line that is rather long for an entry, number {i}" for i in range(40)]
    (tmp_path / "blocks.txt").write_text("\n\n".join(verse))
    (tmp_path / "sayings.txt").write_text("\n".join(verse))
    labels = read(tmp_path)[1]
    assert (labels.count("blocks"), labels.count("sayings")) == (40, 40)
    assert read(tmp_path / "sayings.txt", documents="blank-lines")[0] == ["\n".join(verse)]


def test_what_cannot_be_read(tmp_path):
    (tmp_path / "a.csv").write_text("text,label\nciao,it\nx,\n")
    (tmp_path / "b.txt").write_text("ciao\n")
    (tmp_path / "c.txt").write_bytes(b"caf\xe9\n")
    (tmp_path / "d.jsonl").write_text('{"text": "hei", "label": ["no"]}\n')
    (tmp_path / "e.txt").write_text("\n")
    (tmp_path / "f").mkdir()
    for names, fields, says in [
        ((tmp_path / "a.csv",), {}, "empty label"),
        ((tmp_path / "a.csv",), {"label": "lang"}, "no column 'lang'; it has 'text', 'label': choose one with --label"),
        ((tmp_path / "a.csv",), {"column": "words"}, "no column 'words'"),
        ((tmp_path / "a.csv", tmp_path / "b.txt"), {}, "b.txt: no table"),
        ((tmp_path / "b.txt", tmp_path / "c.txt"), {}, "byte 3 .* is not utf-8"),
        ((tmp_path / "d.jsonl",), {}, "field 'label' is list"),
        ((tmp_path / "e.txt",), {}, "no text in it"),
        ((tmp_path / "f",), {}, "without text files"),
        ((tmp_path / "g",), {}, "no such file"),
    ]:
        with pytest.raises(SourceError, match=says):
            read(*names, **fields)
    with pytest.raises(SourceError, match="no text in it"):
        read_texts([str(tmp_path / "e.txt")], CorpusConfig(), lambda text: None)
    assert read_texts([str(tmp_path / "b.txt")], CorpusConfig(), lambda text: None) == ["ciao"]
