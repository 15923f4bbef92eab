"""One rank: `python -m footplate_trainer.rank.program` runs the job's recipe or entrypoint, and says how it ended.

Started by the supervisor, once an accelerator, in the folder of the user's code. Whatever happens, this process leaves
with an exit code of the contract and, if it failed, with word of why. After a failure or a stop it leaves without
waiting for threads or connections: the sooner its sockets close, the sooner its peers know.
"""

import contextlib
import difflib
import faulthandler
import importlib
import importlib.util
import logging
import runpy
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn

from footplate.contract import ExitCode
from footplate_trainer import blame, exchange
from footplate_trainer.errors import ConfigError, Stopped, TrainerError, UserError
from footplate_trainer.rank import gang, leaving, stopping
from footplate_trainer.rank.context import check_devices, context
from footplate_trainer.rank.environment import Context, here
from footplate_trainer.rank.report import reporter

LINGER_SECONDS = 5.0
"""How long threads may keep a program from its end before that is told."""
MOST_LINGER_SECONDS = 1800
"""Longest they may, whatever `hangTimeoutSeconds` is."""

log = logging.getLogger("footplate_trainer")


def main() -> None:
    """Runs this rank's program. Returns where it was completed, here and on all other ranks; else this process ends."""
    try:
        code = _run_here()
    except BaseException as error:
        if leaving.is_fork():
            with contextlib.suppress(Exception):
                traceback.print_exception(error)
            leaving.end_fork(failure_code(error))
        code = _explain(error)
    if code != ExitCode.OK:
        leaving.fail(code, seconds=min(leaving.HANDLERS_SECONDS, stopping.time_to_leave()))


def _run_here() -> int:
    faulthandler.enable()
    _log_to_stderr()
    ctx = here()
    if ctx.run_dir is not None:
        faulthandler.register(signal.SIGUSR1, file=exchange.open_stacks(ctx.run_dir, ctx.rank))
    stopping.install(ctx.grace_seconds)
    reporter().beat()
    code = run(ctx)
    if code == ExitCode.OK:
        threading.Thread(target=_watch_the_end, args=(ctx,), name="footplate-end", daemon=True).start()
        leaving.succeed(reporter().finish, _explain)
    return code


