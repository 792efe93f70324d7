"""What later stages of a progressive extension would refuse, asked before the first search: hours
lie between them.
"""

import json
import math
import tempfile
from pathlib import Path

from ropewalk.adapting.course import CHECKPOINT, SHARES, TUNED, Course
from ropewalk.adapting.stages import MEASURED_DURING
from ropewalk.adapting.study import PLAIN, Study
from ropewalk.adapting.tuning import RESERVED, TRAINING
from ropewalk.core.errors import RopewalkError
from ropewalk.core.extras import require_extra
from ropewalk.engines.export.portable import portable_block
from ropewalk.integrations.folders import require_free
from ropewalk.integrations.loading import LoadedModel
from ropewalk.integrations.scoring import TransformersScorer
from ropewalk.training.tuning.timing import step_seconds

MEASURED = 2 + MEASURED_DURING + RESERVED
"""Measurements of a training: two before it, those between steps, and its reserve."""
SAFETY = 2.0
"""Over an estimate, which is good to a factor of about two (``evaluation.cost``)."""


def rehearse(course: Course, loaded: LoadedModel, loading_seconds: float) -> None:
    """Raise RopewalkError for what a later stage would refuse; nothing is written.

    loaded           the checkpoint as it was
    loading_seconds  that opening it took
    """
    require_extra("tune", "accelerate", purpose="fine-tuning")
    begun = (course.out / TUNED / TRAINING).is_dir()
    if not begun:  # what is there is somebody else's
        require_free(course.out / TUNED)
        require_free(course.out / CHECKPOINT)
    study = _study(course, loaded)
    if course.budget is not None and not begun:
        _require_time(course, course.budget, study, loading_seconds)


def _study(course: Course, loaded: LoadedModel) -> Study:
    """Of the training, and of what is stated in the end, under lists that stand for any."""
    with tempfile.TemporaryDirectory() as place:
        file = Path(place) / "factors.json"
        file.write_text(json.dumps([2.0] * len(course.base.geometry.inv_freq())))
        lists = f"longrope:short_factor=@{file},long_factor=@{file},factor=2,attention_factor=1"
        fixed = f"{lists},policy=fixed,length={course.tuned}"
        study = Study.of(loaded, course.request(fixed), course.texts, course.heldout)
        portable_block(study.shape, fixed, length=course.tuned)
        portable_block(study.shape, f"{lists},policy=whole_sequence", length=course.length)
    return study


def _require_time(course: Course, budget: float, study: Study, loading_seconds: float) -> None:
    """Raise RopewalkError for a budget whose part for the training does not hold one step."""
    request, model = study.request, study.loaded.model
    schedule = request.schedule(1, model.num_parameters())
    step = step_seconds(model, study.windows(0, schedule.batch), schedule)
    model.eval()
    run = study.measuring.run(PLAIN)
    rate = run.cost_model(TransformersScorer(model)).seconds_per_token
    tasks = ((run.setting.task_of(each.task), each) for each in run.series)
    measuring = rate * sum(task.cost(each.lengths, each.split) for task, each in tasks)
    needed = SAFETY * ((1 + RESERVED) * loading_seconds + MEASURED * measuring + step)
    if needed > budget * SHARES[1]:
        raise RopewalkError(
            f"budget of {budget:g} s, of which {SHARES[1]:.0%} are for the training: "
            f"loading, measuring and one step may take {needed:.1f} s; give at least "
            f"{math.ceil(needed / SHARES[1])} s"
        )
