"""What is watched has the values worked out by hand; a run that diverges is said to, once, and a healthy one is not.

pytest tests/unit/test_diagnosis.py
"""

from __future__ import annotations

import json
from typing import Any

import pytest
import torch

from i2i_core.config.methods.game import GameConfig
from i2i_core.config.training import TrainingConfig
from i2i_core.methods.base import Progress
from i2i_core.methods.game import Game
from i2i_core.training.monitoring.diagnosis import LEAST_HISTORY, LONG, LONG_SPREAD, WINDOW, Change, Diagnosis
from i2i_core.training.monitoring.readings import WAIT, Reading, send, spread_of
from i2i_core.training.step import Step, influence

from ..support.methods import ALONE, Case, batches, small

HEALTHY: dict[str, Any] = {
    "terms": {
        **{"D/right_real": 0.9, "D/right_fake": 0.8, "D/gap": 0.1, "D/grad_norm": 2.0, "D/loss": 0.02},
        **{"G/grad_norm": 10.0, "G/gan": 1.0},
    },
    "weighted": {"D/real": 0.3, "D/fake": 0.3, "G/gan": 1.0, "G/l1": 63.0},
    "spread": 0.2,
}
"""About what pix2pix's demo has at its worst; of a critic besides, what StarGAN's has."""
BAD: dict[str, dict[str, Any]] = {
    "D/certain": {"terms": {"D/right_real": 1.0, "D/right_fake": 0.9999}},
    "D/blind": {"terms": {"D/gap": -0.2}},
    "G/vanished": {"terms": {"G/grad_norm": 0.05}},
    "G/out_of_proportion": {"weighted": {"G/gan": 1.0, "G/l1": 2500.0}},
    "D/won": {"terms": {"D/loss": 0.009}},
    "D/steep": {"terms": {"D/grad_norm": 120.0}},
    "G/steep": {"terms": {"G/grad_norm": 101.0}},
    "collapsed": {"spread": 0.01},
}
MILD = ("D/won", "D/steep", "G/steep")
"""Of these, the signs that do not stop a run."""


def log(images: int, worse: dict[str, Any] | None = None) -> Reading:
    merged = {k: {**v, **(worse or {}).get(k, {})} if isinstance(v, dict) else v for k, v in HEALTHY.items()}
    return Reading(images, merged["terms"], {}, merged["weighted"], (worse or {}).get("spread", merged["spread"]))


def begun(logs: int = LEAST_HISTORY) -> Diagnosis:
    """After so many healthy logs, 100 images apart."""
    diagnosis = Diagnosis(small(Case("pix2pix")))
    assert [change for n in range(logs) for change in diagnosis.read(log(100 * n))] == []
    return diagnosis


@pytest.mark.parametrize("name", BAD)
def test_diagnosis_reports_a_lasting_sign_once_and_its_end(name: str) -> None:
    diagnosis, long = begun(), LONG_SPREAD if name == "collapsed" else LONG
    said: list[tuple[int, Change]] = []
    for images in range(1000, 3000, 100):
        said += [(images, change) for change in diagnosis.read(log(images, BAD[name]))]
    ((at, change),) = said
    assert (at, change.name, change.began) == (1000 + 100 * (long - 1), name, True)
    assert change.text.startswith("since 1,000 images ")
    assert change.mild == (name in MILD)
    assert diagnosis.collapse == ("" if change.mild else change.text)
    said = [(n, c) for n in range(3000, 5000, 100) for c in diagnosis.read(log(n))]
    ((at, over),) = said
    assert (at, over.name, over.began) == (3000 + 100 * (long - 1), name, False)
    assert over.text == f"no longer so: {change.text.partition('. ')[0]}"
    assert diagnosis.collapse == ""


@pytest.mark.parametrize("name", BAD)
def test_diagnosis_leaves_out_a_sign_that_passes(name: str) -> None:
    diagnosis, long = begun(), LONG_SPREAD if name == "collapsed" else LONG
    bad = [BAD[name]] * (long - 1) + [None]
    assert [c for n in range(50) for c in diagnosis.read(log(1000 + n, bad[n % len(bad)]))] == []


