"""The native engine against the reference, on every instruction set here; and its own laws, to the last bit."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from learners import arrays
from models import byte_tokenizer, models, random_model
from rhapsode.config import SamplingConfig
from rhapsode.engine import Engine, open_engine, rows, stack
from rhapsode.errors import ConfigError, ModelFileError
from rhapsode.model import Model
from rhapsode.modelfile import ModelFile
from rhapsode.nn.cells import CELLS
from rhapsode.tensorfile import write

_native = pytest.importorskip("rhapsode._native", reason="the native core was not built")
from rhapsode.native_engine import NativeEngine  # noqa: E402

BEST = _native.isa()
PRECISIONS = ["fp32", "bf16", "int8"]
ARITHMETICS = [*PRECISIONS, "split"]
law = settings(deadline=None, max_examples=30)


@pytest.fixture(scope="module", params=_native.available_isas())
def isa(request):
    """The instruction set of engines that are made from now on."""
    _native.use_isa(request.param)
    yield request.param
    _native.use_isa(BEST)


@pytest.fixture
def threads():
    """Sets the number of threads; it is what it was afterwards."""
    before = _native.threads()
    yield _native.use_threads
    _native.use_threads(before)


def engine_of(file, arithmetic):
    if arithmetic != "split":
        return NativeEngine(file, arithmetic)
    if not _native.has_split():
        pytest.skip("no matrix unit")
    return NativeEngine(file, split=True)


def assert_same(a, b):
    """Two pairs of (output, state), to the last bit."""
    for x, y in zip([a[0], *arrays(a[1])], [b[0], *arrays(b[1])], strict=True):
        np.testing.assert_array_equal(x, y)


def random_ids(engine, *shape):
    return np.random.default_rng(0).integers(0, engine.config.vocab_size, shape).astype(np.int32)


@law
@given(file=models(), T=st.integers(1, 8), B=st.integers(1, 7))
def test_fp32_agrees_with_the_reference(isa, file, T, B):
    """Few steps: models of random weights are chaotic, and what rounding differs in grows."""
    reference, engine = Engine(file), NativeEngine(file, "fp32")
    ids, targets = random_ids(engine, T, B), random_ids(engine, T, B)[::-1]
    expected, after = reference.read(ids, reference.initial_state(B))
    found, state = engine.read(ids, engine.initial_state(B))
    size = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4 * size)
    for a, b in zip(arrays(state), arrays(after), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=2e-4 * max(1.0, float(np.abs(b).max())))
    nats = engine.losses(ids, targets, engine.initial_state(B))[0]
    exact = Engine.losses(engine, ids, targets, engine.initial_state(B))[0]  # from the same logits
    np.testing.assert_allclose(nats, exact, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("cell", sorted(CELLS))
@pytest.mark.parametrize("hidden", [37, 100, 256])
def test_wide_models_agree_tightly(isa, cell, hidden):
    file = random_model(byte_tokenizer(), cell=cell, hidden=hidden, layers=2, norm="rms", residual=True, scale=0.06)
    reference, ids = Engine(file), random_ids(Engine(file), 63, 3)
    expected, _ = reference.read(ids, reference.initial_state(3))
    nats = reference.losses(ids[:-1], ids[1:], reference.initial_state(3))[0].mean()
    check_precisions(file, ids, expected, nats)


def test_an_engine_in_fp32_has_a_wide_one_where_there_is_a_matrix_unit(isa):
    file = random_model(hidden=40)
    engine = NativeEngine(file)
    assert engine.wide is engine.wide
    assert (engine.wide is engine) == (not _native.has_split())
    assert (engine.wide.precision, engine.wide.digest) == ("fp32", engine.digest)
    for precision in ("bf16", "int8"):
        other = NativeEngine(file, precision)
        assert other.wide is other
    if not _native.has_split():
        with pytest.raises(ValueError, match="split"):
            NativeEngine(file, split=True)


def test_convolutions_and_mlps_agree_tightly(isa):
    fields = {"hidden": 100, "layers": 2, "norm": "rms", "conv": 4, "mlp": 1.3}
    file = random_model(byte_tokenizer(), cell="lstm", scale=0.06, **fields)
    reference, ids = Engine(file), random_ids(Engine(file), 63, 3)
    expected, _ = reference.read(ids, reference.initial_state(3))
    nats = reference.losses(ids[:-1], ids[1:], reference.initial_state(3))[0].mean()
    check_precisions(file, ids, expected, nats)


def check_precisions(file, ids, expected, nats):
    tolerances = {"fp32": 2e-5, "bf16": 0.05, "int8": 0.15} | ({"split": 1e-4} if _native.has_split() else {})
    for arithmetic, tolerance in tolerances.items():
        engine = engine_of(file, arithmetic)
        found, _ = engine.read(ids, engine.initial_state(3))
        np.testing.assert_allclose(found, expected, atol=tolerance)
        loss = engine.losses(ids[:-1], ids[1:], engine.initial_state(3))[0].mean()
        assert loss == pytest.approx(nats, abs={"fp32": 1e-5, "bf16": 1e-3, "int8": 4e-3, "split": 1e-5}[arithmetic])


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("cell", ["lstm", "gru", "mlstm"])
def test_what_is_zero_may_be_left_out(isa, cell, arithmetic):
    """Of a block-diagonal matrix, as networks have that were joined; here the blocks are no whole lines."""
    file = random_model(byte_tokenizer(), hidden=200, cell=cell, scale=0.1)
    (name,) = (n for n in file.parameters if n.endswith("weight_hh"))
    weight = file.parameters[name]
    weight *= np.arange(len(weight))[:, None] % 200 // 72 == np.arange(200) // 72
    ids = random_ids(Engine(file), 9, 3)
    found = [engine_of(file, arithmetic).read(ids[:, :B], Engine(file).initial_state(B))[0] for B in (1, 3)]
    expected = Engine(file).read(ids, Engine(file).initial_state(3))[0]
    tolerance = {"fp32": 2e-5, "bf16": 0.05, "int8": 0.15, "split": 5e-5}[arithmetic]
    np.testing.assert_allclose(found[1], expected, atol=tolerance)
    np.testing.assert_array_equal(found[0], found[1][:, :1])


@law
@given(file=models(), arithmetic=st.sampled_from(ARITHMETICS), T=st.integers(1, 9), B=st.integers(2, 40))
def test_a_row_depends_on_itself_alone_and_reading_is_stepping(isa, file, arithmetic, T, B):
    assume(arithmetic != "split" or _native.has_split())
    engine = engine_of(file, arithmetic)
    ids = random_ids(engine, T, B)
    together = engine.read(ids, engine.initial_state(B))
    state, logits = engine.initial_state(B), []
    for row in ids:
        step, state = engine.step(row, state)
        logits.append(step)
    assert_same(together, (np.stack(logits), state))
    alone = [engine.read(ids[:, [b]], engine.initial_state(1)) for b in range(B)]
    assert_same(together, (np.concatenate([a[0] for a in alone], axis=1), stack([a[1] for a in alone])))


FIELDS = [
    {"cell": "lstm", "hidden": 300},
    {"cell": "gru", "hidden": 257, "layers": 2},
    {"cell": "sru", "hidden": 257, "layers": 2},
]


@pytest.mark.parametrize("arithmetic", ARITHMETICS)
@pytest.mark.parametrize("fields", FIELDS)
@pytest.mark.parametrize("blocks", [{}, {"layers": 2, "conv": 4, "mlp": 1.3}])
def test_wide_rows_do_not_depend_on_the_batch_or_the_threads(isa, threads, arithmetic, fields, blocks):
    """Enough weights and symbols for one sequence to be shared by threads, and more sequences than a thread's group."""
    engine = engine_of(random_model(byte_tokenizer(), scale=0.1, **fields | blocks), arithmetic)
    ids = random_ids(engine, 70, 70)
    results = []
    for n in (1, 2, 3):
        threads(n)
        many = engine.read(ids[:5], engine.initial_state(70))
        assert_same((many[0][:, [69]], rows(many[1], [69])), engine.read(ids[:5, [69]], engine.initial_state(1)))
        ones = [engine.losses(ids[:, [7]], ids[:, [8]], engine.initial_state(1)) for _ in range(3)]
        for one in ones[1:]:
            assert_same(one, ones[0])
        results.append((many, ones[0]))
    for many, one in results[1:]:
        assert_same(many, results[0][0])
        assert_same(one, results[0][1])


