"""Scores of three trackers of steps over time on known change points: asv's, Apache Otava's, and this project's.

Run as ``python -m benchmarks.trackers OTAVA_PYTHON [HISTORIES]``. Apache Otava pins numpy and installs cloud clients,
so it runs in its own environment, whose interpreter is the argument (``pip install apache-otava otava-test-data``). It
receives series as JSON and returns places.

Two kinds of data: the series of ``otava-test-data`` (50 runs, normal noise of 2 and 5 % of the level, new for each
seed), and histories as this project records them (25 reads in 4 formats, 30 runs, on a machine that drifts and is
disturbed; see `benchmarks.step_power`). A change point is found if a tracker names a place at most 2 runs away. All
three ignore changes of less than 5 %. A change of variance or phase, or an outlier, is not a change of level: naming
one is a false alarm.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from benchmarks.step_power import AFTER, CELLS, noisy_logs, series_of
from harness.extensions.history.changepoint import find_changes
from harness.extensions.history.steps import find_steps

NEAR = 2
LEAST = 0.05
SEEDS = 10
LENGTH = 50

_OTAVA = """
import json, logging, sys
logging.disable(logging.CRITICAL)
from otava.analysis import compute_change_points
from otava_test_data.generators.combiner import CombinationGenerator

asked = json.load(sys.stdin)
if "seeds" in asked:
    made = []
    for seed in range(asked["seeds"]):
        generator = CombinationGenerator(lengths=[asked["length"]], seed=seed)
        for one in generator.generate_all_test_cases(noise_levels=[2.0, 5.0]):
            points = [[p.index, p.change_type, p.before_value, p.after_value] for p in one.change_points]
            made.append({"name": one.generator_name, "values": list(map(float, one.data)), "points": points})
    json.dump(made, sys.stdout)
else:
    places = []
    for values in asked["series"]:
        points, _ = compute_change_points(values, window_len=50, max_pvalue=0.001, min_magnitude=asked["least"])
        places.append([int(p.index) for p in points])
    json.dump(places, sys.stdout)
"""

Tracker = Callable[[list[np.ndarray]], list[list[int]]]


@dataclass
class Score:
    """Score of a tracker: existing change points, those that it found, and named places that are none."""

    there: int = 0
    found: int = 0
    false: int = 0

    def add(self, truth: Iterable[int], named: Sequence[int]) -> None:
        """Match each change point with the nearest named place, and each place only once."""
        left = sorted(named)
        for point in truth:
            self.there += 1
            nearest = min(left, key=partial(_distance, point), default=None)
            if nearest is not None and abs(nearest - point) <= NEAR:
                self.found += 1
                left.remove(nearest)
        self.false += len(left)

    def __str__(self) -> str:
        """Return precision, recall, their harmonic mean and the counts as text."""
        named = self.found + self.false
        precision, recall = self.found / named if named else 1.0, self.found / self.there if self.there else 1.0
        f1 = 2 * precision * recall / (precision + recall) if precision + recall else 0.0
        return f"{precision:9.2f} {recall:7.2f} {f1:5.2f}   {self.found:4d} of {self.there:4d}, {self.false:4d} false"


def _distance(one: int, other: int) -> int:
    return abs(one - other)


def asv(series: list[np.ndarray]) -> list[list[int]]:
    """Return where asv's step detection puts steps."""
    from asv import step_detect

    found = []
    for values in series:
        levels = step_detect.detect_steps(list(values))
        pairs = itertools.pairwise(levels)
        found.append([new[0] for old, new in pairs if abs(new[2] - old[2]) >= LEAST * abs(old[2])])
    return found


def otava(python: str, series: list[np.ndarray]) -> list[list[int]]:
    """Return where Apache Otava puts change points."""
    answer: list[list[int]] = _asked(python, {"series": [list(map(float, v)) for v in series], "least": LEAST})
    return answer


def ours(series: list[np.ndarray]) -> list[list[int]]:
    """Return where this project's rule puts steps, one series at a time."""
    least = float(np.log1p(LEAST))
    logs = [np.log(np.maximum(values, 1e-9))[None, :] for values in series]
    return [[change.place for change in find_changes(one, [], least)[0]] for one in logs]


def _asked(python: str, question: dict[str, object]) -> list[Any]:
    done = subprocess.run(
        [python, "-c", _OTAVA], input=json.dumps(question), capture_output=True, text=True, check=True
    )
    answer: list[Any] = json.loads(done.stdout)
    return answer


def on_known_series(python: str, trackers: dict[str, Tracker]) -> None:
    """Print the scores on ``otava-test-data``, by kind of series."""
    made = _asked(python, {"seeds": SEEDS, "length": LENGTH})
    truths = [[i for i, kind, old, new in one["points"] if _is_level(kind, old, new)] for one in made]
    series = [np.array(one["values"]) for one in made]
    for name, tracker in trackers.items():
        kinds: dict[str, Score] = defaultdict(Score)
        for one, truth, named in zip(made, truths, tracker(series), strict=True):
            for kind in (one["name"].partition("+noise")[0], "all"):
                kinds[kind].add(truth, named)
        print(f"\n{name} on otava-test-data: precision  recall    F1", flush=True)
        for kind, score in sorted(kinds.items()):
            print(f"{kind[:44]:44} {score}", flush=True)


def _is_level(kind: str, old: float | None, new: float | None) -> bool:
    if kind in ("outlier", "variance", "phase") or old is None or new is None:
        return False
    return abs(new - old) >= LEAST * abs(old)


def on_histories(trackers: dict[str, Tracker], histories: int) -> None:
    """Print false alarms of histories without a step, and slowed cells that are found, for each tracker."""
    for ratio in (1.0, 1.10, 1.25):
        print(f"\n{histories} histories, a fifth of the cells {ratio} times slower in the last {AFTER} of 30 runs")
        for name, tracker in trackers.items():
            rng = np.random.default_rng(7)
            alarmed, score = 0, Score()
            for _ in range(histories):
                logs = noisy_logs(rng, 30, (0.02, 0.020002))
                logs[:CELLS:5, 30 - AFTER :] += np.log(ratio)
                named = tracker(list(np.exp(logs[:CELLS])))
                for i, places in enumerate(named):
                    score.add([30 - AFTER] if ratio > 1 and not i % 5 else [], places)
                alarmed += any(named)
            print(f"{name:28} {score}; {alarmed} histories with any step", flush=True)


def ours_together(series: list[np.ndarray]) -> list[list[int]]:
    """Return where ``harness history`` puts steps in a history: all cells together, without the machine's changes.

    In a run, the raw ceilings show the machine. Here, the median change over all cells replaces them.
    """
    logs = np.log(np.array(series))
    ceilings = np.repeat(np.median(logs - np.median(logs, axis=1, keepdims=True), axis=0)[None, :], 25, axis=0)
    followed = series_of(np.vstack([logs, ceilings]))
    places: list[list[int]] = [[] for _ in series]
    rows = {key: row for row, key in enumerate(followed.keys[: len(series)])}
    for step in find_steps(followed):
        if step.key in rows:
            places[rows[step.key]].append(step.place)
    return places


def main(python: str, histories: int) -> None:
    """Print the scores of the trackers."""
    trackers: dict[str, Tracker] = {"asv": asv, "Apache Otava": partial(otava, python), "ours": ours}
    on_known_series(python, trackers)
    on_histories({**trackers, "ours, cells together": ours_together}, histories)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 10)
