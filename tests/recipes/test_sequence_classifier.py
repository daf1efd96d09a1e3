"""The recipe of the sequence classifier: it runs, learns, and rhapsode's way is the better one."""

import re

import pytest


def test_quick(recipe):
    done = recipe("sequence_classifier", "--quick")
    assert done.returncode == 0, done.stderr
    losses = [float(loss) for loss in re.findall(r"^epoch \d+, loss = ([\d.]+)", done.stdout, re.MULTILINE)]
    assert losses[-1] < losses[0]
    commonest, (ancestor, ours) = 0.4, map(float, re.findall(r"^accuracy ([\d.]+) on", done.stdout, re.MULTILINE))
    assert ours > max(ancestor, commonest + 0.2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"text,label\na,x\nb,x\n", "at least two classes"),
        (b"text,kind\na,x\nb,y\n", "no column 'label'; it has 'text', 'kind'"),
        (b"text,label\ncaf\xe9,x\nb,y\n", "is not utf-8"),
    ],
)
def test_bad_files_are_one_line(recipe, tmp_path, text, message):
    (tmp_path / "my.csv").write_bytes(text)
    done = recipe("sequence_classifier", "--quick", "my.csv")
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1
