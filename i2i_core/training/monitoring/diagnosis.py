"""Detect when a run diverges, and when it no longer does.

Each sign is looked for in the numbers of every log. All ranks have the same numbers and so reach the same verdict.
docs/watching.md gives the reasons for the thresholds.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import combinations, pairwise
from typing import Any

from i2i_core.methods.base import Method
from i2i_core.training.monitoring.readings import Reading

CERTAIN = 0.999
"""The accuracy from which on a discriminator has nothing more to learn, nor to teach the generator."""
VANISHED = 0.01
"""The share of its median so far below which a generator's gradient norm has vanished."""
LEAST_HISTORY = 10
"""The fewest logs that this median is taken over."""
MOST_HISTORY = 500
"""The most logs, the latest, that this median is taken over."""
COLLAPSED = 0.05
"""The share of real images' differences below which made images are all alike."""
DOMINANT = 1000.0
"""How many times as much as all other terms of a loss together one term may count."""
LEAST_OTHERS = 0.1
"""The least that those others count for: terms that a player has won go to zero."""
WON = 0.01
"""The loss of a discriminator below which it has won the game."""
STEEP = 100.0
"""The gradient norm above which a move is suspicious (Chintala et al. 2016, "How to train a GAN", hint 10)."""
RESTLESS = 1.0
"""The standard deviation of a discriminator's loss, over its mean, above which it jumps."""
JUMPS = 4
"""Changes from log to log, each larger than the mean, that such a loss must have: one that falls once has fewer."""
FALLEN, FALLING = 0.2, 0.9
"""The share by which a generator's adversarial loss must have fallen, and the share of pairs of logs of which the later
one is lower, for it to fall steadily."""
WINDOW = 20
"""Logs over which a loss is looked at."""
ADVERSARIAL_TERMS = ("gan", "adv", "real")
"""Beginnings of the names that methods give to a generator's adversarial term."""
MILD = ("won", "steep", "restless", "falling")
"""Signs that often come before a failure and may pass: reported, and no reason to stop a run."""
LONG = 5
"""Logs in a row that must show a sign before it is reported, and lack it before its end is."""
LONG_SPREAD = 2
"""The same for differences between images, which are measured with every grid, or else every evaluation."""


@dataclass
class Sign:
    """Track one sign of divergence over the logs."""

    since: int = 0
    """Images at the first log in a row that shows it."""
    shown: int = 0
    """Logs in a row that show it; while it is on, logs in a row that lack it."""
    on: bool = False
    """Whether it was reported, and not its end."""


@dataclass(frozen=True)
class Change:
    """Report that a sign began, or is over."""

    name: str
    """`D/certain`, say."""
    text: str
    began: bool

    @property
    def mild(self) -> bool:
        """Tell if the sign is no reason to stop a run."""
        return _mild(self.name)


class Diagnosis:
    """Judge every log for signs of divergence: a sign begins, or ends, once several logs in a row agree. Checkpoints
    keep the signs."""

    def __init__(self, method: Method[Any]) -> None:
        made_by = set(method.generators)
        self.generators = [name for name, player in method.players.items() if made_by & set(player.networks)]
        self.norms: dict[str, list[float]] = {player: [] for player in self.generators}
        self.losses: dict[str, list[float]] = {}
        """The last WINDOW values of losses that are looked at over several logs, by name."""
        self.signs: dict[str, Sign] = {}
        self.text: dict[str, str] = {}
        """The last report of each sign that is on."""

    @property
    def collapse(self) -> str:
        """The reports of the signs that are on, without the mild ones; "" for none."""
        return "; ".join(self.text[name] for name, sign in self.signs.items() if sign.on and not _mild(name))

    def read(self, log: Reading) -> list[Change]:
        """Judge one log, and return the signs that began or ended with it."""
        changes = []
        for name, long, text in self._look(log):
            sign = self.signs.setdefault(name, Sign())
            if bool(text) == sign.on:
                sign.shown = 0
                continue
            if not sign.shown:
                sign.since = log.images if text else sign.since
            sign.shown += 1
            if sign.shown < long:
                continue
            sign.on, sign.shown = bool(text), 0
            if text:
                self.text[name] = f"since {sign.since:,} images {text}"
                changes.append(Change(name, self.text[name], began=True))
            else:
                was = self.text.pop(name).partition(". ")[0]  # the advice is not needed any more
                changes.append(Change(name, f"no longer so: {was}", began=False))
        return changes

    def _look(self, log: Reading) -> Iterator[tuple[str, int, str]]:
        """Yield each sign that this log can show: its name, how many logs in a row it takes, and its report ("": no
        sign)."""
        for player in dict.fromkeys(name.split("/")[0] for name in log.terms):
            right = [log.terms.get(f"{player}/right_{kind}") for kind in ("real", "fake")]
            if right[0] is not None and right[1] is not None:
                yield f"{player}/certain", LONG, _certain(player, (right[0] + right[1]) / 2)
                if (loss := log.terms.get(f"{player}/loss")) is not None:
                    yield f"{player}/won", LONG, _won(player, loss)
                    yield f"{player}/restless", LONG, _restless(player, self._latest(f"{player}/loss", loss))
            if (gap := log.terms.get(f"{player}/gap")) is not None:
                yield f"{player}/blind", LONG, _blind(player, gap)
            weighted = {name: value for name, value in log.weighted.items() if name.split("/")[0] == player}
            if len(weighted) > 1:
                yield f"{player}/out_of_proportion", LONG, _dominant(player, weighted)
            if (norm := log.terms.get(f"{player}/grad_norm")) is not None:
                yield f"{player}/steep", LONG, _steep(player, norm)
        for player in self.generators:
            if f"{player}/grad_norm" in log.terms:
                yield f"{player}/vanished", LONG, self._vanished(player, log.terms[f"{player}/grad_norm"])
            term = next((f"{player}/{name}" for name in _adversarial(player, log.terms)), "")
            if term and any(name.endswith("/right_fake") for name in log.terms):  # a critic's scale drifts
                yield f"{player}/falling", LONG, _falling(term, self._latest(term, log.terms[term]))
        if log.spread is not None:
            yield "collapsed", LONG_SPREAD, _collapsed(log.spread)

    def _latest(self, name: str, value: float) -> list[float]:
        """Note a value, and give the last ones of its name; fewer than two until there are WINDOW."""
        values = self.losses.setdefault(name, [])
        values.append(value)
        del values[:-WINDOW]
        return values if len(values) == WINDOW else []

    def _vanished(self, player: str, norm: float) -> str:
        """Report a vanished gradient norm. Norms that have vanished do not enter the median."""
        history = self.norms[player]
        if len(history) >= LEAST_HISTORY and norm < VANISHED * (usual := statistics.median(history)):
            return (
                f"the gradient of {player} is nearly gone: its norm is {norm:.3g}, and was {usual:.3g} (median). "
                f"{player} learns nothing more"
            )
        history.append(norm)
        del history[:-MOST_HISTORY]
        return ""

    def state_dict(self) -> dict[str, Any]:
        return {
            "norms": {player: list(norms) for player, norms in self.norms.items()},
            "losses": {name: list(values) for name, values in self.losses.items()},
            "signs": {name: asdict(sign) for name, sign in self.signs.items()},
            "text": dict(self.text),
        }

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.norms |= {player: list(norms) for player, norms in state["norms"].items()}
        self.losses = {name: list(values) for name, values in state.get("losses", {}).items()}  # older ones have none
        self.signs = {name: Sign(**sign) for name, sign in state["signs"].items()}
        self.text = dict(state["text"])


