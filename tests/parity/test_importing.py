"""Networks of other libraries predict the same as models of rhapsode; what cannot be imported is one clear line."""

import json
import pathlib
import re
import zipfile

import numpy as np
import pytest

from rhapsode.cli.main import main
from rhapsode.engine import Engine, open_engine
from rhapsode.errors import SourceError
from rhapsode.importing import import_model
from rhapsode.model import load

LETTERS = "\n abcdeg"


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "letters.json").write_text(json.dumps(list(LETTERS)))
    return tmp_path


def same(model, expected, ids, symbols=LETTERS):
    """The model's probabilities after the ids [T] are those of the library, [T, V] or [V], for each symbol."""
    tokenizer = model.tokenizer
    own = np.array([tokenizer.encode(symbol)[0] for symbol in symbols])
    for engine in (Engine(model), open_engine(model, "fp32")):
        logits, _ = engine.read(own[ids][:, None].astype(np.int32), engine.initial_state(1))
        logits = logits[:, 0].astype(np.float64)
        found = np.exp(logits - logits.max(-1, keepdims=True))
        found = (found / found.sum(-1, keepdims=True))[..., own]
        np.testing.assert_allclose(found if expected.ndim == 2 else found[-1], expected, atol=1e-5)


# PyTorch


def torch_network(kind, width=5, hidden=7, layers=2, embedding=True, **settings):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    V = len(LETTERS)
    parts = {"rnn": getattr(torch.nn, kind)(width if embedding else V, hidden, layers, **settings)}
    parts |= {"decoder": torch.nn.Linear(hidden, V)} | ({"encoder": torch.nn.Embedding(V, width)} if embedding else {})
    return torch.nn.ModuleDict(parts)


def torch_probabilities(network, ids):
    import torch

    with torch.no_grad():
        x = torch.tensor(ids)
        x = network["encoder"](x) if "encoder" in network else torch.nn.functional.one_hot(x, len(LETTERS)).float()
        return torch.softmax(network["decoder"](network["rnn"](x[:, None])[0][:, 0]).double(), -1).numpy()


def saved(network, **changed):
    from safetensors.torch import save_file

    state = {name: tensor.clone() for name, tensor in network.state_dict().items()} | changed
    save_file({name: tensor for name, tensor in state.items() if tensor is not None}, "net.safetensors")
    return "net.safetensors"


@pytest.mark.parametrize("kind", ["RNN", "GRU", "LSTM"])
@pytest.mark.parametrize("embedding", [True, False])
@pytest.mark.parametrize("bias", [True, False])
def test_pytorch(place, kind, embedding, bias):
    network = torch_network(kind, embedding=embedding, bias=bias)
    ids = np.random.default_rng(0).integers(0, len(LETTERS), 30)
    same(import_model(saved(network), "letters.json"), torch_probabilities(network, ids), ids)


def test_pytorch_relu_and_shared_weights(place):
    network = torch_network("RNN", nonlinearity="relu", width=7)
    network["encoder"].weight = network["decoder"].weight
    path = saved(network, **{"encoder.weight": None})
    ids = np.arange(len(LETTERS))
    same(import_model(path, "letters.json", nonlinearity="relu"), torch_probabilities(network, ids), ids)


def test_what_pytorch_can_and_rhapsode_cannot_is_named(place):
    import torch

    with pytest.raises(SourceError, match="weight_hh_l0_reverse: no bidirectional"):
        import_model(saved(torch_network("LSTM", bidirectional=True)), "letters.json")
    with pytest.raises(SourceError, match="weight_hr_l0: no bidirectional or projecting"):
        import_model(saved(torch_network("LSTM", proj_size=3)), "letters.json")
    with pytest.raises(SourceError, match=r"0 matrices \[V, 7\]"):
        import_model(saved(torch_network("LSTM"), **{"decoder.weight": None}), "letters.json")
    with pytest.raises(SourceError, match=r"no embedding \[8, 5\]"):
        import_model(saved(torch_network("LSTM"), **{"encoder.weight": None}), "letters.json")
    with pytest.raises(SourceError, match="0 recurrent modules"):
        import_model(saved(torch.nn.Linear(3, 3)), "letters.json")
    with pytest.raises(SourceError, match=r"a pickle can run code .*, 'net.safetensors'\)"):
        import_model("net.pt", "letters.json")
    with pytest.raises(SourceError, match=r"none\.h5: no such file"):
        import_model("none.h5", "letters.json")
    (place / "net.safetensors").write_bytes(b"no")
    with pytest.raises(SourceError, match="not a whole safetensors file"):
        import_model("net.safetensors", "letters.json")
    with pytest.raises(SourceError, match=r"expected a file that ends in .keras, .h5, .hdf5, .safetensors"):
        import_model("net.onnx", "letters.json")


