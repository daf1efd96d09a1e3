"""Laws of made-up languages, over random grammars; figures are compared with a second, unlike way to compute them."""

import itertools
import math
from collections import defaultdict

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from rhapsode.errors import LanguageError
from rhapsode.languages import Language, nonsense
from rhapsode.languages.ambiguity import distribution
from rhapsode.languages.grammar import Nonterminal

few = settings(deadline=None, max_examples=60)
WORDS = "xyz"


@st.composite
def grammars(draw, recursive):
    """The text of a grammar of up to four nonterminals; each has an alternative without any."""
    count = draw(st.integers(1, 4))
    lines = []
    for i in range(count):
        names = [f"<{k}>" for k in range(0 if recursive else i + 1, count)]
        symbols = st.sampled_from([*WORDS, *names])
        rights = draw(st.lists(st.lists(symbols, max_size=3), max_size=3))
        rights.append(draw(st.lists(st.sampled_from(WORDS), max_size=2)))
        weights = draw(st.lists(st.integers(1, 4), min_size=len(rights), max_size=len(rights)))
        sides = (f"{' '.join(r) or chr(34) * 2} [{w}]" for r, w in zip(rights, weights, strict=True))
        lines.append(f"<{i}> = {' | '.join(sides)}")
    return "\n".join(lines)


def made(text):
    """The language, if its sentences end."""
    try:
        return Language(text)
    except LanguageError:
        assume(False)


def derivations(grammar, symbol):
    """All derivations from a symbol: (words, probability), by plain recursion."""
    if not isinstance(symbol, Nonterminal):
        return [((symbol,), 1.0)]
    return [
        (
            tuple(itertools.chain.from_iterable(words for words, _ in parts)),
            rule.probability * math.prod(p for _, p in parts),
        )
        for rule in grammar.rules[symbol]
        for parts in itertools.product(*(derivations(grammar, s) for s in rule.right))
    ]


def entropy_of(probabilities):
    return -sum(p * math.log(p) for p in probabilities)


@few
@given(grammars(recursive=False))
def test_a_finite_language_is_what_its_derivations_make(text):
    language = Language(text)
    assume(_derivation_count(language.grammar) < 2000)
    all_ = derivations(language.grammar, language.grammar.start)
    sentences = defaultdict(float)
    for words, p in all_:
        sentences[words] += p
    entropy = language.entropy
    assert entropy.exact
    assert entropy.known_by == "finite" or len(sentences) == len(all_)
    assert distribution(language.grammar) == pytest.approx(sentences)
    assert sum(sentences.values()) == pytest.approx(1)
    assert entropy.sentence == pytest.approx(entropy_of(sentences.values()), abs=1e-9)
    assert entropy.derivation == pytest.approx(entropy_of(p for _, p in all_), abs=1e-9)
    assert entropy.words == pytest.approx(sum(p * len(words) for words, p in all_), abs=1e-9)
    for words, p in itertools.islice(sentences.items(), 20):
        assert language.log_probability(" ".join(words)) == pytest.approx(math.log(p), abs=1e-9)
        assert language.belongs(" ".join(words))


def _derivation_count(grammar):
    counts = {}

    def count(symbol):
        if not isinstance(symbol, Nonterminal):
            return 1
        if symbol not in counts:
            counts[symbol] = sum(math.prod(map(count, rule.right)) for rule in grammar.rules[symbol])
        return counts[symbol]

    return count(grammar.start)


def short_sentences(grammar, longest):
    """Probabilities of all sentences of so many words at most: the fixed point of the rules, iterated from nothing."""
    known = {left: {} for left in grammar.rules}
    while True:
        new = {left: defaultdict(float) for left in grammar.rules}
        for rule in grammar:
            ways = {(): rule.probability}
            for symbol in rule.right:
                parts = known[symbol] if isinstance(symbol, Nonterminal) else {(symbol,): 1.0}
                longer = defaultdict(float)
                for (a, p), (b, q) in itertools.product(ways.items(), parts.items()):
                    if len(a) + len(b) <= longest:
                        longer[a + b] += p * q
                ways = longer
            for words, p in ways.items():
                new[rule.left][words] += p
        change = max(
            abs(p - known[left].get(w, 0)) for left, found in new.items() for w, p in {**found, (): found[()]}.items()
        )
        known = new
        if change < 1e-13:
            return known[grammar.start]


@few
@given(grammars(recursive=True))
def test_the_inside_algorithm_and_the_parser_agree_with_the_fixed_point(text):
    language = made(text)
    assume(language.entropy.words < 20)
    expected = short_sentences(language.grammar, 3)
    for n in range(4):
        for words in itertools.product(WORDS, repeat=n):
            sentence, p = " ".join(words), expected.get(words, 0)
            assert math.exp(language.log_probability(sentence)) == pytest.approx(p, rel=1e-6, abs=1e-11)
            assert language.belongs(sentence) == (p > 0) == (language.log_probability(sentence) > -math.inf)


@few
@given(grammars(recursive=True), st.integers(0, 2**32))
def test_what_is_drawn_belongs(text, seed):
    language = made(text)
    assume(language.entropy.words < 20)
    one_way = language.entropy.known_by == "LL(1)"
    for sample in language.samples(10, seed):
        if len(sample.text) < 80:
            assert language.belongs(sample.text)
            log_p = language.log_probability(sample.text)
            assert log_p == pytest.approx(-sample.nats, abs=1e-8) if one_way else log_p >= -sample.nats - 1e-8


CASES = {
    "nonsense": nonsense,
    "brackets": lambda: Language('<s> = ( <s> ) <s> [0.4] | "" [0.6]'),
    "sums": lambda: Language('<e> = <t> <more>\n<more> = + <e> | "" [2]\n<t> = x [3] | y | ( <e> ) [0.5]'),
    "names": lambda: Language("<n> = ann [5] | bo <n> [2] | <t> [3]\n<t> = c | d e"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_entropy_is_the_mean_surprise_of_many_sentences(name):
    language = CASES[name]()
    assert language.entropy.exact
    samples = language.samples(2000, seed=1)
    surprise = [-language.log_probability(sample.text) for sample in samples[:600]]
    assert surprise == pytest.approx([sample.nats for sample in samples[:600]])
    for values, expected in (
        ([sample.nats for sample in samples], language.entropy.sentence),
        ([len(sample.text.split()) for sample in samples], language.entropy.words),
    ):
        assert abs(np.mean(values) - expected) < 4 * np.std(values) / math.sqrt(len(values))


def test_the_entropy_of_an_ambiguous_grammar_is_a_bound():
    language = Language("<s> = <s> <s> [0.25] | a [0.75]")
    surprise = [-language.log_probability(sentence) for sentence in language.sentences(500, seed=1)]
    assert np.mean(surprise) + 4 * np.std(surprise) / math.sqrt(500) < language.entropy.sentence