def _mild(name: str) -> bool:
    return name.rpartition("/")[2] in MILD


def _adversarial(player: str, terms: dict[str, float]) -> Iterator[str]:
    """Yield the names of a player's adversarial terms, without the player's."""
    own = (name.removeprefix(f"{player}/") for name in terms if name.startswith(f"{player}/"))
    return (name for name in own if name.startswith(ADVERSARIAL_TERMS))


def _won(player: str, loss: float) -> str:
    if loss >= WON:
        return ""
    return (
        f"the loss of {player} is nearly 0 ({loss:.3g}): it has won, and the generator may learn nothing from it. "
        "--input-noise 0.1, --label-flip 0.05 or a lower learning rate of it may help"
    )


def _steep(player: str, norm: float) -> str:
    if norm <= STEEP:
        return ""
    return (
        f"the gradient norm of {player} is {norm:.3g}, above {STEEP:g}. "
        "That is usual where a term has a large weight; else try a lower learning rate, or --clip-grad"
    )


def _restless(player: str, losses: list[float]) -> str:
    if not losses:
        return ""
    deviation, mean = statistics.pstdev(losses), abs(statistics.fmean(losses))
    jumps = sum(abs(later - earlier) > mean for earlier, later in pairwise(losses))
    if deviation <= RESTLESS * mean or jumps < JUMPS:
        return ""
    return (
        f"the loss of {player} jumps: over {len(losses)} logs it is {mean:.3g} with a standard deviation of "
        f"{deviation:.3g}. A lower learning rate of it may help"
    )


def _falling(term: str, losses: list[float]) -> str:
    if not losses:
        return ""
    quarter = len(losses) // 4
    first, last = statistics.fmean(losses[:quarter]), statistics.fmean(losses[-quarter:])
    lower = statistics.fmean(later < earlier for earlier, later in combinations(losses, 2))
    if lower < FALLING or last > first - FALLEN * abs(first):
        return ""
    return (
        f"{term} has fallen over {len(losses)} logs, from {first:.3g} to {last:.3g}: the discriminator is being "
        "fooled, perhaps by garbage. Look at the grids; a higher learning rate of it, or more of its moves, may help"
    )


def _certain(player: str, accuracy: float) -> str:
    if accuracy >= CERTAIN:
        return (
            f"{player} tells real images from made ones without fail (accuracy {accuracy:.2%}): it has nothing more to "
            "learn, and nothing to say to the generator. A lower learning rate of it, or --real-target 0.9, may help"
        )
    if accuracy <= 1 - CERTAIN:
        return (
            f"{player} takes made images for real ones and real ones for made (accuracy {accuracy:.2%}): it is led in "
            "circles. A lower learning rate of the generator may help"
        )
    return ""


def _blind(player: str, gap: float) -> str:
    if gap > 0:
        return ""
    return (
        f"{player} rates made images as high as real ones, or higher (by {-gap:.3g}): what it tells the generator is "
        "worth nothing. A lower learning rate of it, or more of its moves for each of the generator's, may help"
    )


def _dominant(player: str, weighted: dict[str, float]) -> str:
    name = max(weighted, key=lambda term: weighted[term])
    others = sum(weighted.values()) - weighted[name]
    if weighted[name] <= DOMINANT * max(others, LEAST_OTHERS):
        return ""
    listed = ", ".join(f"{term.split('/', 1)[1]} {value:.3g}" for term, value in weighted.items() if term != name)
    return (
        f"{name} is out of proportion: it adds {weighted[name]:.3g} to the loss of {player}, the others {listed}. "
        "What they ask for is not heard; look at its weight, and at the learning rates"
    )


def _collapsed(spread: float) -> str:
    if spread >= COLLAPSED:
        return ""
    return (
        f"made images are nearly all alike: they differ by {spread:.2%} of what real ones differ by. "
        "The generator has stopped looking at its input"
    )