@pytest.mark.parametrize(
    ("name", "changed", "says"),
    [
        ("rnn.weight_ih_l0", lambda t: t[:-1], r"rnn.weight_ih_l0 is \[27, 5\], expected \[28, any\]"),
        ("rnn.weight_ih_l1", lambda t: t[:, :-1], r"rnn.weight_ih_l1 is \[28, 6\], expected \[28, 7\]"),
        ("rnn.weight_hh_l0", lambda t: t[None], "rnn. is no nn.RNN, nn.GRU or nn.LSTM"),
        ("rnn.bias_ih_l0", lambda t: t[:0], r"rnn.bias_ih_l0 is \[0\], expected \[28\]"),
        ("rnn.bias_hh_l1", lambda t: None, "rnn.bias_hh_l1 is missing"),
        ("rnn.weight_hh_l0", lambda t: None, "rnn. is no nn.RNN"),
        ("rnn.weight_hh_l1", lambda t: t * float("nan"), "rnn.weight_hh_l1 has values that are no finite numbers"),
        ("decoder.bias", lambda t: t[:3], r"decoder.bias is \[3\], expected \[8\]"),
        ("decoder.weight", lambda t: t.int(), "decoder.weight is I32, expected F16, BF16, F32, F64"),
        ("norm.weight", lambda t: t[0, :5], "norm.weight belongs to no layer that can be imported"),
        ("rnn.bias_ih_l2", lambda t: t[:, 0], "rnn.bias_ih_l2 belongs to no layer"),
    ],
)
def test_tensors_that_do_not_fit_are_named(place, name, changed, says):
    network = torch_network("LSTM")
    tensor = changed(network.state_dict().get(name, network.state_dict()["rnn.weight_hh_l0"]))
    with pytest.raises(SourceError, match=says):
        import_model(saved(network, **{name: None if tensor is None else tensor.contiguous()}), "letters.json")


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "float64"])
def test_pytorch_in_other_precisions(place, kind):
    import torch

    network = torch_network("GRU").to(getattr(torch, kind)).double()
    ids = np.arange(len(LETTERS))
    state = {name: tensor.to(getattr(torch, kind)) for name, tensor in network.state_dict().items()}
    expected = torch_probabilities(network, ids)
    same(import_model(saved(network, **state), "letters.json"), expected, ids)


# Vocabularies


@pytest.mark.parametrize(
    "vocabulary",
    [
        json.dumps(list("gdcba e\n")),
        json.dumps({symbol: id for id, symbol in enumerate("gdcba e\n")}),
        json.dumps({str(id): symbol for id, symbol in enumerate("gdcba e\n")}),
    ],
)
def test_symbols_in_any_order(place, vocabulary):
    """Ids go by what they stand for."""
    (place / "letters.json").write_text(vocabulary)
    network = torch_network("LSTM")
    ids = np.array([3, 1, 4, 1, 5])
    same(import_model(saved(network), "letters.json"), torch_probabilities(network, ids), ids, "gdcba e\n")


def test_ids_without_text_become_the_symbols_that_are_none(place):
    """As Keras' Tokenizer counts: from 1 on, with an unknown word."""
    words = {"<OOV>": 1, " the": 2, " sea": 3, "The": 4, ".": 5, "\n": 6, " wine": 7}
    (place / "words.json").write_text(json.dumps(words))
    network = torch_network("GRU")
    model = import_model(saved(network), "words.json")
    assert (model.tokenizer.kind, model.config.vocab_size) == ("word", 8)
    ids = model.tokenizer.encode("The sea, the wine.\n")
    back = [*[*words.values()][1:], 0, 1]
    engine = Engine(model)
    logits, _ = engine.read(ids[:, None], engine.initial_state(1))
    p = np.exp(logits[:, 0] - np.logaddexp.reduce(logits[:, 0], -1, keepdims=True))
    expected = torch_probabilities(network, np.array(back)[ids])
    np.testing.assert_allclose(p, expected[:, back], atol=1e-5)


