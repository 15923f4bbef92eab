"""`python -m footplate_trainer.preflight.probe`: measures one device of a pod and, with those of all other pods, the
network. It computes nothing of the user's, and tells the supervisor by its file alone.
"""

import os
import sys
from pathlib import Path

from footplate.contract import Env
from footplate_trainer.errors import BrokenDevice, ConfigError, TrainerError, words_of
from footplate_trainer.preflight import reading as readings
from footplate_trainer.preflight.reading import Recorder


def main() -> None:
    """Measures, and ends with 0 whatever it has found: that is in the reading."""
    local = int(os.environ["LOCAL_RANK"])
    recorder = Recorder(readings.path_of(Path(os.environ[Env.RUN_DIR]), local))
    try:
        from footplate_trainer.preflight.measuring import measure  # torch, which may take minutes

        measure(recorder, local)
    except (ConfigError, ImportError) as error:
        recorder.add(mistake=words_of(error))
    except BrokenDevice as error:
        recorder.add(unfit=words_of(error))
    except Exception as error:
        text = words_of(error) if isinstance(error, TrainerError) else f"{type(error).__name__}: {words_of(error)}"
        if recorder.reading.stage == "starting":
            recorder.add(lost=f"the preflight didn't come to measure anything: {text[:400]}")
        elif recorder.reading.stage == "device":
            recorder.add(unfit=f"device {local} fails: {text[:400]}")
        else:
            recorder.add(lost=f"the network's check failed: {text[:400]}")
    sys.stdout.flush()
    os._exit(0)  # no library's threads, and no peer, hold it up


if __name__ == "__main__":
    main()