@st.composite
def samplings(draw: st.DrawFn) -> dict:
    """Fields of a `SamplingConfig` of every kind."""
    return {
        "length": draw(st.integers(1, 60)),
        "temperature": draw(st.sampled_from([0.0, 0.3, 1.0, 1.7])),
        "top_k": draw(st.sampled_from([0, 1, 3, 40])),
        "top_p": draw(st.sampled_from([0.1, 0.7, 1.0])),
        "min_p": draw(st.sampled_from([0.0, 0.2, 1.0])),
        "typical_p": draw(st.sampled_from([0.2, 0.9, 1.0, 1.0])),
        "frequency_penalty": draw(st.sampled_from([0.0, 0.0, 0.3, -1.0])),
        "presence_penalty": draw(st.sampled_from([0.0, 0.0, 1.5])),
        "bias": draw(st.sampled_from([{}, {}, {"e": 3, 2: -1.5}, {"<boundary>": 4, "a": -1000}])),
        "repetition_penalty": draw(st.sampled_from([1.0, 1.5, 0.5])),
        "repetition_window": draw(st.sampled_from([1, 5, 64])),
        "greedy": draw(st.booleans()),
        "stop": draw(st.lists(st.text("abno", min_size=1, max_size=3), max_size=2)),
        "only": draw(st.sampled_from([None, "abdeno r"])),
        "ban": draw(st.sampled_from([[], ["e"], ["an"]])),
        **draw(st.sampled_from([{}, {}, {"temperatures": [1.5, 0, 0.3], "temperature": 0.8, "greedy": False}])),
        **draw(st.sampled_from([{}, {"regex": "([a-z ]{1,5}\\n?)*"}, {"require": ["re"], "length": 40}])),
    }


