"""``rhapsode generate`` and ``rhapsode info`` as a user meets them: output, --json, odd prompts, wrong files."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import subprocess
import sys
import time

import pytest

from models import byte_tokenizer, char_tokenizer, random_model
from rhapsode import load
from rhapsode.cli.main import main
from rhapsode.model import Model


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    """A model file whose texts never end by themselves."""
    path = tmp_path_factory.mktemp("models") / "model.safetensors"
    random_model(training={"start": "\n", "progress": {"step": 7, "best_loss": 1.5}}).save(path)
    return str(path)


@pytest.fixture
def run(capsys):
    """Runs a command; gives exit status, stdout, stderr."""

    def run(*words: str) -> tuple[int, str, str]:
        status = main(["generate", *words])
        return status, *capsys.readouterr()

    return run


def own(file: str, prompt: str, **sampling) -> str:
    from rhapsode import load

    return load(file).generate(prompt, **sampling)


def test_prints_the_prompt_and_the_text(run, file):
    text = own(file, "bad", seed=3, length=40)
    assert run(file, "--prompt", "bad", "--seed", "3", "--length", "40") == (0, "bad" + text.rstrip("\n") + "\n", "")
    assert run(file, "--prompt", "bad", "--seed", "3", "--length", "40", "--no-echo")[1].rstrip("\n") == text.rstrip(
        "\n"
    )


def test_options_reach_the_sampler(run, file):
    words = "--greedy --length 30 --stop bb --ban a --ban es --only abdens".split()  # noqa: SIM905
    fields = {"greedy": True, "length": 30, "stop": ["bb"], "ban": ["a", "es"], "only": "abdens"}
    assert run(file, *words)[1].rstrip("\n") == own(file, "", **fields).rstrip("\n")


def test_another_text_each_time_unless_the_seed_is_given(run, file):
    assert len({run(file, "--length", "60")[1] for _ in range(5)}) == 5
    assert len({run(file, "--length", "60", "--seed", "1")[1] for _ in range(3)}) == 1


def test_several_samples_are_told_apart(run, file):
    status, out, _ = run(file, "--samples", "3", "--seed", "5", "--length", "20")
    assert status == 0
    for number, seed in enumerate((5, 6, 7), 1):
        assert f"=== {number} of 3, seed {seed} ===\n{own(file, '', seed=seed, length=20)}" in out


def test_a_blend_of_models(run, file, tmp_path):
    from rhapsode import blend

    random_model(char_tokenizer("\n abQ"), 5, {"start": "\n"}).save(tmp_path / "other")
    models, other = [load(file), load(tmp_path / "other")], str(tmp_path / "other")
    mixed = blend(models, weights=[0.7, 0.3]).generate("bad", seed=3, length=40)
    words = ("--blend", other, "--prompt", "bad", "--seed", "3", "--length", "40", "--no-echo")
    assert run(file, *words, "--weights", "0.7,0.3")[1].rstrip("\n") == mixed.rstrip("\n")
    turns = blend(models, turns=2, turns_of="words").generate("bad", seed=3, length=40)
    assert run(file, *words, "--turns", "2", "--turns-of", "words")[1].rstrip("\n") == turns.rstrip("\n")
    for wrong, said in (
        (("--blend", other, "--weights", "0.7"), "--weights: found (0.7,), allowed: 2 numbers above 0"),
        (("--blend", other, "--weights", "0.7,x"), "--weights: found '0.7,x'"),
        (("--blend", other, "--turns", "0"), "--turns: found 0"),
        (("--weights", "1,1"), "--weights: found (1.0, 1.0), allowed: only with --blend"),
        (("--turns", "3"), "--turns: found 3, allowed: only with --blend"),
        (("--turns-of", "words"), "--turns-of: found 'words', allowed: only with --blend"),
    ):
        status, out, err = run(file, *wrong)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert said in err


def test_a_prompt_that_is_learned_from(run, file, tmp_path):
    prompt, saved = "bad ends, " * 20, str(tmp_path / "s")
    session = load(file).session(prompt, dynamic=True, dynamic_lr=0.01)
    text = session.fork().generate(seed=3, length=40)
    assert text != own(file, prompt, seed=3, length=40)
    learning = ("--dynamic", "--dynamic-lr", "0.01", "--prompt", prompt, "--length", "40", "--no-echo")
    assert run(file, *learning, "--seed", "3")[1].rstrip("\n") == text.rstrip("\n")
    samples = json.loads(run(file, *learning, "--samples", "2", "--seed", "2", "--json")[1])["texts"]
    assert samples[1]["text"] == text

    assert run(file, *learning, "--seed", "3", "--session", saved)[0] == 0
    session.generate(seed=3, length=40)
    session.read("bread")
    words = ("--session", saved, "--prompt", "bread", "--seed", "4", "--length", "9", "--no-echo")
    assert run(file, *words, "--dynamic")[1].rstrip("\n") == session.generate(seed=4, length=9).rstrip("\n")
    assert run(file, "--session", str(tmp_path / "t"), "--length", "9")[0] == 0
    for wrong, said in (
        (("--dynamic-lr", "0.1"), "--dynamic-lr: found 0.1, allowed: only with dynamic"),
        (("--dynamic", "--dynamic-lr", "-1"), "--dynamic-lr: found -1.0"),
        (("--dynamic", "--blend", file), "--dynamic: found True, allowed: with one model"),
        (("--dynamic", "--session", str(tmp_path / "t")), "--dynamic: found True, allowed: only for a new text"),
        (("--dynamic-lr", "0.1", "--session", saved), "--dynamic-lr: found 0.1, allowed: only for a new text"),
    ):
        status, out, err = run(file, *wrong)
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert said in err


def test_json_is_one_object_and_says_the_seed(run, file):
    status, out, err = run(file, "--prompt", "bad", "--samples", "2", "--length", "9", "--json")
    told = json.loads(out)
    assert (status, err, out.count("\n")) == (0, "", 1)
    first, second = told["texts"]
    assert second["seed"] == first["seed"] + 1
    for text in told["texts"]:
        assert text["text"] == own(file, "bad", seed=text["seed"], length=9)
        assert (text["ended_by"], text["tokens"]) == ("length", 9)
        assert text["log_probability"] < 0
    assert "logprobs" not in first


def test_logprobs_and_alternatives(run, file):
    words = ("--seed", "1", "--length", "5", "--logprobs", "2")
    text = json.loads(run(file, *words, "--json")[1])["texts"][0]
    assert len(text["logprobs"]) == 5
    assert sum(t["logprob"] for t in text["logprobs"]) == pytest.approx(text["log_probability"])
    assert all(len(t["top"]) == 2 and max(t["top"].values()) >= t["logprob"] for t in text["logprobs"])
    assert len(run(file, *words)[1].splitlines()) >= 6
    assert r" '\n' " in run(file, "--only", "\n", *words)[1]


def test_numbers_that_are_none_are_shown_as_typed(run, file):
    assert run(file, "--temperatures", "1,x")[2] == "rhapsode: --temperatures: found '1,x', allowed: numbers from 0\n"


def test_beam_search(run, file):
    texts = json.loads(run(file, "--beams", "3", "--samples", "2", "--length", "5", "--json")[1])["texts"]
    assert [t["seed"] for t in texts] == [None, None]
    assert texts[0]["log_probability"] >= texts[1]["log_probability"]
    assert run(file, "--beams", "3", "--samples", "4") == (
        2,
        "",
        "rhapsode: --samples: found 4, allowed: at most beams (3)\n",
    )


def test_unknown_characters_work_and_are_told_once(run, file):
    status, out, err = run(file, "--prompt", "naïve é☃é", "--length", "20")
    assert status == 0
    assert out.startswith("naïve é☃é")
    assert err.count("\n") == 1
    assert "4 of the prompt's characters: 'ï' 'v' 'é' '☃'" in err


def test_prompt_from_stdin_and_file(run, file, tmp_path, monkeypatch):
    expected = "bad end" + own(file, "bad end", seed=1, length=9)
    path = tmp_path / "prompt.txt"
    path.write_text("bad end", encoding="utf-8")
    assert run(file, "--prompt-file", str(path), "--seed", "1", "--length", "9")[1].rstrip("\n") == expected.rstrip(
        "\n"
    )
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"bad end")))
    assert run(file, "--prompt", "-", "--seed", "1", "--length", "9")[1].rstrip("\n") == expected.rstrip("\n")


def test_a_byte_model_writes_whole_characters(run, tmp_path):
    path = tmp_path / "bytes.safetensors"
    random_model(byte_tokenizer()).save(path)
    status, out, _ = run(str(path), "--prompt", "é", "--length", "200", "--temperature", "1.5", "--seed", "0")
    assert status == 0
    assert out.startswith("é")


def test_a_model_of_documents_ends_by_itself(run, tmp_path):
    path = tmp_path / "names.safetensors"
    random_model(char_tokenizer("abc"), seed=1).save(path)
    texts = json.loads(run(str(path), "--samples", "20", "--length", "200", "--json")[1])["texts"]
    assert "boundary" in {t["ended_by"] for t in texts}


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--length", "-1"), "--length: found -1, allowed: a whole number from 0"),
        (("--samples", "0"), "--samples: found 0, allowed: a whole number from 1 to 65536"),
        (("--stop", ""), "--stop: found ('',), allowed: strings that are not empty"),
        (("--require", "é"), "--require: found 'é', allowed: strings of characters that the model knows"),
        (("--prompt", "a", "--prompt-file", "b"), "--prompt-file: found 'b', allowed: only without --prompt"),
        (("--prompt-file", "no/such"), "no/such: cannot be read: No such file or directory"),
        (("--lenght", "3"), "--lenght: no such option; did you mean --length?"),
    ],
)
def test_wrong_options_are_one_line(run, file, words, line):
    assert run(file, *words) == (2, "", f"rhapsode: {line}\n")


def test_wrong_model_files_are_one_line(run, file, tmp_path):
    half = tmp_path / "half.safetensors"
    with open(file, "rb") as whole:
        half.write_bytes(whole.read()[:-100])
    (tmp_path / "text.txt").write_text("hello")
    (tmp_path / "empty").mkdir()
    for name in ("half.safetensors", "text.txt", "empty", "none"):
        status, out, err = run(str(tmp_path / name))
        assert (status, out, err.count("\n")) == (2, "", 1)
        assert str(tmp_path / name) in err


def test_a_prompt_that_is_not_utf8_is_one_line(run, file, tmp_path):
    path = tmp_path / "latin"
    path.write_bytes(b"caf\xe9")
    assert run(file, "--prompt-file", str(path)) == (2, "", f"rhapsode: {path}: not UTF-8 at byte 3\n")


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "rhapsode", "generate", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": ""},
    )


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
def test_text_comes_as_it_is_written_and_ctrl_c_ends_it_cleanly(file):
    process = start(file, "--prompt", "bad", "--length", "100000000")
    assert process.stdout.read(10).startswith("bad")
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (130, "")
    assert out.endswith("\n")


@pytest.mark.skipif(os.name == "nt", reason="needs pipes")
def test_a_reader_that_goes_away_ends_it(file):
    process = start(file, "--length", "100000000")
    process.stdout.read(3)
    process.stdout.close()
    assert process.wait(timeout=60) == 141
    assert process.stderr.read() == ""


def test_info_shows_all_of_it(file, capsys):
    assert main(["info", file, "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"]["hidden"] == 16
    assert told["parameters"] == sum(a.size for a in Model(random_model()).file.parameters.values())
    assert told["tokenizer"]["vocab_size"] == told["config"]["vocab_size"]
    assert told["training"]["progress"]["best_loss"] == 1.5
    assert main(["info", file]) == 0
    shown = capsys.readouterr().out
    for word in ("lstm", "layers.0.table", "char", "best_loss", "1.5", "<boundary>"):
        assert word in shown


def test_info_of_a_run_folder_lists_its_model_files(tmp_path, capsys):
    random_model(training={"progress": {"step": 9, "val_loss": 1.25}}).save(tmp_path / "best.safetensors")
    (tmp_path / "last.safetensors").write_bytes(b"half")
    assert main(["info", str(tmp_path), "--json"]) == 0
    run = json.loads(capsys.readouterr().out)["run"]
    assert run["best.safetensors"] == {"step": 9, "val_nats_per_token": 1.25}
    assert "not a whole safetensors file" in run["last.safetensors"]["error"]


@pytest.mark.parametrize("samples", ["1", "2"])
def test_a_dead_end_is_told(run, file, samples):
    status, _, err = run(file, "--only", "a", "--ban", "aa", "--samples", samples, "--seed", "1")
    assert status == 0
    assert err.count("nothing that may follow is allowed") == int(samples)


def test_info_of_a_run_whose_model_tells_little(tmp_path, capsys):
    random_model(training={"progress": 5}).save(tmp_path / "best.safetensors")
    assert main(["info", str(tmp_path), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["run"]["best.safetensors"]["step"] is None


def test_a_session_file_is_gone_on_from_and_saved(run, file, tmp_path):
    path = str(tmp_path / "story.session")
    words = ("--session", path, "--no-echo", "--length", "12", "--seed", "1")
    session = load(file).session("bad")
    assert run(file, "--prompt", "bad", *words) == (0, session.generate(length=12, seed=1).rstrip("\n") + "\n", "")
    assert run(file, *words)[1].rstrip("\n") == session.generate(length=12, seed=1).rstrip("\n")
    session.read("end")
    told = json.loads(run(file, "--prompt", "end", *words, "--json")[1])["texts"][0]
    assert told["text"] == session.generate(length=12, seed=1)
    assert told["seed"] == 1
    assert run(file, *words)[1].rstrip("\n") == session.generate(length=12, seed=1).rstrip("\n")


def test_a_session_file_is_left_alone_by_mistakes(run, file, tmp_path):
    path = tmp_path / "s"
    assert run(file, "--session", str(path), "--regex", "[a")[0] == 2
    assert not path.exists()
    other = tmp_path / "other.safetensors"
    random_model(seed=9).save(other)
    assert run(file, "--session", str(path), "--length", "3")[0] == 0
    assert run(str(other), "--session", str(path)) == (2, "", f"rhapsode: {path}: a session of another model\n")
    assert run(file, "--session", str(path), "--samples", "2")[2] == (
        "rhapsode: --samples: found 2, allowed: 1, with --session\n"
    )


def test_bias_and_regex_from_the_command_line(run, file):
    assert set(run(file, "--bias", "a=1000", "--length", "9")[1]) == {"a", "\n"}
    assert re.fullmatch("(bad|end) ?a*\n", run(file, "--regex", "(bad|end) ?a*", "--length", "9")[1])
    assert run(file, "--bias", "é=1")[2].startswith("rhapsode: --bias: found 'é', allowed: a single symbol")
    assert run(file, "--regex", "(?=a)")[2] == (
        "rhapsode: --regex: found '(?=a)', allowed: a regular expression without lookaround\n"
    )