def test_diagnosis_reports_a_discriminator_that_is_always_wrong() -> None:
    diagnosis = begun()
    wrong = {"terms": {"D/right_real": 0.0005, "D/right_fake": 0.0}}
    (change,) = [c for n in range(LONG) for c in diagnosis.read(log(1000 + n, wrong))]
    assert "accuracy 0.03%" in change.text


def test_diagnosis_takes_won_terms_for_no_disproportion() -> None:
    """Hinge's, which become exactly 0."""
    diagnosis = begun()
    won = {"weighted": {"D/real": 0.02, "D/fake": 0.0}}
    assert [c for n in range(9) for c in diagnosis.read(log(1000 + n, won))] == []


def of_losses(term: str, values: list[float]) -> list[Change]:
    """What is said of a term that has these values, log after log."""
    diagnosis = Diagnosis(small(Case("pix2pix")))
    logs = (log(100 * n, {"terms": {term: value}}) for n, value in enumerate(values))
    return [change for one in logs for change in diagnosis.read(one)]


def test_diagnosis_reports_a_discriminator_whose_loss_jumps() -> None:
    """Over 20 logs: a quarter at 5 and the rest at 0.1 have a mean of 1.325 and a deviation of 2.12."""
    said = of_losses("D/loss", [5.0, 0.1, 0.1, 0.1] * 8)
    assert [change.name for change in said] == ["D/restless"]
    assert "over 20 logs it is 1.32 with a standard deviation of 2.12" in said[0].text
    assert said[0].mild
    assert of_losses("D/loss", [1.0, 0.2] * 20) == []
    assert of_losses("D/loss", [3.0] * 10 + [0.1] * 30) == []  # it falls once
    assert of_losses("D/loss", [5.0, 0.1, 0.1, 0.1] * 5) == []  # one log shows it, too few


def test_diagnosis_reports_a_generator_whose_adversarial_loss_falls_for_long() -> None:
    falls = [2.0 * 0.97**n for n in range(40)]
    (change,) = of_losses("G/gan", falls)
    assert (change.name, change.began, change.mild) == ("G/falling", True, True)
    assert change.text.startswith(
        f"since {100 * (WINDOW - 1):,} images G/gan has fallen over 20 logs, from 1.67 to 1.06"
    )
    assert of_losses("G/gan", [2.0 - 0.005 * n for n in range(40)]) == []  # by less than a fifth
    assert of_losses("G/gan", [one + (0.9 if n % 3 == 0 else 0) for n, one in enumerate(falls)]) == []  # up and down
    assert of_losses("G/l1", falls) == []
    fallen_then_steady = of_losses("G/gan", falls + [falls[-1]] * 40)
    assert [one.began for one in fallen_then_steady] == [True, False]
    minimax = of_losses("G/gan", [-0.5 - 0.05 * n for n in range(40)])
    assert [one.name for one in minimax] == ["G/falling"]


def test_diagnosis_takes_the_drift_of_a_critic_for_no_fall() -> None:
    diagnosis = Diagnosis(small(Case("pix2pix")))
    for n in range(60):
        terms = {"D/gap": 0.5, "D/loss": -0.5, "G/gan": 5.0 - 0.1 * n}
        assert diagnosis.read(Reading(100 * n, terms, {}, {}, None)) == []


def test_diagnosis_reads_states_of_releases_without_losses() -> None:
    diagnosis = begun()
    state = diagnosis.state_dict()
    del state["losses"]
    diagnosis.load_state_dict(state)
    assert diagnosis.losses == {}


def test_diagnosis_leaves_vanished_norms_out_of_the_median() -> None:
    diagnosis = begun()
    for n in range(1000):
        diagnosis.read(log(1000 + n, BAD["G/vanished"]))
    assert "was 10 (median)" in diagnosis.collapse


def test_diagnosis_goes_on_from_a_saved_state() -> None:
    """Cut at every log of a sign that comes and goes; what is saved is plain JSON."""
    logs = [log(100 * n, BAD["D/certain"] if 12 <= n < 20 else None) for n in range(30)]
    whole = Diagnosis(small(Case("pix2pix")))
    expected = [whole.read(one) for one in logs]
    assert sum(map(len, expected)) == 2
    for cut in range(len(logs)):
        first, rest = Diagnosis(small(Case("pix2pix"))), Diagnosis(small(Case("pix2pix")))
        found = [first.read(one) for one in logs[:cut]]
        rest.load_state_dict(json.loads(json.dumps(first.state_dict())))
        assert found + [rest.read(one) for one in logs[cut:]] == expected


