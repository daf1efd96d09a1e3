"""Dynamic evaluation: every symbol is predicted by weights that have not seen it, and the model stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

from models import char_tokenizer, random_model
from rhapsode.adaptation import DECAY_EVERY, SEGMENT
from rhapsode.analysis.dynamic import dynamic_predictions
from rhapsode.analysis.predictions import costs, predictions
from rhapsode.engine import Engine
from rhapsode.evaluate import Spans, evaluate, part_of, spans
from texts import verses

TEXT = verses(60)
TOKENIZER = char_tokenizer("".join(set(TEXT)))
BACKENDS = ["native", "torch"]
whole = part_of(TOKENIZER, [TEXT], closed=False)


def model_of(**fields):
    return random_model(TOKENIZER, scale=0.2, **fields)


def nats_of(model, tokens, spans, **options):
    found = dynamic_predictions(model, tokens, spans, **options)
    return np.concatenate([nats["network"] for _, nats in costs(found, tokens)])


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("mode", ["carried", "reset", "documents"])
def test_what_learns_nothing_is_evaluated_plainly(backend, mode):
    model = model_of(dropout=0.5, dropconnect=0.5, learned_state=True)
    part = part_of(TOKENIZER, TEXT.splitlines(), closed=True)
    context = 45 if mode == "reset" else None
    plain = evaluate(Engine(model), part, context=context, documents=mode == "documents")
    found = nats_of(model, part.tokens, spans(part, mode, context), lr=0.0, backend=backend)
    assert found.sum() == pytest.approx(plain.nats_total, rel=1e-5)


def test_plain_predictions_are_the_evaluation():
    model = model_of()
    found = costs(predictions(Engine(model), whole.tokens, spans(whole, "reset", 100)), whole.tokens)
    total = sum(nats["network"].sum() for _, nats in found)
    assert total == pytest.approx(evaluate(Engine(model), whole, context=100).nats_total, rel=1e-6)


@pytest.mark.parametrize("backend", BACKENDS)
def test_it_learns_and_the_model_does_not_change(backend):
    model = model_of()
    before = {name: value.copy() for name, value in model.parameters.items()}
    span = spans(whole, "carried")
    still, moved = (nats_of(model, whole.tokens, span, lr=lr, backend=backend) for lr in (0.0, 3e-3))
    assert moved.mean() < 0.95 * still.mean()
    np.testing.assert_allclose(moved[:SEGMENT], still[:SEGMENT], rtol=1e-6)
    for name, value in model.parameters.items():
        np.testing.assert_array_equal(value, before[name])


def test_the_backends_learn_the_same():
    tokens = whole.tokens[: SEGMENT * (DECAY_EVERY + 4)]
    span = Spans(np.array([0]), np.array([len(tokens) - 1]))
    native, torch = (nats_of(model_of(), tokens, span, lr=1e-3, backend=backend) for backend in BACKENDS)
    np.testing.assert_allclose(native, torch, rtol=2e-3)


def test_the_future_changes_no_past_cost():
    """By brute force: whatever is replaced from a place on, all costs before it are the same to the last bit."""
    model, one = model_of(), whole.tokens[: 3 * SEGMENT + 1].copy()
    span, rng = Spans(np.array([0]), np.array([len(one) - 1])), np.random.default_rng(0)
    a = nats_of(model, one, span, lr=3e-3)
    for cut in range(1, len(one)):
        other = np.append(one[:cut], rng.integers(0, TOKENIZER.vocab_size, len(one) - cut).astype(one.dtype))
        b = nats_of(model, other, span, lr=3e-3)
        np.testing.assert_array_equal(a[: cut - 1], b[: cut - 1])
        assert cut > len(one) - 4 or not np.array_equal(a[cut:], b[cut:])
