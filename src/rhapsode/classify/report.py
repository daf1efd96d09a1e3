"""How good a classifier is on sequences whose classes are known."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rhapsode.figures import figure

Label = str | int


@dataclass(frozen=True)
class Report:
    """What came out for N sequences."""

    labels: tuple[Label, ...]
    """the C classes"""
    confusion: np.ndarray
    """[C, C]: how many sequences of the class of a row were taken for the class of a column"""
    nats: float
    """mean of -log p(true class), natural logarithm"""

    @classmethod
    def of(cls, labels: Sequence[Label], probabilities: np.ndarray, classes: np.ndarray) -> Report:
        """From probabilities [N, C] and true classes [N], N ≥ 1."""
        confusion = np.zeros((len(labels), len(labels)), np.int64)
        np.add.at(confusion, (classes, probabilities.argmax(1)), 1)
        chosen = probabilities[np.arange(len(classes)), classes]
        return cls(tuple(labels), confusion, float(-np.log(np.maximum(chosen, 1e-300)).mean()))

    @property
    def count(self) -> int:
        """N."""
        return int(self.confusion.sum())

    @property
    def accuracy(self) -> float:
        """The part that was classified rightly."""
        return float(self.confusion.trace() / self.count)

    @property
    def majority(self) -> float:
        """The accuracy of always naming the most frequent class."""
        return float(self.confusion.sum(1).max() / self.count)

    @property
    def precision(self) -> np.ndarray:
        """[C]: of the sequences that were taken for a class, the part that is of it (nan where there are none)."""
        return _ratio(self.confusion.diagonal(), self.confusion.sum(0))

    @property
    def recall(self) -> np.ndarray:
        """[C]: of the sequences of a class, the part that was taken for it (nan where there are none)."""
        return _ratio(self.confusion.diagonal(), self.confusion.sum(1))

    def to_json(self) -> dict[str, Any]:
        """All figures; what is not a number is null."""
        return {
            "count": self.count,
            "accuracy": self.accuracy,
            "majority": self.majority,
            "nats": self.nats,
            "labels": list(self.labels),
            "precision": _or_null(self.precision),
            "recall": _or_null(self.recall),
            "confusion": self.confusion.tolist(),
        }

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Report:
        """The report that `to_json` described."""
        return cls(tuple(value["labels"]), np.array(value["confusion"], np.int64), value["nats"])

    def __str__(self) -> str:
        """The figures as a table for people: a row for each true class, with what its sequences were taken for."""
        names = [str(label) for label in self.labels]
        width = max(6, *map(len, names), len(str(self.count)))
        titles = ["recall", *names, "of all"]
        rows = [
            [name, _percent(recall), *map(str, counts), str(counts.sum())]
            for name, recall, counts in zip(names, self.recall, self.confusion, strict=True)
        ]
        rows.append(["precision", "", *map(_percent, self.precision), ""])
        lines = [["", *titles], *rows]
        first = max(9, width)
        table = ["  ".join([f"{row[0]:<{first}}", *(f"{cell:>{width}}" for cell in row[1:])]).rstrip() for row in lines]
        head = (
            f"accuracy {self.accuracy:.4f} on {self.count:,}, {figure(self.nats)} nats each; "
            f"{self.majority:.4f} by always naming the commonest class"
        )
        return "\n".join([head, *table])


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.full(len(whole), np.nan), where=whole > 0)


def _percent(part: float) -> str:
    return "-" if np.isnan(part) else f"{100 * part:.1f}%"


def _or_null(values: np.ndarray) -> list[float | None]:
    return [None if np.isnan(value) else float(value) for value in values]