def _log_to_stderr() -> None:
    """Our own logger alone: the root is the program's, whose `basicConfig` does nothing where there are handlers."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    log.addHandler(handler)
    log.setLevel(logging.INFO)
    log.propagate = False


def run(ctx: Context) -> ExitCode:
    """Runs the program, and leaves the gang when all ranks are done."""
    check_devices(ctx)
    try:
        find_program(ctx)()
    except Stopped:
        stopped = True
    except SystemExit as end:
        if leaving.exit_status(end.code) != ExitCode.OK:
            raise
        stopped = _asked_to_stop()
    else:
        stopped = _asked_to_stop()
    if leaving.is_fork():
        leaving.end_fork(ExitCode.OK)
    _finish(stopped=stopped)
    return ExitCode.STOPPED if stopped or _asked_to_stop() else ExitCode.OK


def find_program(ctx: Context) -> Callable[[], object]:
    """What the job wants to be run.

    Raises:
        ConfigError: there is no such recipe, script, module or function.
    """
    if ctx.config is None:
        raise ConfigError("this process runs only inside a job; start your script with python instead")
    trainer = ctx.config.spec.trainer
    if trainer.recipe is not None:
        recipes = importlib.import_module("footplate_trainer.recipes")
        name = trainer.recipe
        return lambda: recipes.run(name, context())
    if trainer.entrypoint is None:
        raise ConfigError("trainer.recipe or trainer.entrypoint must be set for a rank to run")
    sys.argv[0] = trainer.entrypoint
    return find_entrypoint(trainer.entrypoint)


def find_entrypoint(entrypoint: str) -> Callable[[], object]:
    """A script, `package.module`, or `package.module:function`, in the working directory or installed.

    Raises:
        ConfigError: there is none of this name.
    """
    if entrypoint.endswith(".py") or "/" in entrypoint:
        return _script(Path(entrypoint))
    sys.path.insert(0, str(Path.cwd()))
    module, _, function = entrypoint.partition(":")
    if not _exists(module):
        raise ConfigError(
            f"spec.trainer.entrypoint={entrypoint}: there is no module {module!r} in {_listing(Path.cwd())}, and "
            "none is installed in the image; correct the name, or add the module to trainer.source"
        )
    if function:
        return lambda: _function(module, function)(context())
    return lambda: runpy.run_module(module, run_name="__main__", alter_sys=True)


def _script(path: Path) -> Callable[[], object]:
    if not path.is_file():
        raise ConfigError(
            f"spec.trainer.entrypoint={path}: there is no such file in {_listing(Path.cwd())}; correct the name, "
            "or add the file to trainer.source"
        )
    sys.path.insert(0, str(path.parent.resolve()))
    return lambda: runpy.run_path(str(path.absolute()), run_name="__main__")  # as `python` does, for after a chdir


def _exists(module: str) -> bool:
    try:
        return importlib.util.find_spec(module) is not None
    except ModuleNotFoundError as error:
        if error.name and (module == error.name or module.startswith(f"{error.name}.")):
            return False
        raise


def _function(module: str, name: str) -> Callable[[Context], Any]:
    loaded = importlib.import_module(module)
    function = getattr(loaded, name, None)
    if not callable(function):
        near = difflib.get_close_matches(name, [known for known in vars(loaded) if callable(vars(loaded)[known])], n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise ConfigError(
            f"spec.trainer.entrypoint={module}:{name}: the module {module!r} has no function {name!r}{hint}"
        )
    result: Callable[[Context], Any] = function
    return result


def _listing(folder: Path) -> str:
    names = sorted(path.name for path in folder.iterdir())
    return (
        f"the code ({', '.join(names[:10])}{', …' if len(names) > 10 else ''})" if names else "the code (it is empty)"
    )


def _asked_to_stop() -> bool:
    """True where the program returned because it was told to, by `checkpoint` or from within."""
    checkpoint = sys.modules.get("footplate_trainer.checkpoint")
    return stopping.ending() or (checkpoint is not None and bool(checkpoint.stopped()))


def _finish(*, stopped: bool) -> None:
    """Waits for the last save and for all ranks: rank 0 may still be exporting what the others have trained with it."""
    reporter().enter("stopping" if stopped else "exporting")
    if (checkpoint := sys.modules.get("footplate_trainer.checkpoint")) is not None:
        checkpoint.conclude()
    reporter().close()
    gang.leave(clean=True)


def _explain(error: BaseException) -> int:
    """Leaves word of a failure, and returns the code to exit with, whatever goes wrong with the words."""
    code: int = ExitCode.USER_ERROR
    try:
        code = failure_code(error)
        if not (isinstance(error, SystemExit) and code == ExitCode.STOPPED):  # which was asked for: no failure
            _tell(here(), error, code)
    except BaseException as problem:
        with contextlib.suppress(BaseException):
            log.warning("why this rank fails can't be told: %s", type(problem).__name__)
            traceback.print_exception(error)
    return code


def _tell(ctx: Context, error: BaseException, code: int) -> None:
    shown = error.with_traceback(_users_part(error, ctx))
    with contextlib.suppress(Exception):  # a stderr that user code has put in the place of its own
        traceback.print_exception(shown)
    if ctx.run_dir is not None:
        reporter().flush()
    if ctx.run_dir is not None and code != ExitCode.STOPPED:
        exchange.write_error(ctx.run_dir, rank=ctx.rank, error=shown, exit_code=code)


def _watch_the_end(ctx: Context) -> None:
    """Python waits for threads that are no daemons. Says so if that lasts, and ends it after `hangTimeoutSeconds`: as a
    failure, since what such a thread was to do, perhaps to write the model, isn't done.
    """
    if ctx.config is None:
        return
    limit = min(ctx.config.spec.run_policy.hang_timeout_seconds, MOST_LINGER_SECONDS)
    soon = min(LINGER_SECONDS, limit)
    time.sleep(soon)
    # Those that are idle in a pool have ended by now.
    names = ", ".join(repr(thread.name) for thread in threading.enumerate() if _keeps_us(thread))
    text = f"the program has ended, but its threads haven't: {names}; join them, or make them daemons"
    if not names:
        text = "the program has ended, but what it has registered with atexit hasn't, or native code; make it end"
    if not ctx.is_main:  # whose note is in the log
        log.warning("rank %d: %s", ctx.rank, text)
    reporter().note(f"{text}. It counts as failed if they haven't after {limit} s (runPolicy.hangTimeoutSeconds)")
    reporter().flush()
    time.sleep(limit - soon)
    faulthandler.dump_traceback()
    error = UserError(f"{text}. That was waited for {limit} s (runPolicy.hangTimeoutSeconds)")
    leaving.end(_explain(error))


def _keeps_us(thread: threading.Thread) -> bool:
    return not thread.daemon and thread is not threading.main_thread()


def failure_code(error: BaseException) -> int:
    """The exit code that says who pays for a failure; never 0."""
    if stopping.ending():
        return ExitCode.STOPPED
    if isinstance(error, SystemExit):
        code = leaving.exit_status(error.code)
        claimed = code in (ExitCode.PEER_LOST, ExitCode.HANG) or (
            code == ExitCode.STOPPED and not (stopping.requested() or _asked_to_stop())
        )
        return ExitCode.USER_ERROR if claimed or code == ExitCode.OK else code
    if isinstance(error, KeyboardInterrupt):
        return 128 + signal.SIGINT
    if blame.lost_peer(error):
        return ExitCode.PEER_LOST
    return exchange.exit_code_of(error)


def _users_part(error: BaseException, ctx: Context) -> TracebackType | None:
    """The traceback without the frames that lead from here to the user's code; None where it isn't reached, as it never
    is in a recipe that complains of the job or its data.
    """
    recipe = ctx.config is not None and ctx.config.spec.trainer.recipe is not None
    if recipe and isinstance(error, TrainerError) and not isinstance(error, UserError):
        return None
    trace = error.__traceback__
    ours = {__file__, runpy.__file__, "<frozen runpy>"}
    while trace is not None and trace.tb_frame.f_code.co_filename in ours:
        trace = trace.tb_next
    return trace


def run_process() -> NoReturn:
    """All that this process is for, up to the way it ends."""
    # Its end is registered first and so comes last. Without it the interpreter would take itself apart under gloo's
    # threads, which once in a while ends a successful rank by SIGABRT.
    leaving.begin()
    main()
    sys.exit(ExitCode.USER_ERROR)  # what counts where even that end goes wrong


if __name__ == "__main__":
    run_process()
