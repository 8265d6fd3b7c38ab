"""People as judges: what is drawn, what the page holds, which answers count, and what they say together.

pytest tests/unit/test_studies.py
"""

from __future__ import annotations

import json
from base64 import b64decode, b64encode
from collections import Counter
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from i2i_core.errors import DataError
from i2i_core.images.codec import decode
from i2i_core.studies import judging
from i2i_core.studies.answers import Answer, Limits, counting, fooled, of_one_kind, read_session
from i2i_core.studies.drawing import Plan, Sheet, Shown, Trial, draw
from i2i_core.studies.judging import bootstrap, chance_above, judged, share_of, table
from i2i_core.studies.pictures import reduced
from pipelines import study

from ..support.studies import at_left, at_random, folder_of, never_fooled, session_of, study_in

KEYS = [f"{n:03d}" for n in range(60)]
PLAN = Plan()
SMALL = Plan(practice=2, trials=6, sheets=4)


# ---- what is drawn ----


@pytest.mark.parametrize("pairs", ["different", "same"])
def test_sheets_show_each_image_once_beside_a_real_one(pairs: Any) -> None:
    plan = Plan(pairs=pairs)
    for sheet in draw(plan, {"a": KEYS}, KEYS):
        made = [left if left.by else right for left, right in sheet]
        real = [right if left.by else left for left, right in sheet]
        assert len(sheet) == len({one.key for one in made}) == len({one.key for one in real}) == 50
        assert {one.by for one in made} == {"a"}
        assert {one.by for one in real} == {None}
        assert all((a.key == b.key) == (pairs == "same") for a, b in zip(made, real, strict=True))


@pytest.mark.parametrize(("practice", "trials"), [(10, 40), (3, 5), (0, 1)])
def test_sheets_have_the_made_image_on_each_side_equally_often(practice: int, trials: int) -> None:
    """An odd one is drawn: over many sheets it is on either side."""
    plan = Plan(practice=practice, trials=trials, sheets=200)
    extra = Counter[int]()
    for sheet in draw(plan, {"a": KEYS}, KEYS):
        left = [trial[0].by is not None for trial in sheet]
        for part in (left[:practice], left[practice:]):
            assert abs(2 * sum(part) - len(part)) <= len(part) % 2
        extra[2 * sum(left[practice:]) - trials] += 1
    if trials % 2:
        assert 70 <= extra[1] <= 130, extra


def test_sheets_differ_and_depend_on_the_seed_alone() -> None:
    first = draw(PLAN, {"a": KEYS}, KEYS)
    assert first == draw(PLAN, {"a": KEYS}, KEYS)
    assert all(a != b for a, b in pairwise(first))
    assert first[0] != draw(Plan(seed=1), {"a": KEYS}, KEYS)[0]


def test_sheets_of_several_algorithms_have_one_each_in_turn_on_common_keys() -> None:
    made = {"a": KEYS, "b": KEYS[:55], "c": KEYS[5:]}
    sheets = draw(PLAN, made, KEYS)
    by = [{one.by for trial in sheet for one in trial} - {None} for sheet in sheets]
    assert by[:4] == [{"a"}, {"b"}, {"c"}, {"a"}]
    keys = {one.key for sheet in sheets for trial in sheet for one in trial if one.by}
    assert keys == set(KEYS[5:55])


def test_sheets_of_preferences_have_every_pair_equally_often_on_both_sides() -> None:
    plan = Plan(mode="preference", practice=0, trials=36, sheets=5)
    for sheet in draw(plan, dict.fromkeys("abc", KEYS), []):
        assert all(left.key == right.key for left, right in sheet)
        assert len({left.key for left, _ in sheet}) == 36
        sides = Counter((left.by, right.by) for left, right in sheet)
        assert sides == dict.fromkeys([(a, b) for a in "abc" for b in "abc" if a != b], 6)


