"""Made-up languages: tables, the notation of grammars, what is refused, and figures known by hand."""

import math
import random
import re
from pathlib import Path

import numpy as np
import pytest

from rhapsode.errors import LanguageError
from rhapsode.languages import Language, Sampler, nonsense
from rhapsode.languages.ambiguity import factored, is_ll1
from rhapsode.languages.notation import parse


def test_a_sampler_draws_by_weight():
    sampler = Sampler({"a": 3, "b": 1, "never": 0}, seed=1)
    draws = [sampler() for _ in range(20_000)]
    assert sampler.probabilities == (0.75, 0.25, 0)
    assert set(draws) == {"a", "b"}
    assert abs(draws.count("a") / len(draws) - 0.75) < 4 * math.sqrt(0.75 * 0.25 / len(draws))
    assert sampler.entropy == pytest.approx(-0.75 * math.log(0.75) - 0.25 * math.log(0.25))


def test_a_list_is_equally_likely():
    assert Sampler(["a", "b", "b", ["c"]]).probabilities == (0.25,) * 4


def test_the_seed_decides_the_draws():
    one, other, source = Sampler(["a", "b"], 7), Sampler(["a", "b"], 7), random.Random(7)
    assert [one() for _ in range(50)] == [other() for _ in range(50)]
    shared = Sampler([1, 2], source), Sampler([1, 2], source)
    numbers = random.Random(7)
    assert [draw() for draw in shared * 20] == [1 + (numbers.random() >= 0.5) for _ in range(40)]


def test_weights_of_any_size():
    assert Sampler({"a": 1e308, "b": 1e308}).probabilities == (0.5, 0.5)
    assert Sampler({"a": 5e-324, "b": 5e-324}).probabilities == (0.5, 0.5)
    assert Sampler({"a": 10**400, "b": 0}).probabilities == (1, 0)
    assert Sampler({"a": np.float32(3), "b": np.int64(1)}).probabilities == (0.75, 0.25)


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({}, "found an empty table"),
        ([], "found an empty table"),
        ({"a": 0}, "found only weights of zero"),
        ({"a": 1, "b": -0.5}, "weight of 'b': found -0.5, allowed: a number from 0"),
        ({"a": math.nan}, "found nan"),
        ({"a": math.inf}, "found inf"),
        ({"a": "1"}, "found '1'"),
        ({"a": True}, "found True"),
        ("abc", "found str"),
        (None, "found NoneType"),
    ],
)
def test_tables_that_are_none(table, message):
    with pytest.raises(LanguageError, match=r"^sampler: [^\n]*$") as error:
        Sampler(table)
    assert message in str(error.value)


def test_the_notation():
    grammar = parse(
        '# remark\n<s> = a <t> [3] # another\n | C# "|"[1]'.replace('"|"[1]', '"|" [1]')
        + '\n\n<t> =\n"" | "\\"" | "\\\\"'
    )
    rules = {(str(r.left), tuple(map(str, r.right))): r.probability for r in grammar}
    third = pytest.approx(1 / 3)
    assert rules == {
        ("<s>", ("a", "<t>")): 0.75,
        ("<s>", ("C#", "|")): 0.25,
        ("<t>", ()): third,
        ("<t>", ('"',)): third,
        ("<t>", ("\\",)): third,
    }


