"""Texts with labels: how they are read, laid out and split, and that each label writes its own words."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rhapsode
from models import LETTERS, char_tokenizer, random_model
from rhapsode.config import CorpusConfig
from rhapsode.draft import Draft
from rhapsode.engine import open_engine
from rhapsode.errors import ConfigError, CorpusError, ModelFileError, SourceError, TokenizerError
from rhapsode.evaluate import evaluate, part_of
from rhapsode.model import Model
from rhapsode.position import beginning, read
from rhapsode.sampling import log_softmax, softmax
from rhapsode.scoring import score, score_all
from rhapsode.session import Session
from rhapsode.text import split, spool
from rhapsode.text.corpus import Corpus, prepare
from rhapsode.text.tokenizer import carried_over, grown_tokenizer, label_id, tokenizer_from_json, train_tokenizer
from rhapsode.training.start import start

WORDS = {"news": ["war", "vote", "law", "court"], "sport": ["goal", "team", "match"], "ü, ": ["egg", "rice"]}
LABELS = ("a", "the sea")


@pytest.fixture(autouse=True)
def place(monkeypatch, tmp_path):
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def headlines(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """Texts and their labels: words that no other label has, half of them news."""
    rng = random.Random(seed)
    labels = rng.choices(list(WORDS), [2, 1, 1], k=count)
    return [(" ".join(rng.choices(WORDS[label], k=rng.randint(1, 4))), label) for label in labels]


def jsonl(name: str, rows: list[tuple[str, str]]) -> str:
    Path(name).write_text("".join(json.dumps({"text": text, "kind": label}) + "\n" for text, label in rows))
    return name


def documents(corpus: Corpus) -> Counter[tuple[str, str, bool]]:
    """How often each text comes with each label on each side."""
    t, found = corpus.tokenizer, Counter()
    for part, held_out in ((corpus.train, False), (corpus.held_out, True)):
        for tokens in np.split(part.tokens, part.starts)[1:]:
            assert tokens[0] == t.boundary
            label = t.labels[int(tokens[1]) - t.vocab_size + len(t.labels)]
            found[t.decode(tokens[2:]), label, held_out] += 1
            assert set(tokens[2:].tolist()) & set(range(t.boundary, t.vocab_size)) <= {t.boundary}
    return found


@pytest.mark.parametrize("tokenizer", ["char", "byte", "word", "bpe"])
@pytest.mark.parametrize("held_out", [0, 0.2])
def test_every_document_keeps_its_label_and_its_side(tokenizer, held_out, monkeypatch):
    monkeypatch.setattr(split, "STRIDE", 7)
    rows = headlines(150)
    corpus = prepare([jsonl("h.jsonl", rows)], CorpusConfig(label="kind", tokenizer=tokenizer, held_out=held_out))
    found = documents(corpus)
    assert corpus.tokenizer.labels == tuple(sorted(WORDS))
    sides = [Counter({key[:2]: n for key, n in found.items() if key[2] == held}) for held in (False, True)]
    assert sides[0] + sides[1] == Counter(rows)
    assert bool(held_out) == bool(sides[1])
    plain = prepare([jsonl("h.jsonl", rows)], CorpusConfig(tokenizer=tokenizer, held_out=held_out))
    assert len(plain.train.tokens) + len(plain.train.starts) == len(corpus.train.tokens)
    assert (plain.train.chars, plain.held_out.chars) == (corpus.train.chars, corpus.held_out.chars)


def test_the_rest_of_a_cut_document_has_the_label_again():
    rows = [("abcd", "x"), ("efgh", "y"), ("ijkl", "z")]
    config = CorpusConfig(label="kind", held_out=0.5, split="tail", tokenizer="byte")
    found = documents(prepare([jsonl("h.jsonl", rows)], config))
    assert set(found) == {("abcd", "x", False), ("ef", "y", False), ("gh", "y", True), ("ijkl", "z", True)}


def test_tables_of_all_kinds_give_the_same_corpus():
    Path("a.csv").write_text("kind,text\nx,one\ny,two two\n")
    Path("b.tsv").write_text("text\tkind\none\tx\ntwo two\ty\n")
    jsonl("c.jsonl", [("one", "x"), ("two two", "y")])
    named = CorpusConfig(label="kind", held_out=0)
    tokens = [prepare([name], named).train.tokens.tolist() for name in ("a.csv", "b.tsv", "c.jsonl")]
    Path("d.csv").write_text("x,one\ny,two two\n")
    numbered = prepare(["d.csv"], CorpusConfig(label="0", column="1", held_out=0))
    assert tokens == [numbered.train.tokens.tolist()] * 3


@pytest.mark.parametrize(
    ("name", "text", "config", "error", "said"),
    [
        (
            "a.csv",
            "text,kind\na b,x\n",
            {"label": "class"},
            SourceError,
            "a.csv: no column 'class'; it has 'text', 'kind'",
        ),
        ("a.csv", "text,kind\na b,x\ncd\n", {"label": "kind"}, SourceError, "line 3 has 1 columns"),
        ("a.csv", "text,kind\na b,x\ncd,\n", {"label": "kind"}, SourceError, "a.csv: text 2 has an empty label"),
        ("a.jsonl", '{"text": "ab"}\n', {"label": "kind"}, SourceError, "line 1 has no field 'kind'; it has 'text'"),
        ("a.jsonl", '{"text": "ab", "kind": null}\n', {"label": "kind"}, SourceError, "empty label"),
        ("a.jsonl", '{"text": "ab", "kind": ["x"]}\n', {"label": "kind"}, SourceError, "'kind' is list"),
        ("a.txt", "some text", {"label": "kind"}, SourceError, "a.txt: its texts have no labels"),
        ("a.csv", "text,kind\nab,x\n", {"label": "kind", "documents": "lines"}, ConfigError, "auto, with label"),
    ],
)
def test_texts_without_a_label_are_told(name, text, config, error, said):
    Path(name).write_text(text)
    with pytest.raises(error, match=said) as caught:
        prepare([name], CorpusConfig(**config))
    assert "\n" not in str(caught.value)


def test_too_many_labels_are_refused(monkeypatch):
    monkeypatch.setattr(spool, "MOST_LABELS", 3)
    jsonl("h.jsonl", [("ab", str(i)) for i in range(3)])
    assert len(prepare(["h.jsonl"], CorpusConfig(label="kind")).tokenizer.labels) == 3
    jsonl("h.jsonl", [("ab", str(i)) for i in range(4)])
    with pytest.raises(SourceError, match="more than 3 different labels, such as '3'"):
        prepare(["h.jsonl"], CorpusConfig(label="kind"))


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A model of headlines, and where they are."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RHAPSODE_CACHE", str(folder / "cache"))
        patch.chdir(folder)
        jsonl("h.jsonl", headlines(800))
        fields = {"steps": 250, "hidden": 48, "batch_size": 32, "lr": 1e-2, "dropout_output": 0.0, "dropconnect": 0.0}
        yield rhapsode.train("h.jsonl", label="kind", out="run", **fields), folder


def label_of_words(text: str) -> set[str]:
    return {label for word in text.split() for label, own in WORDS.items() if word in own}


def test_each_label_writes_its_own_words(trained):
    model, _ = trained
    assert model.labels == tuple(sorted(WORDS))
    assert model.training["labels"] == Counter(
        label for text, label, held in documents_of(trained).elements() if not held
    )
    for label in model.labels:
        texts = model.samples(count=20, seed=1, temperature=0.5, label=label)
        assert {written.label for written in texts} == {label}
        assert sum(label_of_words(written.text) == {label} for written in texts) >= 19
        assert model.generate(seed=1, temperature=0.5, label=label) == texts[0].text
        assert "".join(model.stream(seed=2, temperature=0.5, label=label)) == texts[1].text


def documents_of(trained) -> Counter:
    _, folder = trained
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RHAPSODE_CACHE", str(folder / "cache"))
        return documents(prepare([str(folder / "h.jsonl")], CorpusConfig(label="kind")))


def test_without_a_label_it_is_drawn_as_often_as_it_was_there(trained):
    model, _ = trained
    texts = model.samples(count=300, seed=5, temperature=0.5)
    assert 0.4 < sum(written.label == "news" for written in texts) / 300 < 0.6
    assert sum(label_of_words(written.text) == {written.label} for written in texts) >= 285
    best = model.samples(count=1, beams=3, length=20)[0]
    assert (best.label, label_of_words(best.text)) == ("news", {"news"})


def test_a_prompt_decides_the_label(trained):
    model, _ = trained
    for label, own in WORDS.items():
        session = model.session(own[0] + " ")
        assert session.label == label
        assert session.label == model.session(own[0] + " ", label).label
        np.testing.assert_array_equal(session.position.logits, model.session(own[0] + " ", label).position.logits)


def test_a_draft_begins_with_the_label_or_the_commonest_one(trained):
    model, _ = trained
    for label in (None, *model.labels):
        draft = Draft(model, label=label)
        assert draft.session.label == (label or "news")
        assert all(label_of_words(choice.text) == {label or "news"} for choice in draft.choices(2))


def test_a_text_costs_less_with_its_own_label(trained):
    model, _ = trained
    right, wrong = (model.score("vote law court", label=label) for label in ("news", "sport"))
    assert right.nats_total < wrong.nats_total - 3
    assert [piece for piece, _ in right.per_token] == [*"vote law court", ""]
    assert model.score("vote law court").nats_total == right.nats_total  # the likeliest
    mixed = score_all(model.engine, ["vote law court", "vote law court"], labels=[None, "sport"])
    assert [score.nats_total for score in mixed] == pytest.approx([right.nats_total, wrong.nats_total])
    rows = headlines(50, seed=9)
    texts, labels = zip(*rows, strict=True)
    part = part_of(model.tokenizer, texts, closed=True, labels=labels)
    found = evaluate(model.engine, part)
    first = log_softmax(model.session().position.logits)
    labels_cost = -sum(first[label_id(model.tokenizer, label)] for label in labels)
    scores = score_all(model.engine, texts, labels=labels)
    assert found.nats_total == pytest.approx(labels_cost + sum(s.nats_total for s in scores), rel=1e-4)
    assert found.tokens == sum(len(text) + 2 for text in texts)
    assert found.nats_per_token == pytest.approx(model.training["progress"]["val_loss"], rel=0.2)


def test_it_goes_on_with_more_labels(trained):
    _, folder = trained
    rows = [("egg egg", "ü, "), ("zebra lion", "zoo")] * 60
    new = jsonl("new.jsonl", rows)
    for named, said in (({}, "found None"), ({"label": None}, "found None")):
        with pytest.raises(ConfigError, match=f"label: {said}, allowed: the field or column"):
            start((new,), Path("bad"), {"steps": 1, **named}, from_=str(folder / "run"))
    model = rhapsode.train(new, label="kind", held_out=0, steps=80, from_=str(folder / "run"), lr=1e-2)
    assert model.labels == ("news", "sport", "ü, ", "zoo")
    assert model.generate(label="zoo", greedy=True) == "zebra lion"
    assert model.training["labels"]["news"] == 0


@pytest.mark.parametrize("kind", ["char", "byte", "word", "bpe"])
def test_labels_go_over_by_name(kind):
    config = CorpusConfig(tokenizer=kind, vocab_size=300)
    base = train_tokenizer(config, ["a sea"], ["b", "a"])
    more = grown_tokenizer(base, config, ["a sea and more"], ["c", "a"])
    assert more.labels == ("b", "a", "c")
    index = carried_over(base, more)
    assert [index[label_id(more, label)] for label in more.labels] == [*(label_id(base, b) for b in base.labels), -1]
    assert sorted(index[index >= 0]) == list(range(base.vocab_size))
    with pytest.raises(rhapsode.errors.TokenizerError, match="1 labels are missing, such as 'c'"):
        carried_over(more, grown_tokenizer(base, config, ["a sea and more"]))


@pytest.mark.parametrize("engine", ["numpy", "native"])
def test_labels_are_drawn_from_what_the_model_predicts(engine, monkeypatch):
    """Draws of 4000 seeds against the softmax of the labels' logits, whatever the sampling; never a label later."""
    monkeypatch.setenv("RHAPSODE_ENGINE", engine)
    if engine == "native":
        pytest.importorskip("rhapsode._native", reason="the native core was not built")
    model = Model(random_model(char_tokenizer(labels=("x", "y", "z")), scale=1.0))
    p = softmax(model.session().position.logits[-3:].astype(np.float64))
    drawn = Counter(t.label for t in model.samples(count=4000, seed=0, length=1, temperature=3, top_k=2))
    assert np.abs(np.array([drawn[label] for label in "xyz"]) / 4000 - p).max() < 0.03
    assert model.samples(greedy=True)[0].label == "xyz"[int(p.argmax())]
    first_label = model.tokenizer.vocab_size - 3
    assert all(token.id < first_label for t in model.samples(count=20, seed=1, temperature=9) for token in t.tokens)