@pytest.mark.parametrize(
    ("plan", "made", "real", "found"),
    [
        (PLAN, {"a": KEYS[:49]}, KEYS, "49 made images"),
        (PLAN, {"a": KEYS, "b": KEYS[20:]}, KEYS, "40 keys that all algorithms have"),
        (PLAN, {"a": KEYS}, KEYS[:49], "49 real images"),
        (Plan(pairs="same"), {"a": KEYS}, KEYS[30:], "30 keys that real images and all algorithms have"),
        (Plan(practice=0, trials=1), {"a": ["x"]}, ["x"], "1 real images"),
    ],
)
def test_sheets_of_too_few_images_are_refused(plan: Plan, made: Any, real: Any, found: str) -> None:
    with pytest.raises(DataError) as error:
        draw(plan, made, real)
    assert error.value.found == found
    if "keys" in found:  # the advice works
        count = int(found.split()[0])
        draw(Plan(pairs=plan.pairs, practice=0, trials=count), made, real)


# ---- which answers count ----


@cache
def drawn(plan: Plan) -> list[Sheet]:
    """The sheets of a study of two algorithms."""
    return draw(plan, {"a": KEYS, "b": KEYS}, KEYS)


def session(plan: Plan = SMALL, person: str = "p", choose: Any = at_left, number: int = 0, **over: Any) -> bytes:
    sheet = drawn(plan)[number]
    return json.dumps(session_of(plan, sheet, number, person, choose, **over)).encode()


def changed(data: bytes, change: Callable[[dict[str, Any]], object]) -> bytes:
    values = json.loads(data)
    change(values)
    return json.dumps(values).encode()


@pytest.mark.parametrize(
    ("question", "chosen", "expected"),
    [("fake", "left", False), ("fake", "right", True), ("real", "left", True), ("real", "right", False)],
)
def test_fooled_is_who_takes_the_made_image_for_real(question: Any, chosen: Any, expected: bool) -> None:
    """The made image is on the left."""
    answer = Answer(0, False, Shown("a", "1"), Shown(None, "2"), chosen, (1000.0, 1000.0), 700.0, 1)
    assert fooled(question, answer) is expected


def test_counting_leaves_out_by_reason() -> None:
    """Of six trials behind two of practice one each is early, late, fast and shown again; two count."""

    def change(values: dict[str, Any]) -> None:
        answers = values["answers"]
        answers[2]["shown_ms"] = [1000.0, 899.0]
        answers[3]["shown_ms"] = [1101.0, 1000.0]
        answers[4]["answer_ms"] = 99.0
        answers[5]["times_shown"] = 2
        answers[6]["shown_ms"] = [900.0, 1100.0]

    found = counting([read_session(changed(session(), change), "x")], Limits())
    assert found.left_out == {"practice": 2, "early": 1, "late": 1, "fast": 1, "again": 1, "copy": 0}
    assert [answer.trial for answer in found.people["0123456789abcdef", "p"]] == [6, 7]
    wide = counting([read_session(changed(session(), change), "x")], Limits(display_ms=150, least_ms=0))
    assert wide.left_out == {"practice": 2, "early": 0, "late": 0, "fast": 0, "again": 1, "copy": 0}


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_counting_takes_the_fullest_file_of_a_person(order: tuple[int, int]) -> None:
    part = changed(session(), lambda values: values["answers"].__delitem__(slice(5, None)))
    files = [read_session(data, "x") for data in (session(), part)]
    found = counting([files[i] for i in order], Limits())
    assert len(found.people) == 1
    assert found.left_out["copy"] == 5
    assert len(found.people["0123456789abcdef", "p"]) == 6


