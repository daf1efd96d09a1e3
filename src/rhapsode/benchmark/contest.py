"""Contestants, the processes they work in, and their turns.

A side (the native core on one instruction set, or torch) is a process, so that the environment can hold it to
an instruction set and its threads disturb nobody else's. It holds any number of contestants. Parent and process speak
in lines of JSON: a request ``[what, ...]``, an answer.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Any

from rhapsode.benchmark import training, writing
from rhapsode.benchmark.task import Entry, Task
from rhapsode.errors import BenchmarkError, ConfigError

TURNS = 5
"""How often each contestant runs, at least, for a median."""
PAUSE = 0.03
"""Seconds after which threads that the contestant before has left spinning are asleep."""

TORCH_LIMITS = {
    "plain": {"ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"},
    "avx2": {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"},
    "avx512": {
        "ATEN_CPU_CAPABILITY": "avx512",
        "ONEDNN_MAX_CPU_ISA": "AVX512_CORE_VNNI",
        "MKL_ENABLE_INSTRUCTIONS": "AVX512",
    },
}
"""The variables that hold torch and its libraries to an instruction set; where there is no entry it may use all."""


class Side:
    """A process with contestants, by number. To be used in a `with` statement, which ends it.

    What goes wrong there is raised here: ConfigError for a setting of the environment, else BenchmarkError.

    Args:
        isa: the instruction set it is held to; None: what the environment says.
        threads: that it works with; None: as many as it takes by itself.
    """

    def __init__(self, backend: str, isa: str | None = None, threads: int | None = None):
        self.backend, self._count = backend, 0
        self._process = subprocess.Popen(
            [sys.executable, "-m", "rhapsode.benchmark.worker"],
            env=os.environ | _environment(backend, isa, threads),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            process_group=0,  # Ctrl-C is for the parent
        )

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *raised: object) -> None:
        self._process.kill()
        self._process.communicate()

    def enter(self, entry: Entry, task: Task) -> tuple[int, list[float]]:
        """Make a contestant; its number and what its probe shows."""
        self._count += 1
        return self._count, self._ask("enter", self._count, entry, task.to_json())

    def run(self, number: int, seconds: float, cpu_time: bool = False) -> float:
        """Tokens a second over about `seconds` of work; `cpu_time`: of the processor's time, all threads together."""
        time.sleep(PAUSE)
        return self._ask("run", number, seconds, cpu_time)

    def leave(self, number: int) -> None:
        """Forget a contestant."""
        self._ask("leave", number)

    def machine(self) -> dict[str, Any]:
        """What the native core works with: isa, threads, bf16 (whether it trains in it)."""
        return self._ask("machine")

    def peak(self, precision: str) -> float:
        """Floating-point operations a second of the native core doing nothing else, all threads together; the most of
        several tries."""
        return self._ask("peak", precision)

    def _ask(self, *request: object) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            answer = self._process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        said = json.loads(answer) if answer else {"error": "its process ended early"}
        if "setting" in said:
            raise ConfigError(*said["setting"])
        if "error" in said:
            raise BenchmarkError(f"{self.backend}: {said['error']}")
        return said["answer"]


def _environment(backend: str, isa: str | None, threads: int | None) -> dict[str, str]:
    count = {"RHAPSODE_THREADS": str(threads), "OMP_NUM_THREADS": str(threads)} if threads else {}
    if backend == "native":
        return count | ({"RHAPSODE_ISA": isa} if isa else {})
    return count | TORCH_LIMITS.get(isa or os.environ.get("RHAPSODE_ISA", ""), {})


def contest(
    task: Task, entries: Mapping[Entry, Side], turns: int = TURNS, seconds: float = 0.25, cpu_time: bool = False
) -> dict[Entry, float]:
    """The median speed of each entry, tokens a second, over `turns` turns of about `seconds`, all in turn.

    Raises:
        BenchmarkError: they do not compute the same.
    """
    numbers, probes = {}, {}
    for entry, side in entries.items():
        numbers[entry], probes[entry] = side.enter(entry, task)
    try:
        {"training": training, "writing": writing}[task.work].require_parity(task, probes)
        speeds: dict[Entry, list[float]] = {entry: [] for entry in entries}
        for _ in range(turns):
            for entry, side in entries.items():
                speeds[entry].append(side.run(numbers[entry], seconds, cpu_time))
    finally:
        for entry, side in entries.items():
            side.leave(numbers[entry])
    return {entry: statistics.median(found) for entry, found in speeds.items()}