def test_diagnosis_watches_gradients_of_generators_alone() -> None:
    assert Diagnosis(small(Case("pix2pix"))).generators == ["G"]
    assert Diagnosis(small(Case("simgan"))).generators == ["R"]


def test_influence_of_a_term_is_its_lambda() -> None:
    a, b = (torch.tensor(v, requires_grad=True) for v in (2.0, 3.0))
    terms = {"x": a.square(), "y": a * b, "unused": b + 1, "constant": torch.tensor(7.0)}
    loss = (terms["x"] + 10 * terms["y"]) / 2 + terms["constant"]
    assert influence(loss, terms).tolist() == [0.5, 5.0, 0.0, 0.0]
    loss.backward()  # the graph is still there
    assert a.grad is not None
    assert influence(torch.tensor(1.0), {"x": torch.tensor(1.0)}).tolist() == [0.0]


@pytest.mark.parametrize(
    ("adversarial", "expected"),
    [
        ("nonsaturating", {"right_real": (1 / 2 + 1) / 2, "right_fake": 1 / 2}),
        ("hinge", {"right_real": (1 / 2 + 1) / 2, "right_fake": 1 / 2}),
        ("lsgan", {"right_real": (1 / 2 + 0) / 2, "right_fake": 1 / 2}),
        ("wgan-gp", {"gap": (0.0 + 0.3) / 2 - 0.5}),
    ],
)
def test_scores_of_a_discriminator_count_every_scale(adversarial: str, expected: dict[str, float]) -> None:
    game = Game(GameConfig(adversarial=adversarial))  # type: ignore[arg-type]
    real, fake = [torch.tensor([-1.0, 1.0]), torch.tensor([0.3])], torch.tensor([-1.0, 2.0])
    assert {name: share.item() for name, share in game.scores([real], [fake]).items()} == pytest.approx(expected)


def test_readings_equal_norms_weights_and_waiting_by_hand() -> None:
    case = Case("stargan", hyper={"n_critic": 1})
    method = small(case)
    step = Step(method, TrainingConfig(), ALONE, lambda images: 0.5)
    step(batches(method, case, ALONE), Progress())
    found = send(step, ALONE, 7, waited=0.25, spread=torch.tensor(0.5)).read()
    for player in ("D", "G"):
        norm = sum(float(p.grad.square().sum()) for p in method.parameters_of(player) if p.grad is not None) ** 0.5
        assert found.terms[f"{player}/grad_norm"] == pytest.approx(norm, rel=1e-5)
        assert found.speed[f"{player}/move_seconds"] > 0
    k = method.config
    lambdas = {"adv": 1, "cls_fake": k.lambda_cls, "rec": k.lambda_rec}
    assert {name: found.weighted[f"G/{name}"] for name in lambdas} == pytest.approx(
        {name: abs(weight * found.terms[f"G/{name}"]) for name, weight in lambdas.items()}
    )
    assert found.weighted["D/gp"] == pytest.approx(k.lambda_gp * found.terms["D/gp"])
    assert found.terms["D/gap"] == pytest.approx(-found.terms["D/real"] - found.terms["D/fake"], rel=1e-4, abs=1e-6)
    assert (found.images, found.speed[WAIT], found.spread) == (7, 0.25, 0.5)
    assert step.learning_rates() == {"D": k.d_lr / 2, "G": k.g_lr / 2}
    nothing = send(step, ALONE, 8, waited=0.0, spread=None).read()
    assert (nothing.terms, nothing.weighted, nothing.spread) == ({}, {}, None)


def test_spread_compares_made_images_with_real_ones() -> None:
    real = torch.tensor([-1.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, 4, 4).contiguous()
    other = real * 0.5
    made = real * 0.1
    found = spread_of([made, real * 3], [real, other])
    assert found is not None
    assert found.item() == pytest.approx(0.2)
    alike = spread_of([made], [real, torch.ones_like(real)])
    assert alike is not None
    assert alike.item() == -1
    assert spread_of([], [real]) is None
    assert spread_of([made[:1]], [real[:1]]) is None
