"""The command line's frame: help, wrong options, exit statuses, completion, and what is imported when."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.cli import main as frame
from rhapsode.cli.by_tyro import sorted_by_tyro
from rhapsode.cli.fields import describe, spelling
from rhapsode.cli.options import CommandOptions, UsageError, argument, config_options
from rhapsode.cli.output import print_json
from rhapsode.cli.parse import _values, parse
from rhapsode.cli.plainly import sorted_plainly
from rhapsode.config import CorpusConfig, ModelConfig, SamplingConfig, TrainConfig
from rhapsode.errors import ConfigError, OutputError
from rhapsode.nn.cells import CELLS
from rhapsode.option import option


@dataclass(frozen=True, kw_only=True)
class Options(CommandOptions):
    """A command for tests."""

    source: tuple[str, ...] = argument("what to read", metavar="SOURCE...")
    size: int = option(3, "how large", low=1, high=9)
    kind: Literal["a", "b"] = option("a", "which")
    flag: bool = option(False, "whether")
    model: dict[str, Any] = config_options(ModelConfig, "model", omit=("tied",))
    sampling: dict[str, Any] = config_options(SamplingConfig, "sampling")


def parsed(*words: str) -> Options:
    return parse(Options, words, "rhapsode test")


def test_nothing_but_what_was_named():
    assert parsed("x") == Options(source=("x",), model={}, sampling={})


def test_every_kind_of_option():
    found = parsed(
        *"x y --size 9 --kind b --flag --json".split(),  # noqa: SIM905
        *"--cell gru --no-residual --norm rms --dropout 0.5".split(),  # noqa: SIM905
        *("--stop", "a b", "--stop=--c", "--only", "é", "--seed", "0", "--greedy"),
    )
    assert found.source == ("x", "y")
    assert (found.size, found.kind, found.flag, found.json) == (9, "b", True, True)
    assert found.model == {"cell": "gru", "residual": False, "norm": "rms", "dropout": 0.5}
    assert found.sampling == {"stop": ("a b", "--c"), "only": "é", "seed": 0, "greedy": True}


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("x --cell foo", f"--cell: found 'foo', allowed: {', '.join(CELLS)}, a Python file"),
        ("x --size 10", "--size: found 10, allowed: a whole number from 1 to 9"),
        ("x --size 1.5", "--size: found '1.5', allowed: a whole number from 1 to 9"),
        ("x --top-p 0", "--top-p: found 0.0, allowed: a number above 0, to 1"),
        ("x --temperature nan", "--temperature: found nan, allowed: a number from 0"),
        ("x --xyzzy", "--xyzzy: no such option; see rhapsode test --help"),
        ("x --hiden 3", "--hiden: no such option; did you mean --hidden?"),
        ("x --size", "--size: its value is missing: N"),
        ("x --size --flag", "--size: its value is missing: N; one that begins with a hyphen is given as --size=..."),
        ("--flag", "SOURCE is missing: what to read"),
    ],
)
def test_a_wrong_option_is_one_line_that_names_it(words, message):
    with pytest.raises((ConfigError, UsageError)) as error:
        parsed(*words.split())
    found = error.value
    line = str(found) if isinstance(found, UsageError) else f"{spelling(found.option)}{str(found)[len(found.option) :]}"
    assert line == message


@settings(deadline=None, max_examples=30)
@given(st.lists(st.sampled_from(["--size", "3", "-x", "--", "--cell", "gru", "", "-", "--flag", "é", "--stop", "="])))
def test_any_words_are_parsed_or_refused(words):
    with contextlib.suppress(ConfigError, UsageError):
        assert isinstance(parse(Options, words, "rhapsode test"), Options)


COMMANDS = {name: frame.module_of(name).Options for name in ("generate", "score", "train", "export")} | {
    "test": Options
}
VALUES = st.sampled_from(["3", "", "a b", "é", "=", "a=b", "-", "-3", "--seed", "None", "0.5", "x,y"])


@st.composite
def command_lines(draw, cls):
    """Words for a command, most of them as they should be."""
    words = draw(st.lists(st.sampled_from(["x", "", "é", "a b"]), max_size=3))
    for known in draw(st.lists(st.sampled_from(describe(cls)), max_size=4)):
        name = draw(st.sampled_from([known.name] * 6 + ["--no-" + known.name[2:], known.name.replace("-", "_")]))
        value, way = draw(VALUES), draw(st.integers(0, 8))
        words += [name] if known.flag and way else [f"{name}={value}"] if way > 5 else [name, value]
    return words


@pytest.mark.parametrize("command", COMMANDS)
@settings(deadline=None, max_examples=60)
@given(data=st.data())
def test_words_are_sorted_without_tyro_as_with_it(command, data):
    cls = COMMANDS[command]
    words = data.draw(command_lines(cls))
    plainly = sorted_plainly(cls, words)
    if plainly is not None:
        assert outcome(cls, plainly) == outcome(cls, sorted_by_tyro(cls, words, "rhapsode test"))


def outcome(cls, found):
    """The values of a command's fields, or the complaint about the words that were found for them."""
    try:
        return _values(cls, found)
    except (ConfigError, UsageError) as error:
        return str(error)


