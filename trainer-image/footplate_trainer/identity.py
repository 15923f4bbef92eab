"""Which job and run a pod was given, as both programs check it."""

from collections.abc import Mapping

from footplate.contract import Env, JobConfig
from footplate_trainer.errors import WrongJob


def check_identity(config: JobConfig, environ: Mapping[str, str]) -> None:
    """Refuses to train with what another job of this name, or another run, was asked to do: a node may serve an old
    copy of what it mounts.

    Raises:
        WrongJob: job.json isn't that of the job and run that the environment names.
    """
    meant = environ.get(Env.UID), environ.get(Env.RUN) or str(config.run)
    found = config.metadata.uid, str(config.run)
    if meant[0] and meant != found:
        raise WrongJob(
            f"{Env.CONFIG}={environ.get(Env.CONFIG)} is that of run {found[1]} of a job with the UID {found[0]}, but "
            f"this pod is of run {meant[1]} of {meant[0]}: the node has mounted something old. Nothing was trained; "
            "the next attempt mounts it anew"
        )