def test_equal_alternatives_add_up_and_weightless_ones_are_none():
    grammar = parse("<s> = a | b | a [2] | <gone> [0]\n<gone> = <gone>")
    assert [(r.right, r.probability) for r in grammar] == [(("a",), 0.75), (("b",), 0.25)]


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ("", "no rule, allowed: at least one"),
        ("# nothing", "no rule"),
        ("hello world", "line 1: found hello, allowed: a rule first"),
        ("\n<s> <t> = a", "line 2: found <s>, allowed: a rule first"),
        ("<s> = <t>", "<t> is used by <s> and has no rule"),
        ("<s> = a\n<s> = b", "line 2: found <s>, allowed: one rule for each name"),
        ("<s> = a [-1]", "line 1: found [-1], allowed: a weight from 0"),
        ("<s> = a [much]", "found [much]"),
        ("<s> = a [nan]", "found [nan]"),
        ("<s> = a [inf]", "found [inf]"),
        ("<s> = a [0] | b [0]", "<s> has only alternatives of weight 0"),
        ("<s> = a |", "line 1: nothing after |"),
        ("<s> =\n<t> = a", "line 1: nothing after ="),
        ("<s> = [2]", "nothing after ="),
        ("<s> = [2] a", "line 1: found [2]"),
        ("<s> = a = b", "line 1: found ="),
        ("<s> = a|b", "line 1: found a|b"),
        ("<s> = a[2]", "line 1: found a[2]"),
        ("<s> = a\n | <b", "line 2: found <b"),
        ('<s> = a ""', 'line 1: found ""'),
        ('<s> = "a b"', 'line 1: found "a b"'),
        ('<s> = "a', 'line 1: found "a'),
        ("<s> = <s> a | <s> b", "a grammar without end: <s> never becomes words"),
        ("<s> = a <t> | b\n<t> = <t> c", "a grammar without end: <t> never becomes words"),
        ("<s> = <s> <s> | a", "a grammar without end: <s> leads back to itself 1 times on average, allowed: less"),
        ("<s> = c <x>\n<x> = a <y> <y> [2] | b\n<y> = <x> | <x> a", "<x>, <y> leads back to itself 1.155 times"),
    ],
)
def test_grammars_that_are_none(grammar, message):
    with pytest.raises(LanguageError, match=r"^[^\n]*$") as error:
        Language(grammar)
    assert message in str(error.value)


def test_files(tmp_path):
    path = tmp_path / "my.grammar"
    path.write_text("\ufeff<s> = hello world", "utf-8")
    assert Language.load(path).sentences(2) == ["hello world"] * 2
    path.write_text("<s> = a [-1]")
    with pytest.raises(LanguageError, match=r"my\.grammar: line 1: found \[-1\]"):
        Language.load(path)
    path.write_bytes(b"<s> = \xff")
    with pytest.raises(LanguageError, match=r"my\.grammar: is no UTF-8 text"):
        Language.load(path)
    with pytest.raises(LanguageError, match=r"nowhere: cannot be read: No such file"):
        Language.load(tmp_path / "nowhere")


def test_a_palindrome_by_hand():
    """a^n b^n with probability 0.6 0.4^n: a geometric distribution."""
    language = Language('<s> = a <s> b [0.4] | "" [0.6]')
    nats = -(0.4 * math.log(0.4) + 0.6 * math.log(0.6)) / 0.6
    entropy = language.entropy
    assert entropy.known_by == "LL(1)"
    assert entropy.sentence == pytest.approx(nats, rel=1e-12)
    assert entropy.words == pytest.approx(2 * 0.4 / 0.6, rel=1e-12)
    assert entropy.per_token == pytest.approx(nats / (1 + 0.8 / 0.6), rel=1e-12)
    assert language.log_probability("") == pytest.approx(math.log(0.6))
    assert language.log_probability("a a b b") == pytest.approx(math.log(0.6 * 0.16))
    assert [language.belongs(s) for s in ("", "a b", "a a b", "b a", "a  b", " a b", "c")] == [True, True] + [False] * 5
    assert language.log_probability("a a b") == -math.inf


def test_an_ambiguous_language_by_hand():
    """s -> s s | a: a sum of n words has Catalan(n - 1) derivations."""
    language = Language("<s> = <s> <s> [0.25] | a [0.75]")
    for n in range(1, 8):
        ways = math.comb(2 * (n - 1), n - 1) / n
        expected = math.log(ways * 0.25 ** (n - 1) * 0.75**n)
        assert language.log_probability(" ".join("a" * n)) == pytest.approx(expected, rel=1e-12)
    entropy = language.entropy
    assert (entropy.known_by, entropy.exact, entropy.words) == ("bound", False, pytest.approx(1.5))
    assert entropy.sentence == entropy.derivation == pytest.approx(-(0.25 * math.log(0.25) + 0.75 * math.log(0.75)) * 2)


