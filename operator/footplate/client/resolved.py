"""The job as it runs: merged with its runtime, as the operator fixed it when the run began."""

from pydantic import ValidationError

from footplate.api.trainingjob import TrainingJobSpec
from footplate.client.connection import Connection
from footplate.client.errors import NotAllowed
from footplate.client.status import read_status
from footplate.contract import JOB_FILE, JobConfig
from footplate.errors import NotFound
from footplate.machinery.resources import CONFIG_MAPS
from footplate.objects import Object, block, key_of, text


async def read_spec(connection: Connection, job: Object) -> TrainingJobSpec | None:
    """What the run was started with; where that can't be read the job's own spec, which lacks what its runtime gives.
    None where this version doesn't understand either.
    """
    resolved = read_status(job).resolved
    if resolved is not None:
        try:
            found = await connection.get(CONFIG_MAPS, key_of(job)[0], resolved.config_map)
            return JobConfig.model_validate_json(text(block(found, "data"), JOB_FILE), extra="ignore").spec
        except (NotAllowed, NotFound, ValidationError):
            pass
    try:
        return TrainingJobSpec.model_validate(block(job, "spec"), extra="ignore")
    except ValidationError:
        return None
