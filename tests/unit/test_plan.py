"""The plan chooses what was not named, never what was, and says why."""

import pytest

from rhapsode.config import ELEMENTWISE
from rhapsode.errors import ConfigError
from rhapsode.text.batches import make_batches
from rhapsode.training.plan import (
    DEFAULT_MINUTES,
    FAST_DROPOUT,
    LITTLE_BATCH,
    LITTLE_LR,
    LITTLE_PASSES,
    LITTLE_STEPS,
    OUTPUT_LR,
    OUTPUT_SYMBOLS,
    STREAM_STEPS,
    make_plan,
)
from rhapsode.training.validation import validation_interval
from texts import small_corpus, verses


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    return small_corpus(tmp_path_factory.mktemp("corpus"), verses(6000))


def plan(corpus, speed=30_000.0, **fields):
    names = ("cell", "hidden", "tied", "layers", "norm", "dropout_output", "input")
    model = {k: v for k, v in fields.items() if k in names}
    train = {k: v for k, v in fields.items() if k not in model}
    return make_plan(corpus, model, train, lambda *_: speed)


def test_without_a_budget_it_takes_a_minute(corpus):
    assert plan(corpus).train.minutes == DEFAULT_MINUTES


def test_what_is_named_is_kept(corpus):
    made = plan(corpus, hidden=100, dropout_output=0.0, minutes=60, lr=0.5)
    assert (made.model.hidden, made.model.dropout_output, made.train.lr) == (100, 0.0, 0.5)
    assert not {"hidden", "dropout_output", "lr"} & {choice.name for choice in made.choices}


def test_more_time_means_a_larger_network_and_more_dropout(corpus):
    plans = [plan(corpus, minutes=minutes) for minutes in (0.1, 0.7, 2.5)]
    assert [p.model.hidden for p in plans] == [256, 384, 512]
    assert [p.train.lr for p in plans] == sorted((p.train.lr for p in plans), reverse=True)
    assert plan(corpus, epochs=1).model.dropout_output == 0
    assert 0.25 < plan(corpus, epochs=14, output_lr=1.0).model.dropout_output < 0.35
    assert plan(corpus, epochs=1000, output_lr=1.0).model.dropout_output == 0.5
    for epochs in (14, 1000):
        slow, fast = (plan(corpus, epochs=epochs, output_lr=lr).model.dropout_output for lr in (1.0, OUTPUT_LR))
        assert fast == pytest.approx(FAST_DROPOUT * slow, abs=0.01)


def test_large_corpora_are_read_in_more_streams(corpus, monkeypatch):
    """Where each is still long, and where there is time for steps enough; and not where steps are counted."""
    symbols = corpus.train.predictions
    for streams, size in ((129, 128), (127, 64), (65, 64), (63, 32)):
        monkeypatch.setattr("rhapsode.training.plan.STREAM", symbols / streams)
        assert plan(corpus, speed=1e6, minutes=1).train.batch_size == size
    monkeypatch.setattr("rhapsode.training.plan.STREAM", 100)
    a_step = 64 * 64
    for steps, size in ((STREAM_STEPS / 2, 32), (1.1 * STREAM_STEPS, 64), (2.1 * STREAM_STEPS, 128)):
        assert plan(corpus, speed=steps * a_step / 60, minutes=1).train.batch_size == size
    assert plan(corpus, steps=100_000).train.batch_size == 32
    assert plan(corpus, speed=1e6, batches="windows").train.batch_size == 32
    assert plan(corpus, speed=1e6, batch_size=48).train.batch_size == 48


def test_weights_are_averaged_where_few_passes_are_expected(corpus):
    assert plan(corpus, epochs=2).train.averaging > 0
    assert plan(corpus, epochs=2, averaging=0.0).train.averaging == 0
    assert plan(corpus, epochs=14).train.averaging == 0
    assert make_plan(corpus, {}, {"epochs": 2}, lambda *_: 1e4, trained=True).train.averaging == 0