def _set(*path: Any, to: Any) -> Callable[[dict[str, Any]], None]:
    def change(values: Any) -> None:
        for key in path[:-1]:
            values = values[key]
        values[path[-1]] = to

    return change


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (_set("format", to=2), "format 2, not 1"),
        (_set("answers", 0, "answer_ms", to=-1), "negative"),
        (_set("answers", 0, "shown_ms", to=[1e12, 1]), "too large"),
        (_set("answers", 3, "trial", to=2), "two answers to one trial"),
        (_set("answers", 3, "trial", to=8), "trial 8: a sheet has 8"),
        (_set("answers", 0, "left", to={"by": None, "key": "a"}), "real images of two"),
        (_set("answers", 2, "practice", to=True), "trial 2: practice True, of 2 practice trials"),
        (_set("answers", 0, "chosen", to="both"), "'both' (str)"),
        (_set("answers", 0, "shown_ms", to=[]), "0 display times"),
        (_set("person", to="x" * 1001), "a text of more than 1,000 characters"),
        (_set("more", to=1), "an unknown key"),
        (_set("answers", to={}), "{} (dict)"),
        (_set("sheet", to=True), "True (bool)"),
    ],
)
def test_session_that_no_page_saves_is_refused(change: Any, said: str) -> None:
    data = changed(session(), change)
    if said == "real images of two":
        data = changed(data, _set("answers", 0, "right", to={"by": None, "key": "b"}))
    with pytest.raises(DataError) as error:
        read_session(data, "x.json")
    assert said in str(error.value)
    assert "Take the file as the study's page saved it." in str(error.value)


@pytest.mark.parametrize("data", [b"", b"{", b"[]", b"\x80", b'{"format": NaN}', b"[" * 5000])
def test_session_of_damaged_text_is_refused(data: bytes) -> None:
    with pytest.raises(DataError):
        read_session(data, "x.json")


def test_sessions_of_two_kinds_are_not_counted_together() -> None:
    one, other = (read_session(session(Plan(question=q, practice=0, trials=4)), "x") for q in ("fake", "real"))
    with pytest.raises(DataError, match="question real, images shown for 1000 ms; expected mode real, question fake"):
        of_one_kind({"a.json": one, "b.json": other})
    assert of_one_kind({"a.json": one, "b.json": one}) is one


# ---- what they say together ----


def test_bootstrap_has_the_deviation_that_follows_by_hand() -> None:
    """One person, 10 of 40: trials alone vary, sd = sqrt(.25 * .75 / 40) = .0685. Two people, 0 of 40 and 40 of 40:
    people alone vary, by halves: 0 and 1 each in a quarter of the draws, sd = sqrt(1/8) = .3536."""
    one = share_of([(10, 40)], 0)
    assert one.value == 0.25
    assert one.sd == pytest.approx(0.0685, rel=0.03)
    assert (one.low, one.high) == (pytest.approx(0.125, abs=0.026), pytest.approx(0.4, abs=0.026))
    two = share_of([(0, 40), (40, 40)], 0)
    assert {round(float(x), 6) for x in two.draws} == {0.0, 0.5, 1.0}
    assert float(np.mean(two.draws == 0)) == pytest.approx(0.25, abs=0.02)
    assert (two.value, two.low, two.high) == (0.5, 0.0, 1.0)
    assert two.sd == pytest.approx(0.3536, rel=0.03)


def test_bootstrap_counts_trials_and_not_people() -> None:
    """A person with 30 trials counts three times as much as one with 10."""
    share = share_of([(30, 30), (0, 10)], 0)
    assert share.value == 0.75
    assert {round(float(x), 6) for x in share.draws} == {0.0, 0.75, 1.0}


def test_bootstrap_in_parts_draws_as_often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "AT_ONCE", 64)
    draws = bootstrap(np.array([5, 10]), np.array([10, 10]), np.random.default_rng(0), 1001)
    assert draws.shape == (1001,)
    assert draws.mean() == pytest.approx(0.75, abs=0.03)


def test_chance_above_counts_a_tie_one_half() -> None:
    assert chance_above(np.array([1.0, 0.5, 0.0, 0.5]), np.array([0.0, 0.5, 1.0, 0.25])) == (2 + 0.5) / 4
    assert chance_above(np.array([0.5, 0.6, 0.4, 0.7]), 0.5) == (2 + 0.5) / 4


def people(choose: Any, count: int, plan: Plan = PLAN, prefix: str = "") -> list[Any]:
    return [
        read_session(session(plan, f"{prefix}{n}", choose, n % plan.sheets), f"{n}.json") for n in range(count)
    ]  # sheets of a and b in turn