def test_what_most_people_type_needs_no_tyro():
    words = ["m", "--prompt=-x", "--length", "9", "--greedy", "--ban", "a", "--ban", "b", "--no-echo", "--json"]
    assert sorted_plainly(COMMANDS["generate"], [*words, "--no-greedy"]) is None
    found = _values(COMMANDS["generate"], sorted_plainly(COMMANDS["generate"], words))
    assert found["prompt"] == "-x"
    assert found["sampling"] == {"length": 9, "greedy": True, "ban": ("a", "b")}


@pytest.mark.parametrize("cls", [ModelConfig, TrainConfig, CorpusConfig, SamplingConfig])
def test_every_field_that_is_not_derived_is_an_option_with_help(cls, capsys):
    @dataclass(frozen=True, kw_only=True)
    class Own(CommandOptions):
        """One configuration."""

        config: dict[str, Any] = config_options(cls, "all")

    with pytest.raises(SystemExit) as end:
        parse(Own, ["--help"], "rhapsode test")
    assert end.value.code == 0
    shown = capsys.readouterr().out
    for name in (o.name for o in describe(Own)):
        assert f"{name} " in shown or f"{name}," in shown
    assert "--vocab-size" not in shown or cls is CorpusConfig
    assert "None" not in shown
    assert "MISSING" not in shown


def command(monkeypatch, run):
    """Make `run` what a command of the name ``train`` does; returns the function that runs it."""
    import types

    module = types.ModuleType("rhapsode.cli.train")
    module.Options, module.run = Options, run  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "rhapsode.cli.train", module)
    return lambda *words: frame.main(["train", "x", *words])


def raising(error: BaseException):
    def run(options):
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (ConfigError("top_p", 3, "less"), 2, "rhapsode: --top-p: found 3, allowed: less\n"),
        (OutputError("x: cannot be written:\nfull"), 1, "rhapsode: x: cannot be written: full\n"),
        (PermissionError(13, "Permission denied", "x"), 1, "rhapsode: x: Permission denied\n"),
        (MemoryError("no room for 64 GiB"), 1, "rhapsode: out of memory: no room for 64 GiB\n"),
        (ValueError("bug"), 1, "rhapsode: unexpected ValueError: bug (RHAPSODE_DEBUG=1 shows where)\n"),
        (KeyboardInterrupt(), 130, ""),
    ],
)
def test_what_goes_wrong_is_one_line_and_a_status(monkeypatch, capsys, error, status, line):
    monkeypatch.delenv("RHAPSODE_DEBUG", raising=False)
    assert command(monkeypatch, raising(error))() == status
    assert capsys.readouterr().err == line


def test_debug_shows_the_traceback(monkeypatch, capsys):
    monkeypatch.setenv("RHAPSODE_DEBUG", "1")
    assert command(monkeypatch, raising(ValueError("bug")))() == 1
    assert "Traceback" in capsys.readouterr().err


def test_a_commands_status_is_returned(monkeypatch):
    assert command(monkeypatch, lambda options: 7 if options.flag else 0)("--flag") == 7


def test_json_is_one_plain_object(capsys):
    import numpy as np

    print_json({"a": np.float32(1.5), "b": float("nan"), "c": [np.int64(3), Path("x")], "d": {"é": None}, "e": True})
    shown = capsys.readouterr().out
    assert shown.count("\n") == 1
    assert json.loads(shown) == {"a": 1.5, "b": None, "c": [3, "x"], "d": {"é": None}, "e": True}


def test_help_lists_every_command_and_each_has_a_module(capsys):
    assert frame.main(["--help"]) == 0
    shown = capsys.readouterr().out
    folder = Path(frame.__file__).parent
    for name in frame.COMMANDS:
        assert f"\n  {name} " in shown
        assert Path(frame.module_of(name).__file__).parent == folder
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize("name", sorted(frame.COMMANDS))
def test_each_command_shows_its_help(name, capsys):
    assert frame.main([name, "--help"]) == 0
    shown = capsys.readouterr()
    assert shown.out.startswith(f"usage: rhapsode {name}")
    assert shown.err == ""
    assert "--json" in shown.out