def test_every_choice_has_a_reason(corpus):
    made = plan(corpus, minutes=5)
    assert {"hidden", "lr", "dropout_output"} <= {choice.name for choice in made.choices}
    for name, value, reason in made.choices:
        assert (vars(made.model) | vars(made.train))[name] == value
        assert reason


def test_sharing_the_output_matrix_makes_the_widths_agree(corpus):
    made = plan(corpus, tied=True, minutes=1)
    assert made.model.input == "embedding"
    assert made.model.embedding_size == made.model.hidden


def test_lists_are_trained_as_documents(tmp_path):
    names = "".join(f"{name}\n" for name in verses(400).split())
    assert plan(small_corpus(tmp_path, names, documents="lines")).train.batches == "documents"


def test_dropout_of_lists_grows_with_what_is_learned_by_heart(tmp_path):
    lists = small_corpus(tmp_path, "".join(f"{name}\n" for name in verses(400).split()), documents="lines")
    assert plan(lists, epochs=20).train.dropout_gap > 0
    assert plan(lists, epochs=1).train.dropout_gap == 0
    assert plan(lists, epochs=20, dropout_output=0.3).train.dropout_gap == 0
    assert plan(lists, epochs=20, dropout_gap=0.5).train.dropout_gap == 0.5


def test_dropout_of_running_text_is_full(corpus):
    assert plan(corpus, epochs=20).train.dropout_gap == 0


def test_large_vocabularies_get_an_embedding(tmp_path):
    text = "".join(chr(0x4E00 + i) for i in range(3000))
    assert plan(small_corpus(tmp_path, text * 2, documents="whole")).model.input == "embedding"


def test_values_that_are_not_allowed_are_named(corpus):
    with pytest.raises(ConfigError, match="hidden"):
        plan(corpus, hidden=0, steps=1)


def test_no_dropconnect_where_there_is_no_recurrent_matrix(corpus):
    assert plan(corpus, epochs=100).model.dropconnect > 0
    assert plan(corpus, epochs=100, cell="mingru").model.dropconnect == 0


def test_little_text_gets_a_few_passes_small_batches_and_a_small_network(tmp_path):
    poem = small_corpus(tmp_path, verses(400))
    made = plan(poem)
    assert (made.train.minutes, made.train.epochs) == (None, LITTLE_PASSES)
    assert sum(choice.name in ("minutes", "epochs") for choice in made.choices) == 1
    assert (made.model.hidden, made.train.batch_size, made.train.lr) == (256, LITTLE_BATCH, LITTLE_LR)
    assert made.model.dropout_output > 0.3
    named = plan(poem, minutes=0.2)
    assert (named.train.minutes, named.train.epochs, named.model.hidden) == (0.2, None, 256)


def test_next_to_no_text_gets_as_many_passes_as_make_enough_steps(tmp_path):
    lines = small_corpus(tmp_path, verses(20))
    made = plan(lines)
    assert make_batches(lines.train, made.train).steps_per_epoch == 1
    assert made.train.epochs == LITTLE_STEPS


def test_minutes_named_for_little_text_go_to_several_networks(tmp_path):
    made = plan(small_corpus(tmp_path, verses(200)), minutes=3)
    assert (made.train.networks, made.model.hidden, made.train.lr) == (4, 1024, LITTLE_LR)
    assert made.train.batch_size == LITTLE_BATCH


def test_networks_named_for_little_text_have_units_of_their_own(tmp_path):
    made = plan(small_corpus(tmp_path, verses(200)), networks=3)
    assert (made.train.networks, made.model.hidden) == (3, 3 * 256)
    with pytest.raises(ConfigError, match="networks: found 2, allowed: 1 with norm rms"):
        plan(small_corpus(tmp_path, verses(200)), networks=2, cell="rglru")


def test_validations_are_few_where_the_last_weights_are_the_best(corpus):
    often, seldom = plan(corpus, epochs=20), plan(corpus, epochs=1)
    assert often.train.validate_every == 0  # 5 % of the time
    batches = make_batches(corpus.train, seldom.train)
    assert seldom.train.validate_every == pytest.approx(5 * validation_interval(batches, corpus.held_out), abs=5)
    assert plan(corpus, epochs=1, patience=3).train.validate_every == 0
    assert plan(corpus, epochs=1, validate_every=7).train.validate_every == 7