def test_judged_people_who_guess_are_fooled_in_half_of_the_trials() -> None:
    """50 people of 40 trials: the deviation of their share is sqrt(.25 / 2000) = 1.1%."""
    sessions = people(at_random, 50)
    found = judged(sessions[0], counting(sessions, Limits()))
    shares = found.shares.values()
    assert sum(one.times for one in shares) / sum(one.trials for one in shares) == pytest.approx(0.5, abs=0.035)
    assert [(one.people, one.trials) for one in shares] == [(25, 1000), (25, 1000)]
    assert all(one.low < 0.5 < one.high for one in shares)
    assert found.left_out["practice"] == 500


def test_judged_people_who_always_answer_left_are_fooled_in_exactly_half() -> None:
    sessions = people(at_left, 10)
    found = judged(sessions[0], counting(sessions, Limits()))
    assert [one.value for one in found.shares.values()] == [0.5, 0.5]


def test_judged_algorithms_are_compared_by_hand() -> None:
    """People who see b's images are never fooled, those who see a's always guess left: 50% and 0%."""
    sessions = [read_session(session(PLAN, str(n), (at_left, never_fooled)[n % 2], n), f"{n}.json") for n in range(10)]
    found = judged(sessions[0], counting(sessions, Limits()))
    (one,) = found.comparisons
    assert (one.first, one.second, one.difference, one.chance) == ("a", "b", 0.5, 1.0)
    assert one.low == found.shares["a"].low
    assert one.high == found.shares["a"].high
    lines = table(found)
    assert lines[1].split()[:4] == ["a", "5", "200", "50.0%"]
    assert lines[2].split() == ["b", "5", "200", "0.0%", "0.0%", "0.0%", "to", "0.0%"]
    assert lines[-2:] == ["left out:", "  100 answers: practice"]


def test_judged_depends_on_the_seed_and_not_on_other_algorithms() -> None:
    both, alone = people(at_random, 10), people(at_random, 10)[::2]
    of_both, of_one = (judged(s[0], counting(s, Limits())) for s in (both, alone))
    assert (of_both.shares["a"].draws == of_one.shares["a"].draws).all()
    other = judged(both[0], counting(both, Limits()), seed=1)
    assert (other.shares["a"].draws != of_both.shares["a"].draws).any()


def test_judged_preferences_are_shares_of_the_first_algorithm() -> None:
    """Everybody prefers b in 30 of 40 trials."""
    plan = Plan(mode="preference", practice=0, trials=40, sheets=4)
    sheets = draw(plan, {"a": KEYS, "b": KEYS}, [])

    def of(n: int) -> Any:
        for_b = iter([True] * 30 + [False] * 10)

        def choose(trial: Trial, rng: np.random.Generator) -> str:
            return "left" if (trial[0].by == "b") == next(for_b) else "right"

        values = session_of(plan, sheets[n], n, str(n), choose)
        return read_session(json.dumps(values).encode(), "x")

    sessions = [of(n) for n in range(4)]
    found = judged(sessions[0], counting(sessions, Limits()))
    assert [*found.shares] == ["a over b"]
    assert found.shares["a over b"].value == 0.25
    (one,) = found.comparisons
    assert (one.difference, one.chance) == (-0.5, 0.0)


# ---- the page ----


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Real pictures, two algorithms' and their inputs, of 60 names."""
    place = tmp_path_factory.mktemp("studies")
    for seed, name in enumerate(("real", "one", "two", "input")):
        folder_of(place / name, KEYS, side=(32, 16, 24, 16)[seed], seed=seed)
    return place


def make(told: Any, folders: Path, out: Path, *flags: object, code: int = 0) -> str:
    of = ["--against", f"one={folders}/one", f"two={folders}/two", "--real", folders / "real", "--out", out]
    text: str = told("make", *of, *flags, code=code, pipeline=study)
    return text


