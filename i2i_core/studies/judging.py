"""Sum up what people answered: shares with intervals by the bootstrap, and algorithms compared.

A share is that of all trials. The bootstrap draws people with replacement and, of each drawn person, trials with
replacement; its seed makes it repeatable.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from i2i_core.errors import counted
from i2i_core.names import printable
from i2i_core.program import program_name
from i2i_core.randomness import seed_from
from i2i_core.studies.answers import REASONS, Counting, Session, preferences, tallies

DRAWS = 10_000
"""Draws of the bootstrap, as the articles' tool makes them."""
AT_ONCE = 1 << 20
"""People of all draws that are drawn together."""
INTERVAL = (2.5, 97.5)
"""Percentiles between which 95% of the draws lie."""

Tally = Sequence[tuple[int, int]]
"""For each person: how often it was so, and of how many trials."""


@dataclass(frozen=True)
class Share:
    """Hold a share of trials.

    Attributes:
        people: how many answered.
        trials: their trials.
        times: trials in which it was so.
        sd: standard deviation over the draws of the bootstrap.
        low, high: 95% of the draws lie between them.
        draws: the share in each draw (DRAWS,).
    """

    people: int
    trials: int
    times: int
    sd: float
    low: float
    high: float
    draws: np.ndarray

    @property
    def value(self) -> float:
        """The share itself."""
        return self.times / self.trials

    def facts(self) -> dict[str, Any]:
        """Give the numbers as plain values."""
        names = ("people", "trials", "times", "value", "sd", "low", "high")
        return {name: getattr(self, name) for name in names}


def share_of(tally: Tally, *seed: object) -> Share:
    """Compute a share with its interval."""
    times, trials = (np.array(column, np.int64) for column in zip(*tally, strict=True))
    draws = bootstrap(times, trials, np.random.default_rng(seed_from(*seed)))
    low, high = np.percentile(draws, INTERVAL)
    return Share(len(tally), int(trials.sum()), int(times.sum()), float(draws.std()), float(low), float(high), draws)


def bootstrap(times: np.ndarray, trials: np.ndarray, rng: np.random.Generator, draws: int = DRAWS) -> np.ndarray:
    """Draw people, and trials of each, with replacement.

    Args:
        times: (P,) how often it was so, by person.
        trials: (P,) of how many trials.

    Returns:
        (draws,) the share of each draw. So many trials drawn of a person's own are a binomial number of times.
    """
    people, found = len(times), list[np.ndarray]()
    some = max(1, AT_ONCE // people)
    for first in range(0, draws, some):
        drawn = rng.integers(0, people, (min(some, draws - first), people))
        found.append(rng.binomial(trials[drawn], (times / trials)[drawn]).sum(1) / trials[drawn].sum(1))
    return np.concatenate(found)


def chance_above(first: np.ndarray, second: np.ndarray | float) -> float:
    """Estimate P(first > second) by the draws of both; a tie counts one half."""
    return float(np.mean(first > second) + np.mean(first == second) / 2)


@dataclass(frozen=True)
class Comparison:
    """Compare two algorithms.

    Attributes:
        first, second: their names.
        difference: of the shares, first minus second; of preferences, the share that preferred the first minus that
            which preferred the second.
        low, high: 95% of the draws' differences lie between them.
        chance: probability that the first is above the second, by the draws; a tie counts one half.
    """

    first: str
    second: str
    difference: float
    low: float
    high: float
    chance: float

    def facts(self) -> dict[str, Any]:
        """Give names and numbers as plain values."""
        return dict(vars(self))


@dataclass(frozen=True)
class Judged:
    """Hold what a study found.

    Attributes:
        mode: of the study.
        shares: by algorithm, the share of trials in which people took its images for real; by two algorithms, the share
            in which they preferred the first.
        comparisons: of any two algorithms.
        left_out: answers that do not count, by reason.
        studies, people: ids of the studies, and number of people.
        seed: seed of the bootstrap.
    """

    mode: str
    shares: Mapping[str, Share]
    comparisons: Sequence[Comparison]
    left_out: Mapping[str, int]
    studies: Sequence[str]
    people: int
    seed: int


def judged(kind: Session, counted_in: Counting, seed: int = 0) -> Judged:
    """Sum up the answers that count.

    Args:
        kind: a session that all the others are alike.
        counted_in: the answers.
        seed: seed of the bootstrap.
    """
    answers = [*counted_in.people.values()]
    studies = sorted({study for study, _ in counted_in.people})
    rest = counted_in.left_out, studies, len(answers), seed
    if kind.mode == "real":
        shares = {name: share_of(each, seed, name) for name, each in sorted(tallies(answers, kind.question).items())}
        return Judged("real", shares, [_apart(a, b, shares) for a, b in combinations(shares, 2)], *rest)
    pairs = {pair: share_of(each, seed, *pair) for pair, each in sorted(preferences(answers).items())}
    compared = [_preferred(*pair, share) for pair, share in pairs.items()]
    return Judged("preference", {f"{a} over {b}": share for (a, b), share in pairs.items()}, compared, *rest)


def _apart(first: str, second: str, shares: Mapping[str, Share]) -> Comparison:
    one, other = shares[first], shares[second]
    low, high = np.percentile(one.draws - other.draws, INTERVAL)
    chance = chance_above(one.draws, other.draws)
    return Comparison(first, second, one.value - other.value, float(low), float(high), chance)


def _preferred(first: str, second: str, share: Share) -> Comparison:
    chance = chance_above(share.draws, 0.5)
    return Comparison(first, second, 2 * share.value - 1, 2 * share.low - 1, 2 * share.high - 1, chance)


def table(found: Judged) -> list[str]:
    """Put what was found into lines for a person."""
    real = found.mode == "real"
    heads = ("algorithm" if real else "preferred", "people", "trials", "fooled" if real else "share", "+-", "95%")
    rows = [heads]
    for name, one in found.shares.items():
        between = f"{one.low:.1%} to {one.high:.1%}"
        rows.append((printable(name), str(one.people), str(one.trials), f"{one.value:.1%}", f"{one.sd:.1%}", between))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows]
    if real:
        lines.append("50% would be made images that nobody tells from real ones")
    for two in found.comparisons:
        names = f"{printable(two.first)} - {printable(two.second)}"
        between = f"{two.low:+.1%} to {two.high:+.1%}"
        lines.append(f"{names}: {two.difference:+.1%} ({between}), P(first above) {two.chance:.3f}")
    out = [f"{counted(n, 'answer')}: {REASONS[why]}" for why, n in found.left_out.items() if n]
    lines += ["left out:", *(f"  {line}" for line in out)] if out else []
    if len(found.studies) > 1:
        lines.append(f"answers of {len(found.studies)} studies: {', '.join(map(printable, found.studies))}")
    return lines


def as_plain(found: Judged) -> dict[str, Any]:
    """Give what was found as plain values, for a file."""
    return {
        "program": program_name(),
        "mode": found.mode,
        "studies": list(found.studies),
        "people": found.people,
        "shares": {name: share.facts() for name, share in found.shares.items()},
        "comparisons": [one.facts() for one in found.comparisons],
        "left_out": dict(found.left_out),
        "bootstrap": {"draws": DRAWS, "seed": found.seed, "over": "people, then trials of each", "interval": 0.95},
    }