WORD_INDEX = {"<OOV>": 1, "the": 2, "sea": 3, "it's": 4, "1½": 5, "wine": 6, "dark": 7, "rare": 8, "words": 9}
"""Of Keras' Tokenizer, of which the network has all below 8."""


@pytest.mark.parametrize(
    "vocabulary",
    [
        WORD_INDEX,
        {id: word for word, id in WORD_INDEX.items()},
        ["", *list(WORD_INDEX)[:7]],
        {
            "class_name": "Tokenizer",
            "config": {
                "oov_token": "the unknown",
                "word_index": json.dumps({"the unknown": 1} | {w: i for w, i in WORD_INDEX.items() if i > 1}),
            },
        },
    ],
)
def test_words_without_spaces_are_set_apart_by_spaces(place, vocabulary):
    (place / "words.json").write_text(json.dumps(vocabulary))
    network = torch_network("GRU")
    import_model(saved(network), "words.json").save("words.safetensors")
    model = load("words.safetensors")
    assert model.unknown("A RARE sea") == ["a", "rare"]
    text, ids = "The (dark) sea--\n\t it's rare: 1½ wine!\n", np.array([2, 7, 3, 4, 1, 5, 6])
    same(
        model.file, torch_probabilities(network, ids)[:, [1, *range(1, 8)]], ids, ["rare", "rare", *[*WORD_INDEX][1:7]]
    )
    written = "".join(model.generate("The sea", length=20, seed=seed) for seed in range(9))
    assert re.fullmatch(rf"( ({'|'.join(WORD_INDEX)}))+", written)
    assert model.score(text).chars == len(" the dark sea it's rare 1½ wine")


@pytest.mark.parametrize(
    ("vocabulary", "says"),
    [
        ('["a", "b"', "not JSON"),
        ('["ab", "b"]', "6 ids have no text"),
        ('["a b", "b", "c", "d", "e", "f", "g", "h"]', "symbol 'a b' is no character, and no word"),
        ('["a", "b", "c", "d", "e", "f", "g", "h", "i"]', "symbol 'i' has id 8; the network has ids 0 to 7"),
        ('["a", "a", "c", "d", "e", "f", "g", "h"]', "symbol 'a' has two ids"),
        ('{"a": 0, "b": 0}', "id 0 stands for 'a' and for 'b'"),
        ('{"a": "b"}', "expected a list of symbols"),
        ("3", "have no text"),
        ('["a", "b"]', r"6 ids have no text \(2, 3, 4, 5, 6\)"),
        ('["a", 3]', "expected a list of symbols"),
        (r'["a", "\ud800"]', "expected a list of symbols"),
        (json.dumps({symbol: id for id, symbol in enumerate("abcdefghi")}), "symbol 'i' has id 8"),
        (json.dumps({"config": {"oov_token": None, "word_index": "{"}}), "expected a list of symbols"),
    ],
)
def test_a_vocabulary_that_does_not_fit_is_one_line(place, vocabulary, says):
    (place / "letters.json").write_text(vocabulary)
    with pytest.raises(SourceError, match=says):
        import_model(saved(torch_network("LSTM")), "letters.json")


