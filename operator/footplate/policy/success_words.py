"""What a run that has succeeded says of itself. Pure."""

from footplate.api.recipes import EVALUATE
from footplate.api.reports import ProgressStatus
from footplate.policy.job import Job
from footplate.text import clean


def what_came_out(job: Job) -> str:
    """What was made, and where it is."""
    artifact, output = job.status.artifact, job.spec.output
    if artifact is not None and job.gang.is_already_complete:
        return (
            "nothing was trained: a TrainingJob of this name and spec has left its model, which was verified anew, at "
            f"{clean(artifact.uri, most=512)}; set runPolicy.restartNonce to a new value to train again"
        )
    if artifact is not None and job.spec.trainer.recipe == EVALUATE:
        return f"the model was evaluated; what was found is at {clean(artifact.uri, most=512)}"
    if artifact is not None:
        how = _how_training_ended(artifact.ended, job.status.progress)
        return f"{how}; the verified model is at {clean(artifact.uri, most=512)}"
    if output is not None:
        return f"training finished, but rank 0 left no word of the model; look below {output.uri}"
    return "training finished"


def _how_training_ended(why: str | None, at: ProgressStatus | None) -> str:
    if why is None or why == "epochs":
        return "training finished"
    early = f"training stopped early ({clean(why, most=63)})"
    if at is None or at.epoch is None or at.epochs is None:
        return early
    return f"{early} at epoch {at.epoch:,} of {at.epochs:,}"
