"""What the held-out part shares with the training part is found: beside a plain comparison of every pair."""

import random

import pytest

from rhapsode.errors import CorpusError
from rhapsode.text import overlap
from rhapsode.text.corpus import open_corpus
from rhapsode.text.overlap import Overlap
from rhapsode.text.store import MANIFEST
from texts import small_corpus

LETTERS = "abcdefghijklmnopqrstuvwxyz "


def noise(rng, length):
    return "".join(rng.choice(LETTERS) for _ in range(length)).strip()


def altered(rng, text, share):
    """`text` with some of its words replaced."""
    return " ".join(noise(rng, 5) if rng.random() < share else word for word in text.split(" "))


def family(count, seed, alike=0.0):
    """Documents, `alike` of which are made from the one before."""
    rng, texts = random.Random(seed), [noise(random.Random(seed), 200)]
    while len(texts) < count:
        length = rng.randint(20, 400)
        texts.append(altered(rng, texts[-1], 0.03) if rng.random() < alike else noise(rng, length))
    return texts


def documents(corpus, part):
    return corpus.tokenizer.decode(part.tokens[part.starts[0] + 1 :]), [
        corpus.tokenizer.decode(part.tokens[a:b]).strip("\n")
        for a, b in zip(part.starts, [*part.starts[1:], len(part.tokens)], strict=True)
    ]


def shingles(text, width=16):
    return {text[i : i + width] for i in range(len(text) - width + 1)}


@pytest.mark.parametrize("alike", [0.0, 0.3])
@pytest.mark.parametrize("block", [1 << 20, 700])
def test_near_duplicates_are_those_that_comparing_every_pair_finds(tmp_path, monkeypatch, alike, block):
    monkeypatch.setattr(overlap, "BLOCK", block)
    monkeypatch.setattr(overlap, "SKETCH", 10**6)
    corpus = small_corpus(tmp_path, "\n\n".join(family(300, 3, alike)), documents="blank-lines")
    train = [shingles(text) for text in documents(corpus, corpus.train)[1]]
    held_out = [shingles(text) for text in documents(corpus, corpus.held_out)[1]]
    judged = [mine for mine in held_out if len(mine) >= 4]
    expected = sum(any(len(mine & other) >= 0.5 * len(mine) for other in train) for mine in judged)
    assert (corpus.overlap.found, corpus.overlap.of) == (expected, len(judged))
    assert (expected > 3) == (alike > 0)


def test_a_sketch_tells_as_much_and_shows_an_example(tmp_path):
    corpus = small_corpus(tmp_path, "\n\n".join(family(300, 3, 0.3)), documents="blank-lines")
    found = corpus.overlap
    train, held_out = (documents(corpus, part)[1] for part in (corpus.train, corpus.held_out))
    mine, other = found.example
    pair = [next(t for t in texts if t.startswith(start)) for texts, start in ((held_out, mine), (train, other))]
    assert len(shingles(pair[0]) & shingles(pair[1])) >= 0.5 * len(shingles(pair[0]))
    assert f"{found.found} of {found.of} held-out documents" in str(found)
    assert repr(mine) in str(found)


def test_what_all_documents_have_is_no_likeness(tmp_path):
    licence = noise(random.Random(1), 600)
    texts = [f"{licence}\n{text}" for text in family(400, 5)]
    assert small_corpus(tmp_path, "\n\n".join(texts), documents="blank-lines").overlap.found <= overlap.SHARED


@pytest.mark.parametrize("block", [1 << 20, 500])
@pytest.mark.parametrize("passages", [1 << 17, 600])
def test_a_passage_in_both_parts_is_found_at_its_length(tmp_path, monkeypatch, block, passages):
    monkeypatch.setattr(overlap, "BLOCK", block)
    monkeypatch.setattr(overlap, "MOST_PASSAGES", passages)
    rng = random.Random(2)
    common = noise(rng, 1500)
    text = noise(rng, 9000) + common + noise(rng, 30_000) + common + noise(rng, 1000)
    corpus = small_corpus(tmp_path, text, documents="whole")
    exact = passages > 600
    assert corpus.overlap.found == pytest.approx(len(common), abs=2 if exact else 80)
    assert corpus.overlap.of == len(corpus.held_out.tokens)
    assert corpus.overlap.example[0] in common
    assert "symbols" in str(corpus.overlap)


@pytest.mark.parametrize("tokenizer", ["byte", "word", "bpe"])
def test_tokens_of_any_kind_are_compared(tmp_path, tokenizer):
    rng = random.Random(4)
    words = [noise(rng, 5).strip() for _ in range(300)]
    common = " ".join(rng.choice(words) for _ in range(200))
    text = " ".join([*(rng.choice(words) for _ in range(2000)), common, *(rng.choice(words) for _ in range(40))])
    found = small_corpus(tmp_path, f"{common} {text}", documents="whole", tokenizer=tokenizer, vocab_size=400).overlap
    assert 0.5 < found.share <= 1


def test_nothing_in_common_and_nothing_held_out(tmp_path):
    rng = random.Random(3)
    found = small_corpus(tmp_path, noise(rng, 20_000), documents="whole").overlap
    assert (found.found, found.example) == (0, None)
    (tmp_path / "none").mkdir()
    assert small_corpus(tmp_path / "none", noise(rng, 200), held_out=0).overlap is None


def test_it_is_kept_with_the_corpus(tmp_path):
    corpus = small_corpus(tmp_path, "one line and another line\n" * 200, documents="whole")
    assert corpus.overlap.share > 0.9
    assert open_corpus(corpus.path).overlap == corpus.overlap
    assert Overlap.from_json(corpus.overlap.to_json()) == corpus.overlap
    manifest = corpus.path / MANIFEST
    whole = manifest.read_text()
    manifest.write_text(whole.replace('"overlap": {', '"overlooked": {'))
    assert open_corpus(corpus.path).overlap is None
    manifest.write_text(whole.replace('"unit":', '"unity":'))
    with pytest.raises(CorpusError, match="damaged: 'unit'"):
        open_corpus(corpus.path)


def test_the_example_of_common_passages_shows_the_most_telling_one(tmp_path):
    rng = random.Random(4)
    blank, common = " " * 300, noise(rng, 200)
    text = noise(rng, 9000) + common + blank + noise(rng, 30_000) + blank + common + noise(rng, 1000)
    assert small_corpus(tmp_path, text, documents="whole").overlap.example[0].strip() in common


def test_an_example_of_white_space_is_white_space(tmp_path):
    assert small_corpus(tmp_path, " " * 5000, documents="whole").overlap.example[0].isspace()