def test_the_command(place, capsys):
    assert main(["import", saved(torch_network("LSTM")), "--vocabulary", "letters.json", "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["config"]["cell"] == "lstm"
    assert len(load(told["model"]).generate("a", length=20, seed=1)) == 20
    assert main(["import", "net.safetensors"]) == 2
    assert "--vocabulary is missing" in capsys.readouterr().err
    assert main(["import", "none.safetensors", "--vocabulary", "letters.json"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


# Keras

keras_test = pytest.mark.slow


@pytest.fixture
def keras(place, monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setenv("KERAS_BACKEND", "torch")
    keras = pytest.importorskip("keras", reason="real Keras, which make test-all installs")
    keras.utils.set_random_seed(0)
    return keras


def layers_of(keras, names):
    make = keras.layers
    kinds = {
        "one-hot": lambda: keras.Input((6, len(LETTERS))),
        "scalar": lambda: keras.Input((6, 1)),
        "ids": lambda: keras.Input((6,)),
        "embedding": lambda: make.Embedding(len(LETTERS), 5),
        "lstm": lambda: make.LSTM(9, return_sequences=True, bias_initializer="random_normal"),
        "narrow": lambda: make.LSTM(4, return_sequences=True, use_bias=False),
        "last": lambda: make.LSTM(9),
        "gru": lambda: make.GRU(9, return_sequences=True, bias_initializer="random_normal"),
        "rnn": lambda: make.SimpleRNN(9, return_sequences=True, bias_initializer="random_normal"),
        "relu": lambda: make.SimpleRNN(9, return_sequences=True, activation="relu"),
        "dropout": lambda: make.Dropout(0.2),
        "dense": lambda: make.Dense(len(LETTERS), activation="softmax", bias_initializer="random_normal"),
        "logits": lambda: make.Dense(len(LETTERS)),
        "softmax": lambda: make.Activation("softmax"),
        "distributed": lambda: make.TimeDistributed(make.Dense(len(LETTERS), activation="softmax")),
        "bidirectional": lambda: make.Bidirectional(make.LSTM(9)),
        "reset": lambda: make.GRU(9, reset_after=False),
        "hard": lambda: make.LSTM(9, recurrent_activation="hard_sigmoid"),
    }
    return keras.Sequential([kinds[name]() for name in names.split()])


@keras_test
@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    "names",
    [
        "ids embedding lstm dropout narrow dropout dense",
        "ids embedding gru gru distributed",
        "one-hot lstm last dense",
        "one-hot rnn logits softmax",
        "one-hot relu dense",
        "scalar narrow dropout lstm dropout dense",
    ],
)
def test_keras(keras, names, suffix):
    model, ids = layers_of(keras, names), np.array([3, 1, 4, 1, 5, 7])
    model.save(f"net{suffix}")
    x = ids if names.startswith("ids") else np.eye(8)[ids] if names.startswith("one-hot") else ids[:, None] / 8
    expected = model.predict(x[None].astype(np.float32), verbose=0)[0]
    same(import_model(f"net{suffix}", "letters.json"), expected, ids)


@keras_test
@pytest.mark.parametrize("oov", [None, "<oov>"])
def test_keras_words(keras, oov):
    """From raw text on: Keras' own Tokenizer, with fewer words than the text has, and its word_index as a file."""
    tokenizers = pytest.importorskip("keras.src.legacy.preprocessing.text", reason="Keras' Tokenizer is gone")
    tokenizer = tokenizers.Tokenizer(num_words=9, oov_token=oov)
    known = "The dark sea, the (wine) sea! It's the \"dark\" ship;\tthe well-known sea.\nIt's here: sea, the wine.\n"
    tokenizer.fit_on_texts([known + "it's dark here, wine rare"])
    make = keras.layers
    network = keras.Sequential(
        [make.Embedding(9, 5), make.LSTM(9), make.Dense(9, activation="softmax", bias_initializer="random_normal")]
    )
    for text in ("The dark", known.replace("ship", "wine").replace("well-known", "") * 2):
        (ids,) = tokenizer.texts_to_sequences([text])
        expected = network.predict(np.array([ids]), verbose=0)[0]
        network.save("words.keras")
        pathlib.Path("index.json").write_text(json.dumps(tokenizer.word_index))
        pathlib.Path("whole.json").write_text(tokenizer.to_json())
        for vocabulary in ("index.json", "whole.json"):
            model = import_model("words.keras", vocabulary)
            read = model.tokenizer.encode(text)
            engine = open_engine(model, "fp32")
            logits, _ = engine.read(read[:, None], engine.initial_state(1))
            p = np.exp(logits[-1, 0].astype(np.float64))
            words = [tokenizer.word_index[word.strip()] for word in model.tokenizer.words]
            np.testing.assert_allclose(p[: len(words)] / p.sum(), expected[words], atol=1e-5)
            assert len(read) == len(ids)


@keras_test
@pytest.mark.parametrize(
    ("names", "says"),
    [
        ("one-hot bidirectional dense", r"layer bidirectional\w* \(Bidirectional\): cannot be imported"),
        ("one-hot reset dense", "reset_after is false"),
        ("one-hot hard dense", "recurrent_activation is 'hard_sigmoid', allowed: sigmoid"),
        ("one-hot lstm gru dense", "expected recurrent layers of one kind"),
        ("one-hot lstm", "expected recurrent layers of one kind and a Dense"),
        ("one-hot lstm dense dense", "expected nothing after the Dense layer"),
    ],
)
def test_an_unsupported_layer_is_named(keras, names, says):
    layers_of(keras, names).save("net.keras")
    with pytest.raises(SourceError, match=says):
        import_model("net.keras", "letters.json")


def hand_made(changed):
    """An .h5 file as Keras writes it, of Embedding, GRU and Dense, with some of its arrays or settings others."""
    h5py = pytest.importorskip("h5py", reason="pip install 'rhapsode[keras]'")
    settings = {
        "embedding": ("Embedding", {}, [(8, 5)]),
        "gru": ("GRU", {"activation": "tanh", "recurrent_activation": "sigmoid", "reset_after": True}, []),
        "dense": ("Dense", {"activation": "softmax"}, [(9, 8), (8,)]),
    }
    settings["gru"][2].extend([(5, 27), (9, 27), (2, 27)])
    layers = []
    with h5py.File("net.h5", "w") as file:
        for name, (kind, own, shapes) in settings.items():
            layers.append({"class_name": kind, "config": {"name": name} | own | changed.get(name, {})})
            names = [f"{name}/{i}" for i in range(len(shapes))]
            for array, shape in zip(names, shapes, strict=True):
                file[f"model_weights/{name}/{array}"] = changed.get(array, np.full(shape, 0.1, np.float32))
            file[f"model_weights/{name}"].attrs["weight_names"] = names
        file.attrs["model_config"] = json.dumps({"class_name": "Sequential", "config": {"layers": layers}})
    return "net.h5"


def test_a_hand_made_keras_file(place):
    assert import_model(hand_made({}), "letters.json").config.cell == "gru"


@pytest.mark.parametrize(
    ("name", "value", "says"),
    [
        ("embedding/0", np.ones((8, 4), np.float32), r"layer gru \(GRU\): its kernel is \[5, 27\], expected \[4, 27\]"),
        ("embedding/0", np.ones((7, 5), np.float32), "reads 7 symbols and predicts 8"),
        ("embedding", {"mask_zero": True}, "mask_zero is true"),
        ("gru/0", np.ones((5, 26), np.float32), r"its kernel is \[5, 26\], expected \[5, 27\]"),
        ("gru/1", np.float32(1), r"its kernel is \[5, 27\], expected \[5, 0\]"),
        ("gru/1", np.full((9, 27), np.nan), "its recurrent kernel has values that are no finite numbers"),
        ("gru/2", np.ones(27, np.float32), r"its bias is \[27\], expected \[2, 27\]"),
        ("gru", {"use_bias": False}, r"layer gru \(GRU\): 3 weights, expected 2"),
        ("dense/0", np.array([b"x"]), r"its kernel is \[1\], expected \[9, any\]"),
        ("dense/1", np.array([b"x"] * 8), "its bias has values that are no finite numbers"),
    ],
)
def test_keras_weights_that_do_not_fit_are_named(place, name, value, says):
    with pytest.raises(SourceError, match=says):
        import_model(hand_made({name: value}), "letters.json")


@keras_test
def test_damaged_keras_files(keras, place):
    layers_of(keras, "one-hot lstm dense").save("net.keras")
    whole = (place / "net.keras").read_bytes()
    for damaged in (b"", b"PK", whole[:900], whole[: len(whole) // 2]):
        (place / "net.keras").write_bytes(damaged)
        with pytest.raises(SourceError, match="cannot be read as a whole model"):
            import_model("net.keras", "letters.json")
    with zipfile.ZipFile(pathlib.Path("net.keras"), "w") as archive:
        archive.writestr("config.json", json.dumps({"class_name": "Functional", "config": {}}))
        archive.writestr("model.weights.h5", "")
    with pytest.raises(SourceError, match=r"cannot be read|only Sequential"):
        import_model("net.keras", "letters.json")
    (place / "net.h5").write_bytes(b"no")
    with pytest.raises(SourceError, match="cannot be read"):
        import_model("net.h5", "letters.json")
