"""The recipe of the nonsense language: it runs, and the model comes close to the language."""

import re

import pytest


def test_quick(recipe):
    done = recipe("nonsense_language", "--quick")
    assert done.returncode == 0, done.stderr
    errors = [float(error) for error in re.findall(r"^epoch \d+, error=([\d.]+)$", done.stdout, re.MULTILINE)]
    assert len(errors) == 5
    assert errors == sorted(errors, reverse=True)
    assert re.search(r"^epoch 500, .*\nthe .*$", done.stdout, re.MULTILINE)
    ancestor, ours = map(float, re.findall(r"divergence +([\d.]+)", done.stdout))
    assert ours < 0.02 < ancestor
    shares = [float(share) for share in re.findall(r"in the language ([\d.]+)%", done.stdout)]
    assert shares[1] >= 99


@pytest.mark.parametrize(
    ("grammar", "message"),
    [
        ("<s> = a <s>", "a grammar without end: <s> never becomes words"),
        ("<s> = a [-1]", "line 1: found [-1], allowed: a weight from 0"),
        ('<s> = a | ""', "the language has an empty sentence"),
    ],
)
def test_bad_grammars_are_one_line(recipe, tmp_path, grammar, message):
    (tmp_path / "my.grammar").write_text(grammar)
    done = recipe("nonsense_language", "--quick", "--grammar", "my.grammar")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
