"""`python -m footplate_trainer`: the first process of a trainer pod.

Whatever goes wrong in here, the pod leaves a verdict and doesn't end with 0: that takes a verdict of success which
could be written as a whole.
"""

import asyncio
import contextlib
import os
import signal
import sys
import traceback
from pathlib import Path
from typing import NoReturn

from footplate.contract import Env, ExitCode, TokenEnv, Verdict


def main() -> NoReturn:
    """Runs the pod, writes its termination message, and exits with its code."""
    try:
        # As a pod's init process we would not even notice a SIGTERM that comes before there is a handler.
        signal.signal(signal.SIGTERM, lambda *_: os._exit(ExitCode.STOPPED))
        # Who started us may ignore it, and then the kernel tells nobody how a process has ended.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        asyncio.run(_run())
    finally:
        os._exit(ExitCode.USER_ERROR)


async def _run() -> NoReturn:
    code: int = ExitCode.USER_ERROR
    try:
        code = _leave_word(await _verdict())
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(code)  # threads in the middle of a request would hold a regular exit up for minutes


async def _verdict() -> Verdict:
    import structlog

    from footplate_trainer import exchange
    from footplate_trainer.errors import ConfigError, WrongJob
    from footplate_trainer.supervisor import forkserver, logs
    from footplate_trainer.supervisor.lifecycle import supervise
    from footplate_trainer.supervisor.pod import read_pod
    from footplate_trainer.supervisor.verdict import judge

    try:
        logs.configure(os.environ)
        forkserver.become_subreaper()
        pod = read_pod(arguments=sys.argv[1:])
        os.environ.pop(TokenEnv.TOKEN, None)  # no program of the user's needs it, nor prints it into a log
        return await supervise(pod)
    except (ConfigError, WrongJob) as error:
        return judge(error.exit_code, error=exchange.describe_error(error.with_traceback(None), rank=None))
    except BaseException as error:
        with contextlib.suppress(Exception):
            structlog.get_logger().exception("the supervisor itself failed")
        return judge(ExitCode.USER_ERROR, error=exchange.describe_error(error, rank=None))


def _leave_word(verdict: Verdict) -> int:
    """Writes the termination message, and returns the code to exit with."""
    import structlog

    from footplate_trainer.supervisor import processes
    from footplate_trainer.supervisor.verdict import write_verdict

    log = structlog.get_logger()
    with contextlib.suppress(Exception):
        processes.kill_all_children()
    with contextlib.suppress(Exception):  # a log that nobody takes
        log.info("the pod ends", outcome=verdict.outcome, exit_code=verdict.exit_code)
    code = verdict.exit_code if 0 <= verdict.exit_code < 256 else ExitCode.USER_ERROR
    try:
        write_verdict(Path(os.environ.get(Env.TERMINATION_LOG, "/dev/termination-log")), verdict)
    except Exception as error:
        if verdict.artifact is not None:  # a model of which nobody hears is none: the next attempt finds and tells it
            code = ExitCode.PEER_LOST
        with contextlib.suppress(Exception):
            log.warning("the termination message can't be written", error=str(error), exit_code=int(code))
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(Exception):
            stream.flush()
    return code


if __name__ == "__main__":
    main()
