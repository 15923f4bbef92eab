"""`python -m footplate_trainer`: the first process of a trainer pod."""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

from footplate.contract import Env, ExitCode


def main() -> NoReturn:
    """Runs the pod, writes its termination message, and exits with its code."""
    # As a pod's init process we would not even notice a SIGTERM that comes before there is a handler.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(ExitCode.STOPPED))
    asyncio.run(_run())
    raise AssertionError("_run doesn't return")


async def _run() -> NoReturn:
    import structlog

    from footplate_trainer import exchange
    from footplate_trainer.errors import ConfigError, WrongJob
    from footplate_trainer.supervisor import forkserver, logs, processes
    from footplate_trainer.supervisor.lifecycle import supervise
    from footplate_trainer.supervisor.pod import read_pod
    from footplate_trainer.supervisor.verdict import judge, write_verdict

    logs.configure(os.environ)
    forkserver.become_subreaper()
    try:
        verdict = await supervise(read_pod(arguments=sys.argv[1:]))
    except (ConfigError, WrongJob) as error:
        verdict = judge(error.exit_code, error=exchange.describe_error(error.with_traceback(None), rank=None))
    processes.kill_all_children()
    log = structlog.get_logger()
    log.info("the pod ends", outcome=verdict.outcome, exit_code=verdict.exit_code)
    try:
        write_verdict(Path(os.environ.get(Env.TERMINATION_LOG, "/dev/termination-log")), verdict)
    except OSError as error:
        log.warning("the termination message can't be written", error=str(error))
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(verdict.exit_code)  # threads in the middle of a request would hold a regular exit up for minutes


if __name__ == "__main__":
    main()
