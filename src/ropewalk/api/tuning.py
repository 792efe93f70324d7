"""tune: a checkpoint fine-tuned under a method, and saved as one that says so."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from ropewalk.adapting.tuning import TuneJob
from ropewalk.core.several import Words, several
from ropewalk.training.tuning.request import TuneRequest


def tune(
    source: str | Path | None,
    method: str | Sequence[str],
    length: int | str | Sequence[int | str],
    *,
    texts: Words,
    out: str | Path,
    heldout: Words = (),
    budget: float | None = None,
    device: str | None = None,
    progress: Callable[[str, float], None] = lambda work, share: None,
    **request: Any,
) -> dict[str, Any]:
    """Fine-tune a checkpoint under a method at a length, and save it as one that states the method.

        rw.tune("./model", "yarn:factor=4", 8192, texts=["books.txt"], out="./model-8k")

    source    a transformers folder, a .gguf file or a hub id; None for the bundled demo model
    method    a spec, or one for each stage; factors refer to ``source``
    length    N in tokens, or in trained lengths as ``4x``; or one for each stage
    texts     files to train on
    out       becomes the checkpoint; ``out/training`` is the run, which goes on where it stopped
    heldout   files to measure on; without any, the last tenth of each text, which is not trained on
    budget    seconds, loading, evaluation and saving included: as many steps as fit
    progress  told what goes on, and the share of it that is done
    request   the other flags of ``ropewalk tune --help``: ``TuneRequest``

    Returns what ``ropewalk tune --json`` prints. Raises RopewalkError for bad input, before
    anything is trained; where a loss is not finite; and where what was saved does not read back as
    what was tuned: then no checkpoint is left.
    """
    job = TuneJob(
        source=source,
        request=TuneRequest(method=method, length=length, **request),
        texts=several(texts),
        heldout=several(heldout),
        out=Path(out),
        budget=budget,
        device=device,
    )
    return job.run(progress)