def test_unknown_and_missing_commands(capsys):
    assert frame.main(["trian"]) == 2
    assert capsys.readouterr().err == "rhapsode: 'trian': no such command; did you mean train?\n"
    assert frame.main([]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("usage:")


def python(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, **options)


@pytest.mark.parametrize(
    ("words", "threads"),
    [
        (["train-classifier", "no such file"], "1"),
        (["info", "no such file"], "1"),
        (["train", "no such file", "--backend", "torch"], None),
        (["bench", "--help"], None),
    ],
)
def test_numpy_takes_no_threads_beside_the_core(monkeypatch, words, threads):
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "7")
    monkeypatch.delenv("OPENBLAS_NUM_THREADS")
    frame.main(words)
    assert os.environ.get("OPENBLAS_NUM_THREADS") == threads


def test_version_and_module():
    from importlib.metadata import version

    result = subprocess.run([sys.executable, "-m", "rhapsode", "--version"], capture_output=True, text=True, timeout=60)
    assert result.stdout == f"rhapsode {version('rhapsode')}\n"


@pytest.mark.parametrize(
    ("code", "absent"),
    [
        ("import rhapsode; dir(rhapsode)", "numpy torch tyro rich safetensors tokenizers"),
        ("from rhapsode.cli.main import main; main(['--help'])", "numpy torch tyro rich safetensors tokenizers"),
        ("import rhapsode; rhapsode.load; rhapsode.Session", "torch tyro rich tokenizers"),
        ("from rhapsode.cli.main import main; main(['generate', '--help'])", "torch rich tokenizers typeguard"),
    ],
)
def test_imports_only_what_is_needed(code, absent):
    result = python(f"{code}\nimport sys\nprint([m for m in {absent.split()!r} if m in sys.modules])")
    assert result.stdout.splitlines()[-1] == "[]", result.stderr


@pytest.mark.skipif(os.name == "nt", reason="needs /bin/sh")
def test_a_reader_that_goes_away_ends_it_quietly():
    code = "from rhapsode.cli import main as frame; frame.usage = lambda: 'x' * 10**6; frame.main(['--help'])"
    result = subprocess.run(
        f'{sys.executable} -c "{code}" | head -c 1', shell=True, capture_output=True, text=True, timeout=60
    )
    assert (result.stdout, result.stderr) == ("x", "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_is_one_line():
    with open("/dev/full", "w") as full:
        result = subprocess.run(
            [sys.executable, "-m", "rhapsode", "--help"], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60
        )
    assert result.returncode == 1
    assert result.stderr.count("\n") == 1
    assert "No space left" in result.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="a POSIX shell")
@pytest.mark.parametrize(
    ("words", "status", "stream"),
    [("--help >&-", 1, "standard output"), ("prepare - <&-", 2, "<stdin>"), ("score m <&-", 2, "m: no such model")],
)
def test_closed_streams_are_one_line(words, status, stream, tmp_path, monkeypatch):
    monkeypatch.setenv("RHAPSODE_CACHE", str(tmp_path))
    result = subprocess.run(
        f"{sys.executable} -m rhapsode {words}", shell=True, capture_output=True, text=True, timeout=60, cwd=tmp_path
    )
    assert result.returncode == status
    assert result.stderr.count("\n") == 1
    assert stream in result.stderr


def complete(*words: str) -> list[str]:
    """What bash offers for the last of these words, by the script of `rhapsode completion bash`."""
    line = " ".join(f"'{word}'" for word in words)
    script = f"""
        eval "$({sys.executable} -m rhapsode completion bash)"
        COMP_WORDS=({line}); COMP_CWORD={len(words) - 1}; _rhapsode; printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, timeout=60)
    assert result.stderr == ""
    return result.stdout.split()


@pytest.mark.skipif(os.name == "nt", reason="needs bash")
@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (("rhapsode", "ge"), ["generate"]),
        (("rhapsode", "generate", "m", "--to"), ["--top-k", "--top-p"]),
        (("rhapsode", "train", "x", "--cell", "l"), ["lstm"]),
        (("rhapsode", "generate", "m"), []),
    ],
)
def test_completion_in_bash(words, offered):
    assert complete(*words) == offered


def test_completion_scripts(capsys):
    for shell in ("zsh", "fish"):
        assert frame.main(["completion", shell]) == 0
        assert "--cell" in (shown := capsys.readouterr().out) or "-l cell" in shown
    assert frame.main(["completion", "tcsh"]) == 2
    assert capsys.readouterr().err == "rhapsode: SHELL: found 'tcsh', allowed: bash, zsh, fish\n"