@given(st.lists(st.tuples(st.text(LETTERS, max_size=9), st.sampled_from([None, *LABELS]), st.integers(0, 99))))
@settings(deadline=None, max_examples=15)
def test_numpy_and_native_write_the_same(jobs):
    pytest.importorskip("rhapsode._native", reason="the native core was not built")
    file, texts = random_model(char_tokenizer(labels=LABELS), seed=4), []
    for engine in ("numpy", "native"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("RHAPSODE_ENGINE", engine)
            model = Model(file)
            texts.append([model.samples(prompt, 2, label=label, seed=s, length=30) for prompt, label, s in jobs])
    told = [[(t.text, t.label, t.ended_by) for t in of_job] for of_job in texts[0]]
    assert told == [[(t.text, t.label, t.ended_by) for t in of_job] for of_job in texts[1]]


def test_the_label_that_a_prompt_decides_is_bayes():
    engine = open_engine(random_model(char_tokenizer(labels=("x", "y", "z")), scale=1.0))
    model, t = Model(engine.model), engine.tokenizer
    begun = log_softmax(model.session().position.logits)
    for prompt in ("a", "rose on", ", ,"):
        joint = {
            label: begun[label_id(t, label)] - score(engine, prompt, label=label, document=False).nats_total
            for label in t.labels
        }
        assert model.session(prompt).label == max(joint, key=lambda label: joint[label])


def test_a_document_after_another_has_a_label_of_its_own():
    model = Model(random_model(char_tokenizer(labels=LABELS), seed=1))
    session = model.session(label="a")
    while session.ended_by != "boundary":
        session.generate(seed=len(session.position.recent), length=50)
    ended = len(session.position.recent)
    session.generate(seed=0, length=5)
    first = model.tokenizer.vocab_size - len(LABELS)
    assert session.position.recent[ended] >= first
    assert (session.position.recent[ended + 1 :] < first).all()


def test_a_label_that_is_none_is_told():
    model, plain = Model(random_model(char_tokenizer(labels=LABELS))), Model(random_model())
    for call in (model.generate, model.stream, model.samples, model.session):
        with pytest.raises(ConfigError, match="label: found 'b', allowed: a, the sea"):
            call(label="b")
    with pytest.raises(ConfigError, match="label: found 'a', allowed: none"):
        plain.generate(label="a")
    with pytest.raises(ConfigError, match="label: found 'a', allowed: none"):
        plain.score("sea", label="a")
    assert plain.labels == ()


def test_a_blend_of_models_with_labels():
    """It has their labels, and mixes what they say of each; with other labels there is none."""
    files = [random_model(char_tokenizer(labels=LABELS), seed=seed, scale=1.0) for seed in (1, 2)]
    models = [Model(file) for file in files]
    both = rhapsode.blend(models)
    assert both.labels == LABELS
    p = [np.exp(log_softmax(m.session(label="a").position.logits)) for m in models]
    np.testing.assert_allclose(np.exp(both.session(label="a").position.logits), (p[0] + p[1]) / 2, rtol=1e-4)
    assert {both.samples(seed=seed, length=3)[0].label for seed in range(30)} == set(LABELS)
    joint = {
        label: log_softmax(both.session().position.logits)[label_id(both.tokenizer, label)]
        - score(both.engine, "rose", label=label, document=False).nats_total
        for label in LABELS
    }
    assert both.session("rose").label == max(joint, key=lambda label: joint[label])
    with pytest.raises(ConfigError, match="label: found 'b'"):
        both.generate(label="b")
    with pytest.raises(rhapsode.errors.TokenizerError, match="tokenizer: found labels"):
        rhapsode.blend([models[0], Model(random_model(char_tokenizer(labels=("b",))))])


def test_a_prepared_corpus_of_other_labels_is_refused(trained):
    _, folder = trained
    prepare([jsonl("new.jsonl", [("war law", "news")] * 50)], CorpusConfig(label="kind"), Path("corpus"))
    with pytest.raises(CorpusError, match="not for this model"):
        start(("corpus",), Path("run"), {"steps": 1}, from_=str(folder / "run"))


def test_a_damaged_model_with_labels_says_so():
    file = random_model(char_tokenizer(labels=LABELS))
    file.parameters["output.bias"][:] = np.nan
    with pytest.raises(ModelFileError, match="not a number"):
        Model(file).generate(seed=1)


def letters_model(seed: int, labels: tuple[str, ...] = (), start: str = "") -> Model:
    tokenizer = tokenizer_from_json(char_tokenizer(LETTERS).to_json() | {"labels": list(labels)})
    return Model(random_model(tokenizer, seed, {"start": start}, hidden=12, scale=1.0))


@pytest.mark.parametrize("start", ["", "\n"])
@pytest.mark.parametrize("how", [{}, {"weights": [3, 1, 1]}, {"turns": 2}])
def test_a_blend_of_models_with_labels_and_without(how, start):
    """Those without have no say in labels, read one as what opens their texts, and say of the text what they would."""
    models = [letters_model(1, start=start), letters_model(2, LABELS), letters_model(3, LABELS[::-1])]
    blended = rhapsode.blend(models, **how)
    assert sorted(blended.labels) == sorted(LABELS)
    log_p = log_softmax(blended.session("bad", label="a").position.logits)
    assert np.exp(log_p).sum() == pytest.approx(1)
    if "turns" not in how:
        opening = models[0].tokenizer.encode(start) if start else np.array([models[0].tokenizer.boundary])
        engine = models[0].engine
        plain = Session(engine, read(engine, beginning(engine), opening)[1])
        plain.skim("bad")
        each = [plain, *(model.session("bad", label="a") for model in models[1:])]
        p = [np.exp(log_softmax(session.position.logits))[: len(LETTERS)] for session in each]
        expected = np.average(p, axis=0, weights=how.get("weights"))
        np.testing.assert_allclose(np.exp(log_p)[: len(LETTERS)], expected, rtol=1e-4)
    assert blended.generate("bad", label="a", length=20, seed=1) != blended.generate(
        "bad", label="the sea", length=20, seed=1
    )
    drawn = {text.label for text in blended.samples(count=20, length=5, seed=1)}
    assert drawn == set(LABELS)
    assert blended.session("bad").label in LABELS
    assert 0 < blended.score("bad", label="a").nats_total < 100


def test_a_blend_of_models_with_different_labels_is_refused():
    with pytest.raises(TokenizerError, match="found labels b, c, expected a, b, or none"):
        rhapsode.blend([letters_model(1, ("a", "b")), letters_model(2), letters_model(3, ("b", "c"))])
    with pytest.raises(ConfigError, match="label: found 'x', allowed: a, the sea"):
        rhapsode.blend([letters_model(1), letters_model(2, LABELS)]).generate(label="x")
