"""``python -m rhapsode.benchmark.worker``: the process of one side (`rhapsode.benchmark.contest.Side`)."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

from rhapsode.benchmark.task import Contestant, Entry, Task
from rhapsode.errors import ConfigError


def main() -> None:
    """Answer requests until there are no more."""
    contestants: dict[int, Contestant] = {}
    for line in sys.stdin:
        try:
            print(json.dumps(_answer(contestants, *json.loads(line))), flush=True)
        except BrokenPipeError:  # the parent has gone
            os._exit(1)


def _answer(contestants: dict[int, Contestant], what: str, *arguments: Any) -> dict[str, Any]:
    """The answer to a request, or what went wrong."""
    try:
        return {"answer": REQUESTS[what](contestants, *arguments)}
    except ConfigError as error:
        return {"setting": [error.option, error.found, error.allowed]}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}


def make_contestant(entry: Entry, task: Task) -> Contestant:
    """The contestant for this entry and task."""
    if task.work == "training":
        from rhapsode.benchmark import training

        if entry.backend == "native":
            return training.Trainer(task, entry.precision)
        from rhapsode.backends.torch import peer

        return peer.Trainer(task.model, training.random_ids(task), entry.precision == "bf16", entry.embedded)
    from rhapsode.benchmark import writing

    if entry.backend == "native":
        return writing.Writer(task, entry.precision)
    from rhapsode.backends.torch import peer

    return peer.Writer(task.model, task.batch_size, writing.probe_ids())


def timed(contestant: Contestant, seconds: float, cpu_time: bool) -> float:
    """Tokens a second over about `seconds`, at least one piece of work. One piece before is not counted, unless it
    takes longer than a turn."""
    clock = time.process_time if cpu_time else time.perf_counter
    begun = clock()
    tokens = contestant.work()
    if clock() - begun < seconds:
        tokens, begun = 0, clock()
    while clock() - begun < seconds:
        tokens += contestant.work()
    return tokens / (clock() - begun)


def _enter(contestants: dict[int, Contestant], number: int, entry: list[Any], task: dict[str, Any]) -> list[float]:
    contestants[number] = make_contestant(Entry(*entry), Task.from_json(task))
    return contestants[number].probe()


def _run(contestants: dict[int, Contestant], number: int, seconds: float, cpu_time: bool) -> float:
    return timed(contestants[number], seconds, cpu_time)


def _leave(contestants: dict[int, Contestant], number: int) -> None:
    del contestants[number]


def _machine(contestants: dict[int, Contestant]) -> dict[str, Any]:
    from rhapsode import _native

    return {"isa": _native.isa(), "threads": _native.threads(), "bf16": _native.supports_bf16()}


def _peak(contestants: dict[int, Contestant], precision: str) -> float:
    from rhapsode import _native

    return max(_native.measured_peak(precision, 0.05) for _ in range(8))


REQUESTS: dict[str, Callable[..., Any]] = {
    "enter": _enter,
    "run": _run,
    "leave": _leave,
    "machine": _machine,
    "peak": _peak,
}

if __name__ == "__main__":
    main()