def test_left_recursion_and_empty_alternatives():
    """e solves e = 0.2 e² + 2/15; the unit step s -> s s with one of them empty goes on without end."""
    language = Language('<s> = <s> <s> [0.3] | a | "" [0.2]')
    empty = (1 - math.sqrt(1 - 4 * 0.2 * 2 / 15)) / 0.4
    assert language.log_probability("") == pytest.approx(math.log(empty), rel=1e-12)
    assert language.log_probability("a") == pytest.approx(math.log((2 / 3) / (1 - 2 * 0.2 * empty)), rel=1e-12)
    assert language.belongs("")
    assert language.belongs("a a a")


def test_a_finite_ambiguous_language_is_known_exactly():
    entropy = Language("<s> = <a> b | a <b> | c [2]\n<a> = a\n<b> = b").entropy
    assert (entropy.known_by, entropy.exact) == ("finite", True)
    assert entropy.sentence == pytest.approx(math.log(2))
    assert entropy.derivation == pytest.approx(1.5 * math.log(2))


def test_common_beginnings_do_not_hide_that_a_grammar_is_unambiguous():
    language = Language("<s> = x <y> . | x <y> , <s>\n<y> = y | y y | y y z")
    assert language.entropy.known_by == "LL(1)"
    assert Language("<s> = x <s> | x [2] | x <t>\n<t> = x | y").entropy.known_by == "bound"
    assert len(list(factored(language.grammar))) == 9


@pytest.mark.parametrize(
    ("grammar", "expected"),
    [
        ('<s> = <a> x\n<a> = y | ""', True),
        ('<s> = <a> x\n<a> = x | ""', False),  # x may come after nothing, or be it
        ('<s> = <t> x | y <s>\n<t> = z <a>\n<a> = x | ""', False),  # likewise, after the end of <t>
        ('<s> = <a> x | x\n<a> = y | ""', False),  # x may come first, or after nothing
        ('<s> = <a> | <b>\n<a> = x | ""\n<b> = y | ""', False),  # two ways to nothing
        ('<s> = <s> x | ""', False),
        ('<s> = x <s> | ""', True),
    ],
)
def test_ll1(grammar, expected):
    assert is_ll1(parse(grammar)) == expected


def test_long_sentences_and_deep_recursion():
    language = Language("<s> = a <s> b [0.9999] | c [0.0001]")
    longest = max(language.sentences(20, seed=1), key=len)
    assert len(longest.split()) > 50_000
    n = 150  # far below the smallest double, were it not for the scales
    tiny = Language("<s> = a <s> b [0.0001] | c [0.9999]")
    sentence = " ".join(["a"] * n + ["c"] + ["b"] * n)
    assert tiny.log_probability(sentence) == pytest.approx(n * math.log(1e-4) + math.log(0.9999), rel=1e-12)
    assert tiny.belongs(sentence)
    assert not tiny.belongs(sentence + " b")


def test_the_nonsense_language():
    language = nonsense()
    entropy = language.entropy
    clauses = 1.12 / 0.49
    assert entropy.known_by == "LL(1)"
    assert entropy.words == pytest.approx(clauses * (4 + 0.21 + 0.18 + 0.18 + 0.06))
    assert language.belongs("the ship sang .")
    assert language.belongs("the ship slowly twice would harp - king ? a goat can .")
    for wrong in ("", ".", "the ship sang", "ship sang .", "the ship sang . a", "the ship slowly twice twice would ."):
        assert not language.belongs(wrong)
    assert language.sentences(5, seed=1) == language.sentences(5, seed=1) != language.sentences(5, seed=2)


def test_the_page_shows_what_is_so():
    """Its examples run in tests/cli/test_readme.py."""
    page = (Path(__file__).parents[2] / "docs" / "languages.md").read_text("utf-8")
    (grammar, _) = re.findall(r"```text\n(.*?)```", page, re.DOTALL)
    assert Language(grammar).belongs("hello dear dear world |")
    entropy = nonsense().entropy
    figures = (
        f"{entropy.words:.4f} words on average and {entropy.sentence:.4f} nats: {entropy.per_token:.4f} nats per token"
    )
    assert figures in page.replace("\n", " ")
