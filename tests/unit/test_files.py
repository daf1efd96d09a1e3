"""Files appear whole or not at all."""

import json
import os
import stat

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import save

import rhapsode
from rhapsode import tensorfile
from rhapsode.errors import ModelFileError, OutputError
from rhapsode.files import atomic, make_folder, write_json, write_text


def test_a_file_appears_whole(tmp_path):
    with atomic(tmp_path / "a") as file:
        file.write(b"one")
        assert not (tmp_path / "a").exists()
    assert (tmp_path / "a").read_bytes() == b"one"
    assert os.listdir(tmp_path) == ["a"]


def test_permissions_are_those_of_an_ordinary_file(tmp_path):
    (tmp_path / "plain").write_text("x")
    write_json(tmp_path / "b", {})
    assert stat.S_IMODE((tmp_path / "b").stat().st_mode) == stat.S_IMODE((tmp_path / "plain").stat().st_mode)


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    (tmp_path / "a").write_bytes(b"old")

    def fail():
        with atomic(tmp_path / "a") as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert (tmp_path / "a").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a"]


def test_a_missing_folder_is_one_line(tmp_path):
    with pytest.raises(OutputError, match="nowhere") as caught:
        write_json(tmp_path / "nowhere" / "a", {})
    assert "\n" not in str(caught.value)


def test_a_file_in_the_place_of_a_folder(tmp_path):
    (tmp_path / "f").write_text("")
    with pytest.raises(OutputError, match="cannot be made"):
        make_folder(tmp_path / "f" / "g")


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs a device that is always full")
def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.mkstemp", lambda **_: (os.open("/dev/full", os.O_WRONLY), str(tmp_path / "t")))
    with pytest.raises(OutputError, match="No space left"):
        write_json(tmp_path / "a", {"x": 1})
    assert not (tmp_path / "a").exists()


@given(st.integers(0, 3), st.integers(1, 5), st.integers(0, 2**32 - 1))
def test_tensors_lie_as_the_safetensors_library_lays_them(tmp_path_factory, rank, size, seed):
    rng, path = np.random.default_rng(seed), tmp_path_factory.mktemp("tensors") / "x.safetensors"
    types = ["<f4", "i1", "<i8", "<i4", "<f4"] + ["u1"] * (seed % 2)
    tensors = {f"{seed % 7}é{i}": np.array(rng.integers(0, 9, (size,) * rank), kind) for i, kind in enumerate(types)}
    tensorfile.write(path, "entry", {"é": [seed, '"']}, tensors)
    found, expected = path.read_bytes(), save(tensors, {"entry": json.dumps({"é": [seed, '"']}, ensure_ascii=False)})
    ends = [8 + int.from_bytes(data[:8], "little") for data in (found, expected)]
    assert found[8 : ends[0]].rstrip() == expected[8 : ends[1]].rstrip()
    assert found[ends[0] :] == expected[ends[1] :]
    aligned = len(found) - tensors[max(tensors)].nbytes if seed % 2 else ends[0]
    assert aligned % tensorfile.ALIGNED == 0


@pytest.mark.parametrize("name", [None, 5, b"a", ["a"]])
def test_what_is_no_name_of_a_file_is_one_line(name):
    with pytest.raises(OutputError, match=r"found .* expected the name of a file"):
        write_text(name, "text")
    with pytest.raises(ModelFileError, match=r"found .* expected the name of a file"):
        rhapsode.load(name)