def test_study_of_folders_holds_what_was_drawn(told: Any, folders: Path, tmp_path: Path) -> None:
    said = make(told, folders, tmp_path / "s.html")
    assert "50 sheets of 50 trials" in said
    found = study_in(tmp_path / "s.html")
    assert (found["mode"], found["practice"], found["trials"], found["display_ms"]) == ("real", 10, 40, 1000)
    sheets = draw(PLAN, {"one": KEYS, "two": KEYS}, KEYS)
    names = [(one["by"], one["key"]) for one in found["pictures"]]
    assert [[[names[i] for i in trial] for trial in sheet] for sheet in found["sheets"]] == [
        [[(one.by, one.key) for one in trial] for trial in sheet] for sheet in sheets
    ]
    before = (tmp_path / "s.html").read_bytes()
    make(told, folders, tmp_path / "s.html")
    assert (tmp_path / "s.html").read_bytes() == before
    make(told, folders, tmp_path / "s.html", "--seed", 1)
    assert study_in(tmp_path / "s.html")["study"] != found["study"]


def test_study_brings_all_images_to_one_size(told: Any, folders: Path, tmp_path: Path) -> None:
    """Else a person tells the real ones by their size: here they have 32 pixels, and the smallest 16."""
    make(told, folders, tmp_path / "s.html")
    for one in study_in(tmp_path / "s.html")["pictures"][::20]:
        kind, _, data = one["src"].partition(",")
        assert kind == "data:image/png;base64"
        assert decode(b64decode(data), "png").shape == (16, 16, 3)


def test_reduced_image_keeps_its_shape() -> None:
    assert reduced(Image.new("RGB", (512, 100)), 256).size == (256, 50)
    assert reduced(Image.new("RGB", (40, 30)), 256).size == (40, 30)


def test_study_page_loads_nothing_and_runs_its_own_script_alone(told: Any, folders: Path, tmp_path: Path) -> None:
    make(told, folders, tmp_path / "s.html")
    text = (tmp_path / "s.html").read_text()
    script = text.rpartition("<script>")[2].partition("</script>")[0]
    allowed = b64encode(sha256(script.encode()).digest()).decode()
    assert f"script-src &#x27;sha256-{allowed}&#x27;" in text
    assert "default-src &#x27;none&#x27;" in text
    assert "connect-src" not in text
    for address in ("http://", "https://", "//cdn", "@import", "url("):
        assert address not in text


NASTY = "</script><script>alert(1)</script>\"'<!--&\u2028"


def test_study_page_keeps_every_name_a_text(told: Any, tmp_path: Path) -> None:
    """Of an algorithm and of images, whose files cannot have a slash."""
    keys = [f"{n}{NASTY.replace('/', '')}" for n in range(4)]
    for name in ("real", "one"):
        folder_of(tmp_path / name, keys)
    flags = ["--against", f"{NASTY}={tmp_path}/one", "--real", tmp_path / "real", "--trials", 3, "--practice", 1]
    told("make", *flags, "--out", tmp_path / "s.html", code=0, pipeline=study)
    text = (tmp_path / "s.html").read_text()
    assert text.count("</script>") == 2
    assert text.count("<script") == 2
    assert "<!--" not in text
    found = study_in(tmp_path / "s.html")
    assert {one["by"] for one in found["pictures"]} == {None, NASTY}
    assert {one["key"] for one in found["pictures"]} == set(keys)


def test_study_of_preferences_shows_inputs(told: Any, folders: Path, tmp_path: Path) -> None:
    flags = ["--mode", "preference", "--input", folders / "input", "--trials", 20]
    make(told, folders, tmp_path / "s.html", *flags)
    found = study_in(tmp_path / "s.html")
    assert (found["practice"], found["display_ms"]) == (0, 0)
    assert all(one["by"] in ("one", "two") for one in found["pictures"])
    assert {one["key"] for one in found["pictures"]} == found["sources"].keys()