@law
@given(models(), st.sampled_from(PRECISIONS), samplings(), st.integers(0, 2**63 - 6), st.integers(1, 5))
def test_the_loop_writes_what_the_rules_in_python_write(file, precision, sampling, seed, count):
    """The same engine, symbol by symbol: the same texts, tokens, endings, and positions after them."""
    by_loop, by_symbol = Model(file, precision), Model(file, precision)
    by_symbol.engine.writes = False
    try:
        expected = by_symbol.samples("bad", count, 2, seed=seed, **sampling)
    except ConfigError:  # what is required, or must match, is banned
        assume(False)
    found = by_loop.samples("bad", count, 2, seed=seed, **sampling)
    for a, b in zip(found, expected, strict=True):
        assert (a.text, a.seed, a.ended_by, [t.id for t in a.tokens]) == (
            b.text,
            b.seed,
            b.ended_by,
            [t.id for t in b.tokens],
        )
        np.testing.assert_allclose(
            [t.log_probability for t in a.tokens], [t.log_probability for t in b.tokens], rtol=1e-9, atol=1e-9
        )
        for one, other in zip(a.tokens, b.tokens, strict=True):
            assert [(x.id, x.symbol) for x in one.top] == [(x.id, x.symbol) for x in other.top]
            assert max((x.log_probability for x in one.top), default=0) >= one.log_probability
    sessions = [model.session("bad") for model in (by_loop, by_symbol)]
    for session in sessions:
        session.generate(seed=seed, **sampling)
    one, other = (session.position for session in sessions)
    assert_same((one.logits, one.state), (other.logits, other.state))
    assert (one.recent.tolist(), one.pending) == (other.recent.tolist(), other.pending)


@pytest.mark.parametrize("cell", sorted(CELLS))
def test_both_engines_write_the_same_text(isa, cell, monkeypatch):
    file = random_model(byte_tokenizer(), cell=cell, hidden=40, scale=0.2)
    found = [Model(file).generate("once", seed=s, length=200, temperature=1.2, top_p=0.9) for s in range(3)]
    monkeypatch.setenv("RHAPSODE_ENGINE", "numpy")
    assert type(Model(file).engine) is Engine
    assert found == [Model(file).generate("once", seed=s, length=200, temperature=1.2, top_p=0.9) for s in range(3)]


def test_threads_that_share_a_model_write_as_one_does():
    model = Model(random_model(byte_tokenizer(), hidden=128, layers=2, scale=0.2), "int8")
    expected = [model.generate("once", seed=seed, length=300) for seed in range(16)]
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(lambda seed: model.generate("once", seed=seed, length=300), range(16))) == expected


def test_a_large_vocabulary(isa):
    """More logits than the loop sorts at once, and an output layer that threads divide."""
    text = "".join(map(chr, range(0x4E00, 0x4E00 + 6000)))
    from models import char_tokenizer

    file = random_model(char_tokenizer(text), hidden=20, scale=0.3)
    for settings_of in ({}, {"top_k": 100}, {"top_p": 0.9}, {"min_p": 0.01}):
        by_symbol = Model(file)
        by_symbol.engine.writes = False
        sampling = {"seed": 5, "length": 60, "temperature": 2.0, **settings_of}
        assert Model(file).generate(text[:3], **sampling) == by_symbol.generate(text[:3], **sampling)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("name", ["layers.0.weight_hh", "output.bias"])
def test_damaged_weights_are_told(precision, name):
    file = random_model()
    file.parameters[name] = file.parameters[name].copy()
    file.parameters[name].flat[3] = np.nan
    with pytest.raises(Exception, match="not a number"):
        Model(file, precision).generate(length=3)


