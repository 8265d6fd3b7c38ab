"""Read the files of answers that the page of a study saves, and choose the answers that count."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from i2i_core import strict
from i2i_core.errors import DataError
from i2i_core.settings import shown
from i2i_core.studies.drawing import Mode, Question, Shown

FORMAT = 1
"""Version of the files of answers."""
MOST_BYTES = 16 << 20
"""Bytes of a file of answers."""
MOST_ANSWERS = 10_000
"""Answers in a file."""
MOST_MS = 86_400_000.0
"""Milliseconds of a day: no image is shown longer, and no answer takes longer."""
MOST_TEXT = 1000
"""Characters of a text in a file of answers."""
AS_SAVED = "Take the file as the study's page saved it."
REASONS = {
    "practice": "practice",
    "early": "an image was shown too briefly",
    "late": "an image was shown too long",
    "fast": "answered too fast",
    "again": "shown again after the page was loaded again",
    "copy": "in another file of the same person",
}
"""By reason why answers do not count: the reason in words."""


@dataclass(frozen=True)
class Answer:
    """Hold one answer.

    Attributes:
        trial: its number on the sheet, from 0 on.
        practice: true for a trial with feedback.
        left, right: the images.
        chosen: side that the person chose.
        shown_ms: measured display times of the left and right image, in ms; none where both stay until the answer.
        answer_ms: from the moment of the question to the answer, in ms.
        times_shown: how often the trial was shown: more than once after the page was loaded again.
    """

    trial: int
    practice: bool
    left: Shown
    right: Shown
    chosen: Literal["left", "right"]
    shown_ms: tuple[float, ...]
    answer_ms: float
    times_shown: int


@dataclass(frozen=True)
class Session:
    """Hold a file of answers: what one person said of one sheet.

    Attributes:
        format: version of the file.
        study: the study's id.
        mode, question, seed, practice, trials: as the study's plan has them.
        sheet: number of the sheet.
        person: random id that the page drew when the person began.
        program: program that wrote the page.
        display_ms: how long images were to be shown, in ms; 0: until the answer.
        frame_ms: time between two frames of the person's screen, in ms.
        begun: date and time.
        answers: in their order.
    """

    format: int
    study: str
    mode: Mode
    question: Question
    seed: int
    sheet: int
    person: str
    program: str
    practice: int
    trials: int
    display_ms: float
    frame_ms: float
    begun: str
    answers: tuple[Answer, ...]


def read_session(data: bytes, where: str) -> Session:
    """Read a file of answers.

    Raises:
        DataError: the file is none, or holds what no page saves.
    """
    session: Session = strict.read(data, Session, where, AS_SAVED, most=MOST_BYTES)
    if wrong := _wrong(session):
        raise DataError(where, wrong, "answers as a study's page saves them", AS_SAVED)
    return session


def _wrong(session: Session) -> str:
    """Say what no page saves; empty where all is well."""
    if session.format != FORMAT:
        return f"format {session.format}, not {FORMAT}"
    numbers = [session.display_ms, session.frame_ms, session.seed, session.sheet, session.practice, session.trials]
    texts = [session.study, session.person, session.program, session.begun]
    for answer in session.answers:
        numbers += [answer.trial, *answer.shown_ms, answer.answer_ms, answer.times_shown]
        texts += [text for one in (answer.left, answer.right) for text in (one.by or "", one.key)]
    if min(numbers) < 0 or max([n for n in numbers if n != session.seed], default=0) > MOST_MS:
        return "a number that is negative or too large"
    if any(len(text) > MOST_TEXT for text in texts):
        return f"a text of more than {MOST_TEXT:,} characters"
    if len(session.answers) > MOST_ANSWERS:
        return f"{len(session.answers):,} answers"
    if len({answer.trial for answer in session.answers}) < len(session.answers):
        return "two answers to one trial"
    return next((f"trial {a.trial}: {why}" for a in session.answers if (why := _wrong_answer(session, a))), "")


def _wrong_answer(session: Session, answer: Answer) -> str:
    real = [one.by for one in (answer.left, answer.right)].count(None)
    if session.mode == "real" and real != 1:
        return f"{real} real images of two"
    if session.mode == "preference" and (real or answer.left.by == answer.right.by):
        return "not the outputs of two algorithms"
    if answer.practice != (answer.trial < session.practice):
        return f"practice {shown(answer.practice)}, of {session.practice} practice trials"
    if answer.trial >= session.practice + session.trials:
        return f"a sheet has {session.practice + session.trials}"
    if len(answer.shown_ms) != (2 if session.display_ms else 0):
        return f"{len(answer.shown_ms)} display times"
    return ""


@dataclass(frozen=True)
class Limits:
    """Say which answers count.

    Attributes:
        display_ms: how far the display time of an image may be from what it was to be, in ms.
        least_ms: quickest answer, in ms.
    """

    display_ms: float = 100.0
    least_ms: float = 100.0


@dataclass
class Counting:
    """Hold the answers that count, by study and person, and how many do not, by reason."""

    people: dict[tuple[str, str], list[Answer]] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=lambda: dict.fromkeys(REASONS, 0))


def counting(sessions: Iterable[Session], limits: Limits) -> Counting:
    """Choose the answers that count. Of several files of one person the one with the most answers counts."""
    found, fullest = Counting(), dict[tuple[str, str], Session]()
    for session in sessions:
        who = session.study, session.person
        other = fullest.get(who)
        more = other is None or len(session.answers) > len(other.answers)
        if other is not None:
            found.left_out["copy"] += len((other if more else session).answers)
        if more:
            fullest[who] = session
    for who, session in fullest.items():
        for answer in session.answers:
            if why := why_not(session, answer, limits):
                found.left_out[why] += 1
            else:
                found.people.setdefault(who, []).append(answer)
    return found


def why_not(session: Session, answer: Answer, limits: Limits) -> str:
    """Name the reason why an answer does not count, a key of REASONS; empty where it counts."""
    if answer.practice:
        return "practice"
    if answer.times_shown > 1 and session.display_ms:
        return "again"
    if any(ms < session.display_ms - limits.display_ms for ms in answer.shown_ms):
        return "early"
    if any(ms > session.display_ms + limits.display_ms for ms in answer.shown_ms):
        return "late"
    return "fast" if answer.answer_ms < limits.least_ms else ""


def fooled(question: Question, answer: Answer) -> bool:
    """Tell whether a person took the made image for the real one."""
    chosen = answer.left if answer.chosen == "left" else answer.right
    return (chosen.by is None) == (question == "fake")


def of_one_kind(sessions: Mapping[str, Session]) -> Session:
    """Check that all files can be counted together, and return one of them.

    Args:
        sessions: by the file's name.

    Raises:
        DataError: the files differ in mode, question or display time.
    """
    (first_name, first), *others = sessions.items()
    for name, session in others:
        if asked_in(session) != asked_in(first):
            found, fix = _kind(session), "Read the answers of each kind of study by themselves."
            raise DataError(name, found, f"{_kind(first)}, as {first_name}", fix)
    return first


def asked_in(session: Session) -> tuple[str, str, float]:
    """Give what has to be equal for answers to be counted together."""
    return session.mode, session.question if session.mode == "real" else "", session.display_ms


def _kind(session: Session) -> str:
    mode, question, display_ms = asked_in(session)
    return f"mode {mode}{f', question {question}' if question else ''}, images shown for {display_ms:g} ms"


def tallies(people: Sequence[Sequence[Answer]], question: Question) -> dict[str, list[tuple[int, int]]]:
    """Count, by algorithm and for each person, how often the person was fooled, and of how many trials."""
    found: dict[str, list[tuple[int, int]]] = {}
    for answers in people:
        own: dict[str, list[bool]] = {}
        for answer in answers:
            own.setdefault(answer.left.by or answer.right.by or "", []).append(fooled(question, answer))
        for name, each in own.items():
            found.setdefault(name, []).append((sum(each), len(each)))
    return found


def preferences(people: Sequence[Sequence[Answer]]) -> dict[tuple[str, str], list[tuple[int, int]]]:
    """Count, by two algorithms in the order of their names and for each person, how often the first was preferred, and
    of how many trials."""
    found: dict[tuple[str, str], list[tuple[int, int]]] = {}
    for answers in people:
        own: dict[tuple[str, str], list[bool]] = {}
        for answer in answers:
            first, second = sorted((answer.left.by or "", answer.right.by or ""))
            chosen = answer.left.by if answer.chosen == "left" else answer.right.by
            own.setdefault((first, second), []).append(chosen == first)
        for pair, each in own.items():
            found.setdefault(pair, []).append((sum(each), len(each)))
    return found
