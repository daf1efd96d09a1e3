"""Held-out loss by seconds of training on this machine: rhapsode, nothing tuned, beside what else one could pick.

Every contestant learns from the same symbols and predicts the same held-out ones (`texts`); each gets the same seconds
of training, counted from its first step, with whatever it would have without a budget: reading the text and starting
is not counted, nor is its validation, except rhapsode's own. `contestants` says who they are. Before its figures count
each is checked: its losses against a second way to compute them, and the number of symbols it predicts.

    python -m benchmarks.quality --list                             what would be measured, in which order, how long
    python -m benchmarks.quality --results quality.jsonl --minutes 60       the same again goes on where it stopped
    python -m benchmarks.quality --results quality.jsonl --contestant rhapsode --adapt      also mixed and learning
    python -m benchmarks.quality --results quality.jsonl --table benchmarks/quality_HARDWARE_DATE.md

The last one writes the tables, and beside them the plot as an .svg file, and measures nothing. A text may also be a
file of your own. Packages that a contestant or the plot needs are in the extra `peers`; without them a contestant is
left out, and that is said.
"""

from __future__ import annotations

import argparse
import multiprocessing
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from .contestants import ABOUT, missing
from .jobs import Job, Results, keep, measured, planned, read
from .texts import TEXTS

BUDGETS = (10.0, 60.0, 180.0, 600.0)


def main() -> None:
    args = _arguments()
    results = read(args.results)
    if args.table:
        from .report import write_report

        if not any("nats" in row for row in results.values()):
            sys.exit(f"--results: {args.results}: no results in it")
        write_report(results, args.table)
        return
    jobs = planned(_present(args.contestant), args.text, args.seconds, args.seed)
    left = [job for job in jobs if not _is_done(job, results, args.adapt)]
    print(f"{len(left)} of {len(jobs)} jobs are left: {sum(job.seconds for job in left) / 60:.0f} minutes of training")
    if args.list:
        print("\n".join(_words(job) for job in left))
    else:
        _measure(left, results, args)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("quality.jsonl"), help="file of the results")
    parser.add_argument("--contestant", nargs="+", default=list(ABOUT), choices=list(ABOUT))
    parser.add_argument("--text", nargs="+", default=list(TEXTS), help=f"{', '.join(TEXTS)}, or files")
    parser.add_argument("--seconds", nargs="+", type=float, default=BUDGETS, help="budgets of training")
    parser.add_argument("--seed", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--adapt", action="store_true", help="measure rhapsode's models mixed and learning, too")
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin nothing that would train for longer")
    parser.add_argument("--list", action="store_true", help="show what is left to measure, and measure nothing")
    parser.add_argument("--table", type=Path, metavar="FILE.md", help="write the results so far, and measure nothing")
    args = parser.parse_args()
    for text in args.text:
        if text not in TEXTS and not Path(text).is_file():
            parser.error(f"--text: {text}: no such file, and none of {', '.join(TEXTS)}")
    return args


def _present(contestants: Sequence[str]) -> list[str]:
    for name in contestants:
        if package := missing(name):
            print(f"{name} is left out: it needs {package}")
    return [name for name in contestants if not missing(name)]


def _is_done(job: Job, results: Results, adapt: bool) -> bool:
    if job not in results or "failed" in results[job]:
        return False
    return not adapt or job.contestant != "rhapsode" or "both" in results[job]["nats"]


def _measure(jobs: Sequence[Job], results: Results, args: argparse.Namespace) -> None:
    """Each in a process of its own; its result is written at once. One that fails is told of, and the others go on."""
    end, spawn = time.monotonic() + 60 * args.minutes, multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn, max_tasks_per_child=1) as pool:
        for job in jobs:
            if time.monotonic() + job.seconds > end:
                continue
            try:
                row = pool.submit(measured, job, args.adapt).result()
                _require_same_text(row, results)
            except Exception as error:
                row = {**job._asdict(), "failed": f"{type(error).__name__}: {error}"}
            results[job] = row
            keep(args.results, results)
            print(f"{_words(job)}: {_outcome(row)}", flush=True)


def _outcome(row: dict) -> str:
    return row.get("failed") or ", ".join(f"{way} {nats:.4f}" for way, nats in row["nats"].items())


def _require_same_text(row: dict, results: Results) -> None:
    """That it is the text the other results of its name are of, split in the same way."""
    others = [other for other in results.values() if other["text"] == row["text"] and "failed" not in other]
    if any((other["digest"], other["held_out"]) != (row["digest"], row["held_out"]) for other in others):
        raise ValueError(f"{row['text']} is not the text that the results so far are of; name another --results")


def _words(job: Job) -> str:
    return f"{job.text}, {job.contestant}" + (f", {job.seconds:g} s, seed {job.seed}" if job.seconds else "")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("stopped; the same command goes on")
