"""Translate videos with a trained method, whole clips at a time, in this process or on many Ray workers."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from functools import partial
from typing import Any

from tqdm import tqdm

from i2i_core.batch import Bad
from i2i_core.checkpoints.trained import Trained
from i2i_core.config.translation import TranslateOptions
from i2i_core.errors import RunError
from i2i_core.orchestration import pool
from i2i_core.storage.folder import Folder
from i2i_core.translation.clips import ClipJob, ClipTranslator, Filmed, stem_of
from i2i_core.translation.inputs import Clips
from i2i_core.translation.translator import TranslationJob

MOST_PROBED = 256
"""Most clips whose lengths are read before the first is translated."""
Made = tuple[Filmed, ...] | Bad


def translate_clips(
    job: TranslationJob, trained: Trained, options: TranslateOptions, where: pool.Where
) -> tuple[tuple[Filmed, ...], tuple[Bad, ...]]:
    """Translate the clips of a job, each on one worker; give the videos that were made, and the clips without any.

    Raises:
        UserError: as `pool.over`.
        RunError: a worker was lost, the outputs cannot be written, or not one clip could be translated.
    """
    stretched = bool(options.size) and not isinstance(options.resize_to, int)
    film = ClipJob(job, stem_of(options.out), options.most, stretched)
    Folder(job.out).remove_left(["*.writing"])
    found: dict[int, Made] = {}
    with tqdm(total=_frames_of(film) or None, unit=" frames", smoothing=0) as bar:
        task = partial(_here, bar.update) if where.here else _afar
        for i, part in pool.over(range(len(job.inputs.names)), task, film, trained, where):
            found[i] = part
            bar.update(0 if where.here or isinstance(part, Bad) else part[0].frames)
    in_order = [found[i] for i in sorted(found)]
    bad = tuple(part for part in in_order if isinstance(part, Bad))
    if len(bad) == len(in_order):
        causes = "; ".join(f"{b.key}: {b.cause}" for b in bad[:3])
        raise RunError(f"not one video could be translated ({causes})")
    return tuple(film for part in in_order if not isinstance(part, Bad) for film in part), bad


def _here(tick: Callable[[int], Any], translator: ClipTranslator, i: int) -> tuple[int, Made]:
    """Translate a clip in this process, and call `tick` with the number of frames that are done."""
    return i, translator.run(i, tick)


def _afar(translator: ClipTranslator, i: int) -> tuple[int, Made]:
    return i, translator.run(i)


def _frames_of(film: ClipJob) -> int:
    """Reckon the frames of all clips by what their files say; 0 where they are many, or one does not say."""
    clips, total = film.job.inputs, 0
    assert isinstance(clips, Clips), "the driver has opened them"
    if len(clips.names) > MOST_PROBED:
        return 0
    for i in range(len(clips.names)):
        try:
            with closing(clips.opened(i)) as clip:
                if not clip.about:
                    return 0
                total += min(clip.about, film.most or clip.about)
        except (OSError, ValueError):
            continue  # it is named when its turn comes
    return total