def test_study_of_a_run_shows_its_translations_of_held_out_data(
    told: Any, pix2pix: str, folders: Path, tmp_path: Path
) -> None:
    from ..support.translating import files, go

    flags = ["--pairs", "same", "--practice", 1, "--trials", 3, "--sheets", 40, "--split", "val", "--most", 8]
    told("make", f"mine={pix2pix}", *flags, "--out", tmp_path / "s.html", code=0, pipeline=study)
    found = study_in(tmp_path / "s.html")
    made = {one["key"]: one["src"] for one in found["pictures"] if one["by"] == "mine"}
    data = json.loads((Path(pix2pix) / "checkpoints/images-000000000036/config.json").read_text())["data"]["uri"]
    go(pix2pix, data, tmp_path / "out", split="val", most=8)
    expected = files(tmp_path / "out")
    assert len(made) == 8
    for key, source in made.items():
        assert source.partition(",")[2] == b64encode(expected[f"{key}.png"]).decode()
    real = {one["key"] for one in found["pictures"] if one["by"] is None}
    assert real == made.keys()


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "RUN: found nothing"),
        (["x"], "--out: found nothing"),
        (["x", "--out", "x.htm"], "--out: found x.htm"),
        (["x", "--out", "x.html", "--mode", "preference"], "RUN: found one algorithm"),
        (["--against", "x", "--out", "x.html"], "--real: found nothing"),
        (["--against", "x", "--real", "y", "--out", "x.html"], "--against: found x; expected NAME=FOLDER"),
        (["--against", "x=nowhere", "--real", "y", "--out", "x.html"], "nothing at that place"),
        (["nowhere", "--out", "x.html"], "nothing at that place"),
        (["x", "--out", "x.html", "--seconds", "0"], "--seconds: found 0"),
        (["x", "--out", "x.html", "--seconds", "nan"], "--seconds: found nan"),
        (["x", "--out", "x.html", "--seed", str(2**53)], "--seed: found"),
        ([*"abcdefghi", "--out", "x.html"], "found 9 algorithms; expected at most 8"),
    ],
)
def test_study_make_answers_wrong_input(
    told: Any, flags: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in told("make", *flags, pipeline=study)
    assert not [*tmp_path.iterdir()]


def test_study_of_two_algorithms_of_one_name_is_refused(told: Any, folders: Path, tmp_path: Path) -> None:
    two = [
        "--against",
        f"a={folders}/one",
        f"a={folders}/two",
        "--real",
        folders / "real",
        "--out",
        tmp_path / "s.html",
    ]
    assert "two that are called a" in told("make", *two, pipeline=study)


def test_study_read_prints_and_writes_what_people_answered(told: Any, tmp_path: Path) -> None:
    for n in range(6):
        (tmp_path / f"answers-{n}.json").write_bytes(session(PLAN, str(n), (at_left, never_fooled)[n % 2], n))
    said = told("read", f"{tmp_path}/answers-*.json", "--out", tmp_path / "r.json", code=0, pipeline=study)
    assert "6 files, 6 people" in said
    assert "a - b: +50.0%" in said
    found = json.loads((tmp_path / "r.json").read_text())
    assert found["shares"]["a"]["value"] == 0.5
    assert found["shares"]["b"] == {"people": 3, "trials": 120, "times": 0, "value": 0, "sd": 0, "low": 0, "high": 0}
    assert found["bootstrap"]["draws"] == 10_000
    assert found["comparisons"][0]["chance"] == 1


def test_study_read_answers_wrong_input(told: Any, tmp_path: Path) -> None:
    assert "FILE: found nothing" in told("read", pipeline=study)
    assert "found no file" in told("read", tmp_path / "x.json", pipeline=study)
    assert "found no file" in told("read", tmp_path, pipeline=study)
    (tmp_path / "x.json").write_text("<html>")
    assert "text that is not JSON" in told("read", tmp_path / "x.json", pipeline=study)
    none = changed(session(), lambda values: values["answers"].clear())
    (tmp_path / "x.json").write_bytes(none)
    assert "failed: not one answer counts" in told("read", tmp_path / "x.json", code=1, pipeline=study)
    name = tmp_path / "a\x1b[2J.json"
    name.write_text("{}")
    assert "\x1b" not in told("read", name, pipeline=study)
