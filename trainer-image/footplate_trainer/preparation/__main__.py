"""`python -m footplate_trainer.preparation FOLDER`: prepares the data of the job that the environment names, into a
folder. What fails it leaves as a rank does, for its supervisor to read.
"""

import json
import os
import sys
from pathlib import Path

from footplate.contract import Env, JobConfig, data_channels
from footplate_trainer import exchange
from footplate_trainer.preparation.layout import DIGESTS
from footplate_trainer.preparation.learning import wanted_by
from footplate_trainer.preparation.preparing import prepare


def main(folder: Path) -> int:
    """Prepares; the exit code says whose fault it is where that fails."""
    try:
        config = JobConfig.model_validate_json(Path(os.environ[Env.CONFIG]).read_bytes())
        if (data := config.spec.data) is None:
            return 0
        root = Path(os.environ[Env.INPUT_DIR])
        trainer = config.spec.trainer
        wanted = wanted_by(trainer.recipe, trainer.hyperparameters)
        target = wanted.target if wanted is not None else trainer.hyperparameters.get("target")
        prepare(
            data,
            {channel.name: root / channel.name for channel in data_channels(config.spec)},
            folder,
            digests=json.loads((folder / DIGESTS).read_text()),
            label=target if isinstance(target, str) else None,
            wanted=wanted,
            title=f"Data of {config.metadata.namespace}/{config.metadata.name}, run {config.run}",
        )
    except Exception as error:
        return exchange.write_error(Path(os.environ[Env.RUN_DIR]), rank=0, error=error)
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
