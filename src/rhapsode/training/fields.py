"""The fields that a run is asked for by name, sorted by the configuration that has them."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rhapsode.backends.choose import load_cell
from rhapsode.config import CorpusConfig, ModelConfig, TrainConfig
from rhapsode.errors import ConfigError

Groups = dict[type, dict[str, Any]]
"""Named fields by the class of their configuration."""


def split_fields(
    fields: Mapping[str, Any], configs: Sequence[type] = (CorpusConfig, ModelConfig, TrainConfig)
) -> Groups:
    """Sort named fields by the configuration that has them.

    Raises:
        ConfigError: none has it; names the nearest one that exists.
    """
    groups: Groups = {cls: {} for cls in configs}
    owners = {f.name: cls for cls in configs for f in dataclasses.fields(cls) if not f.metadata["derived"]}
    for name, value in fields.items():
        if name not in owners:
            near = difflib.get_close_matches(name, owners, 1)
            raise ConfigError(name, value, f"only known fields{f'; did you mean {near[0]}?' if near else ''}")
        groups[owners[name]][name] = value
    return groups


def with_cell(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The fields, with the name of a cell of the user's own where its file was named, which is run."""
    cell = fields.get("cell")
    if isinstance(cell, str | Path) and Path(cell).suffix == ".py":
        return {**fields, "cell": load_cell(cell)}
    return {**fields}
