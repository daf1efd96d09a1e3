"""Dynamic sessions: what they learn, that nothing else changes, and that their weights are values."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from models import char_tokenizer, random_model
from rhapsode import blend
from rhapsode.adaptation import SEGMENT
from rhapsode.analysis.dynamic import dynamic_predictions
from rhapsode.analysis.predictions import costs
from rhapsode.errors import ConfigError, SessionError
from rhapsode.evaluate import Spans
from rhapsode.model import Model, load
from texts import verses

TEXT = verses(30)
LETTERS = "".join(set(TEXT))
LR = 3e-3


def model_of(seed: int = 0, **fields) -> Model:
    return Model(random_model(char_tokenizer(LETTERS), seed, {"start": "\n"}, scale=0.2, **fields))


@pytest.fixture(scope="module", params=["numpy", "native"])
def model(request):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RHAPSODE_ENGINE", request.param)
        yield model_of(layers=2, dropout=0.5, learned_state=True)


def dynamic(model: Model, text: str = TEXT, lr: float | None = LR, **options):
    return model.session(text, dynamic=True, dynamic_lr=lr, **options)


def same_weights(one, other) -> bool:
    return all(np.array_equal(one[name], other[name]) for name in one)


def test_what_it_reads_is_dynamic_evaluation(model):
    session, plain = model.session(dynamic=True, dynamic_lr=LR), model.session()
    nats, still = session.read(TEXT), plain.read(TEXT)
    assert len(nats) == len(TEXT)
    np.testing.assert_allclose(nats[: SEGMENT + 1], still[: SEGMENT + 1], rtol=1e-4)
    assert nats.mean() < 0.97 * still.mean()
    ids = model.tokenizer.encode(TEXT)
    found = costs(dynamic_predictions(model.file, ids, Spans(np.array([0]), np.array([len(ids) - 1])), LR), ids)
    whole = np.concatenate([cost["network"] for _, cost in found])
    assert nats[1:].mean() == pytest.approx(whole.mean(), rel=0.01)  # which began without the line break


def test_one_that_learns_nothing_is_a_plain_one(model):
    session, plain = dynamic(model, lr=0.0), model.session(TEXT)
    np.testing.assert_allclose(session.read(TEXT), plain.read(TEXT), rtol=1e-4)
    np.testing.assert_allclose(session.position.logits, plain.position.logits, rtol=1e-4, atol=1e-5)
    assert same_weights(session.engine.model.parameters, model.file.parameters)
    assert session.generate(length=60, seed=3) == plain.generate(length=60, seed=3)


def test_it_writes_what_it_has_learned(model):
    session = dynamic(model)
    adapted = Model(session.adapted(), "fp32")
    assert not same_weights(session.engine.model.parameters, model.file.parameters)
    assert session.generate(length=40, seed=1) == adapted_text(adapted, session, seed=1, length=40)
    assert adapted.score(TEXT).nats_total < 0.9 * model.score(TEXT).nats_total
    assert adapted.training["dynamic"]["segments"] == session.adapted().training["dynamic"]["segments"] > 0


def adapted_text(adapted: Model, session, **sampling) -> str:
    """What the adapted model writes on from where the session was, before it wrote."""
    other = adapted.session()
    other.position = dynamic(Model(session.base.model)).position
    return other.generate(**sampling)


def test_the_model_and_its_other_sessions_stay_as_they_are(model):
    before = {name: value.copy() for name, value in model.file.parameters.items()}
    other, untouched = model.session("the sea"), model.session("the sea")
    expected = [untouched.read("sings").tolist(), untouched.generate(length=50, seed=1)]
    score = model.score(TEXT).nats_total
    session = dynamic(model)
    session.generate(length=20, seed=1)
    session.read(TEXT)
    assert [other.read("sings").tolist(), other.generate(length=50, seed=1)] == expected
    assert model.score(TEXT).nats_total == score
    assert same_weights(model.file.parameters, before)


def test_forks_and_marks_keep_the_weights_of_their_place(model):
    session = dynamic(model)
    mark, twin = session.mark(), session.fork()
    expected = twin.generate(length=30, seed=2)
    there = session.engine
    first = session.read(verses(10, seed=5)).tolist()
    assert session.engine is not there
    assert twin.engine is there
    twin.rewind(mark)
    assert twin.generate(length=30, seed=2) == expected
    session.rewind(mark)
    assert session.engine is there
    assert session.read(verses(10, seed=5)).tolist() == first  # what the optimiser remembers came back too
    session.rewind(mark)
    assert session.generate(length=30, seed=2) == expected
    session.rewind(mark)
    assert session.fork().samples(2, length=9, seed=4)[0].text == session.generate(length=9, seed=4)
    with pytest.raises(SessionError, match="that learns"):
        model.session().rewind(mark)
    with pytest.raises(SessionError, match="does not learn"):
        session.rewind(model.session().mark())
    with pytest.raises(SessionError, match="another model"):
        model_of(seed=7).session(dynamic=True).rewind(mark)


def test_a_saved_one_goes_on_as_it_would_have(model, tmp_path):
    for text in ("", TEXT):
        session = dynamic(model, text)
        session.save(tmp_path / "s")
        loaded = model.load_session(tmp_path / "s")
        assert loaded.learns
        assert loaded.read(TEXT).tolist() == session.read(TEXT).tolist()
        assert loaded.generate(length=30, seed=1) == session.generate(length=30, seed=1)
    session.adapted().save(tmp_path / "m.safetensors")
    assert same_weights(load(tmp_path / "m.safetensors").file.parameters, session.engine.model.parameters)
    with pytest.raises(SessionError, match="another model"):
        model_of(seed=7).load_session(tmp_path / "s")


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"head": {"dynamic": 3}}, "dynamic is 3, expected lr and segments"),
        ({"head": {"dynamic": {"lr": -1, "segments": 1}}}, "expected lr and segments"),
        ({"head": {"dynamic": {"lr": float("nan"), "segments": 1}}}, "expected lr and segments"),
        ({"drop": "weights.output.bias"}, "tensor weights.output.bias is missing"),
        ({"drop": "optimizer.exp_avg_sq.output.bias"}, "tensor optimizer.exp_avg_sq.output.bias is missing"),
        ({"fill": ("weights.output.bias", np.nan)}, "weights.output.bias holds what is not a number"),
        ({"fill": ("optimizer.exp_avg_sq.output.bias", -1)}, "remembers is below 0"),
    ],
)
def test_a_damaged_file_is_named(change, said, tmp_path):
    from rhapsode.session import ENTRY
    from rhapsode.tensorfile import write

    model = model_of()
    head, tensors = dynamic(model)._contents()
    head |= change.get("head", {})
    tensors.pop(change.get("drop", ""), None)
    if "fill" in change:
        name, value = change["fill"]
        tensors[name] = np.full_like(tensors[name], value)
    write(tmp_path / "s", ENTRY, head, tensors)
    with pytest.raises(SessionError, match=said):
        model.load_session(tmp_path / "s")


def test_sessions_side_by_side_see_nothing_of_each_other():
    model = model_of()

    def work(number: int) -> tuple[list[float], str]:
        session = model.session(dynamic=number % 3 > 0)
        nats = session.read(verses(20, seed=number)).tolist() + session.read("the sea").tolist()
        return nats, session.generate(length=80, seed=number)

    alone = [work(number) for number in range(6)]
    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(work, range(6))) == alone


def test_an_int8_model_learns_in_fp32():
    plain = model_of()
    small = Model(plain.file.with_precision("int8"))
    session = dynamic(small)
    assert (small.engine.precision, session.engine.precision) == ("int8", "fp32")
    assert session.adapted().precision == "fp32"
    assert session.generate(length=20, seed=1)


def test_a_symbol_or_nothing_teaches_nothing(model):
    session, plain = model.session(dynamic=True), model.session()
    for text in ("", "t", "h", "e"):
        assert session.read(text).tolist() == plain.read(text).tolist()
    assert session.generate(length=20, seed=1) == plain.generate(length=20, seed=1)


def test_what_does_not_fit_is_one_line():
    one, other = model_of(), model_of(seed=1)
    with pytest.raises(ConfigError, match="dynamic: found True, allowed: with one model"):
        blend([one, other]).session(dynamic=True)
    for lr in (-1.0, float("nan"), "fast"):
        with pytest.raises(ConfigError, match=r"dynamic_lr: found .*, allowed: at least 0"):
            one.session(dynamic=True, dynamic_lr=lr)
    with pytest.raises(ConfigError, match=r"dynamic_lr: found 0\.1, allowed: only with dynamic"):
        one.session(dynamic_lr=0.1)


def test_a_label_is_decided_and_kept():
    model = Model(random_model(char_tokenizer(LETTERS, labels=("a", "the sea")), scale=0.5))
    for label in ("a", None):
        session = model.session(TEXT[:60], label, dynamic=True)
        assert session.label == (label or model.session(TEXT[:60]).label)