@pytest.mark.parametrize("cell", sorted(ELEMENTWISE))
def test_a_cell_without_a_recurrent_matrix_gets_depth(corpus, cell):
    made = plan(corpus, cell=cell, minutes=1).model
    assert (made.layers, made.residual, made.norm, made.conv) == (2, True, "rms", 4)
    assert plan(corpus, cell=cell, layers=3, minutes=1).model.layers == 3
    assert plan(corpus, cell="gru", minutes=1).model.layers == 1


def test_the_mogrifier_gets_a_lower_rate_and_more_decay(corpus):
    usual, made = plan(corpus, minutes=1).train, plan(corpus, cell="mogrifier", minutes=1).train
    assert (made.lr, made.weight_decay) == (usual.lr / 2, 0.1)
    assert plan(corpus, cell="mogrifier", lr=0.01).train.lr == 0.01


def test_the_multiplicative_lstm_gets_a_lower_rate_and_more_decay(corpus):
    usual, made = plan(corpus, minutes=1).train, plan(corpus, cell="mlstm", minutes=1)
    assert made.train.lr == usual.lr / 2
    assert made.train.weight_decay > usual.weight_decay
    assert any(choice.name == "lr" and "mlstm" in choice.reason for choice in made.choices)
    assert plan(corpus, cell="mlstm", hidden=100, minutes=1).train.lr == plan(corpus, hidden=100).train.lr / 2
    named = plan(corpus, cell="mlstm", lr=0.01, weight_decay=0.0, minutes=1).train
    assert (named.lr, named.weight_decay) == (0.01, 0.0)
    assert plan(corpus, cell="mlstm", optimizer="adam").train.weight_decay == usual.weight_decay


def test_much_time_is_for_several_networks(tmp_path, corpus):
    """Not where the text is to be read so and so often, the structure is named, or a trained model goes on."""
    long = small_corpus(tmp_path, verses(24_000))
    assert len(corpus.train.tokens) < 3e5 < len(long.train.tokens)
    for text, speed, networks, widths in (
        (corpus, 100_000.0, [1, 2, 3, 3], [2 * 256, 3 * 256, 3 * 256]),
        (long, 200_000.0, [1, 2, 3, 3], [2 * 384, 3 * 384, 3 * 512]),
    ):
        plans = [plan(text, minutes=minutes, speed=speed) for minutes in (0.5, 2, 5, 10)]
        assert [p.train.networks for p in plans] == networks
        assert [p.model.hidden for p in plans][1:] == widths
        assert plans[2].model.dropout_output > 0.2
    assert plan(corpus, speed=100_000.0, minutes=10, batches="documents").train.networks == 3
    for named in ({"hidden": 512}, {"cell": "sru"}):
        assert plan(corpus, speed=100_000.0, minutes=10, **named).train.networks == 1
    assert plan(corpus, speed=100_000.0, epochs=300).train.networks == 1
    assert make_plan(corpus, {}, {"minutes": 10}, lambda *_: 1e5, trained=True).train.networks == 1
    named = plan(corpus, networks=4, minutes=1)
    assert (named.train.networks, named.model.hidden) == (4, 4 * 256)
    with pytest.raises(ConfigError, match="hidden"):
        plan(corpus, networks=4, hidden=511)


def test_the_output_layer_learns_faster_where_each_symbol_is_often_seen(tmp_path, corpus):
    assert len(corpus.train.tokens) >= OUTPUT_SYMBOLS * corpus.tokenizer.vocab_size
    assert plan(corpus).train.output_lr == OUTPUT_LR
    for text, named in (
        (small_corpus(tmp_path, verses(200)), {}),
        (corpus, {"norm": "rms"}),
        (corpus, {"cell": "sru"}),
        (corpus, {"optimizer": "adam"}),
    ):
        assert plan(text, **named).train.output_lr == 1
    assert plan(corpus, output_lr=2.0).train.output_lr == 2