def test_the_engine_is_chosen_and_named(monkeypatch):
    file = random_model()
    assert open_engine(file).precision == "fp32"
    assert open_engine(file.with_precision("int8")).precision == "int8"
    assert open_engine(file.with_precision("int8"), "bf16").precision == "bf16"
    monkeypatch.setenv("RHAPSODE_ENGINE", "numpy")
    assert type(open_engine(file.with_precision("int8"))) is Engine
    with pytest.raises(ConfigError, match="precision"):
        open_engine(file, "int8")
    monkeypatch.setenv("RHAPSODE_ENGINE", "magic")
    with pytest.raises(ConfigError, match="native, numpy"):
        open_engine(file)


def test_what_does_not_fit_is_refused_not_read():
    engine = NativeEngine(random_model(layers=2))
    state = engine.initial_state(2)
    for ids in ([[0, 99]], [[0, -1]], [[0]], np.zeros((0, 2))):
        with pytest.raises(ValueError, match=r"ids|state"):
            engine.read(np.array(ids, np.int32), state)
    with pytest.raises(ValueError, match="targets"):
        engine.losses(np.zeros((2, 2), np.int32), np.zeros((1, 2), np.int32), state)
    ask = Model(engine.model).session().rules({"length": 3})
    assert ask.settings == SamplingConfig(length=3)


def test_a_file_of_int8_is_small_and_comes_back_as_itself(tmp_path):
    file = random_model(byte_tokenizer(), hidden=64, cell="gru", layers=2, norm="layer", learned_state=True)
    file.save(tmp_path / "whole")
    file.with_precision("int8").save(tmp_path / "small")
    assert (tmp_path / "small").stat().st_size < 0.4 * (tmp_path / "whole").stat().st_size
    once = ModelFile.load(tmp_path / "small")
    once.save(tmp_path / "again")
    again = ModelFile.load(tmp_path / "again")
    assert once.precision == again.precision == "int8"
    assert once.digest() == again.digest()
    ids = random_ids(Engine(file), 20, 2)
    results = [
        NativeEngine(f, "int8").read(ids, Engine(f).initial_state(2)) for f in (file.with_precision("int8"), once)
    ]
    assert_same(*results)


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize("fields", [{}, {"cell": "gru", "layers": 2, "input": "embedding", "embedding_size": 9}])
def test_packed_weights_are_mapped_and_give_the_same_logits(isa, tmp_path, precision, fields):
    engine = NativeEngine(random_model(hidden=40, **fields), precision)
    engine.packed().save(tmp_path / "packed")
    file = ModelFile.load(tmp_path / "packed")
    assert (file.packed.precision, file.precision, file.digest()) == (precision, "fp32", engine.digest)
    assert all(array.ctypes.data % 64 == 0 and not array.flags.owndata for array in file.packed.arrays.values())
    ids = random_ids(engine, 20, 3)
    expected = engine.read(ids, engine.initial_state(3))
    opened = open_engine(file)
    assert opened.precision == precision
    assert_same(opened.read(ids, engine.initial_state(3)), expected)
    file.parameters.clear()  # what is packed is not looked for elsewhere
    other = {"fp32": "int8", "bf16": "fp32", "int8": "bf16"}[precision]
    with pytest.raises(Exception, match="missing"):
        NativeEngine(file, other)


def test_packed_weights_of_another_size_are_packed_again(tmp_path):
    engine = NativeEngine(random_model(hidden=40), "int8")
    packed = engine.packed()
    for name, array in packed.packed.arrays.items():
        packed.packed.arrays[name] = array[:-1]
    packed.save(tmp_path / "packed")
    ids = random_ids(engine, 20, 3)
    found = open_engine(ModelFile.load(tmp_path / "packed")).read(ids, engine.initial_state(3))
    assert_same(found, engine.read(ids, engine.initial_state(3)))


@pytest.mark.parametrize(
    "packed",
    [None, {}, {"precision": "fp8", "arrays": {}}, {"precision": "int8", "arrays": {"a": [0]}}]
    + [{"precision": "int8", "arrays": {"a": place}} for place in ([-1, 3], [0, -1], [float("inf"), 0], "ab")],
)
def test_a_damaged_description_of_packed_weights_is_told(tmp_path, packed):
    file = random_model()
    head = {"format": 1, "config": file.config.to_json(), "tokenizer": file.tokenizer.to_json(), "packed": packed}
    write(tmp_path / "model", "rhapsode", head, file.parameters | {"packed": np.zeros(8, np.uint8)})
    with pytest.raises(ModelFileError, match="packed"):
        ModelFile.load(tmp_path / "model")


def test_packed_weights_that_are_missing_are_told(tmp_path):
    file = random_model()
    head = {"format": 1, "config": file.config.to_json(), "tokenizer": file.tokenizer.to_json()}
    head["packed"] = {"precision": "int8", "arrays": {}}
    write(tmp_path / "model", "rhapsode", head, file.parameters)
    with pytest.raises(ModelFileError, match="packed is missing"):
        ModelFile.load(tmp_path / "model")
