"""Reading the file of a session (`rhapsode.session` describes it)."""

from __future__ import annotations

from pathlib import Path

from rhapsode.engine import Engine
from rhapsode.errors import SessionError
from rhapsode.nn.spec import State
from rhapsode.position import RECENT, Position
from rhapsode.session import ENTRY, FORMAT, Session
from rhapsode.tensorfile import TensorFile


def load_session(engine: Engine, path: str | Path) -> Session:
    """The session that was saved to `path`, one that learns if that one did.

    Raises:
        SessionError: the file is missing, no session, damaged, or of another model.
    """
    file = TensorFile(path, ENTRY, "a session", SessionError)
    if file.head.get("format") != FORMAT:
        raise SessionError(f"{path}: format {file.head.get('format')!r} is not known; this version reads {FORMAT}")
    if file.head.get("model") != engine.digest:
        raise SessionError(f"{path}: a session of another model")
    position = _position(engine, file)
    if "dynamic" not in file.head:
        return Session(engine, position)
    from rhapsode.dynamic_session import restored

    return restored(engine, position, file)


def _position(engine: Engine, file: TensorFile) -> Position:
    """The position that the file holds, if it is one of the model."""
    V = engine.tokenizer.vocab_size
    state = State(
        tuple(
            type(layer)(
                *(file.finite(f"layers.{number}.{field}", getattr(layer, field).shape) for field in layer._fields)
            )
            for number, layer in enumerate(engine.initial_state(1).layers)
        )
    )
    recent = file.tensor("recent", (None,), "I32")
    if len(recent) > RECENT or (len(recent) and not 0 <= recent.min() <= recent.max() < V):
        raise SessionError(f"{file.path}: its recent symbols are none of the model's")
    try:
        pending = bytes.fromhex(file.head["pending"])
    except (KeyError, TypeError, ValueError):
        raise SessionError(f"{file.path}: pending is {file.head.get('pending')!r}, expected hexadecimal") from None
    return Position(state, file.finite("logits", (V,)), recent, pending)
