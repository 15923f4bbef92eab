"""What all commands that ask a cluster have in common: where it is, and how their errors end.

`@on_cluster` gives a command its client, and the options that say which; nothing heavy is imported before it runs.
"""

import functools
import inspect
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from footplate.cli.completion import complete_jobs
from footplate.errors import FootplateError

if TYPE_CHECKING:
    from footplate.client import Client

JobName = Annotated[
    str, typer.Argument(metavar="JOB", help="Name of the job.", show_default=False, autocompletion=complete_jobs)
]
_WHERE = {
    "namespace": Annotated[str | None, typer.Option("--namespace", "-n", help="Default: the context's.")],
    "context": Annotated[str | None, typer.Option(help="Context of the kubeconfig.")],
    "kubeconfig": Annotated[str | None, typer.Option(help="Default: $KUBECONFIG, else ~/.kube/config.")],
}


def on_cluster(run: Callable[..., None], *, trouble: int = 1) -> Callable[..., None]:
    """The command without its first parameter, the client, and with the options that say where that leads.

    `trouble`: exit code where the client can't do what it is asked.
    """

    @functools.wraps(run)
    def command(**given: Any) -> None:
        where = {name: given.pop(name) for name in _WHERE}
        with explained(run.__name__.replace("_", " ").strip(), trouble), connected(where) as client:
            run(client, **given)

    taken = list(inspect.signature(run).parameters.values())[1:]
    options = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=kind)
        for name, kind in _WHERE.items()
    ]
    command.__signature__ = inspect.Signature([*taken, *options])  # type: ignore[attr-defined]
    command.__annotations__ = {each.name: each.annotation for each in (*taken, *options)}
    return command


@contextmanager
def connected(where: dict[str, str | None]) -> Iterator["Client"]:
    """A client that is closed in the end."""
    from footplate.client import Client

    kubeconfig = where["kubeconfig"] or _kubeconfig_of_devcluster(where["context"])
    with Client(namespace=where["namespace"], context=where["context"], kubeconfig=kubeconfig) as client:
        yield client


def _kubeconfig_of_devcluster(context: str | None) -> str | None:
    """The running devcluster's, for who has no other cluster at all; whoever has one, names it."""
    others = context or os.environ.get("KUBECONFIG") or os.environ.get("KUBERNETES_SERVICE_HOST")
    if others or (Path.home() / ".kube" / "config").exists():
        return None
    from footplate.cli.dev_home import DevHome

    home = DevHome.find()
    state = home.read_state()
    if state is None:
        return None
    typer.echo(f"footplate: there is no kubeconfig, so this is the devcluster in {home.folder}", err=True)
    return state["KUBECONFIG"]


@contextmanager
def explained(command: str, trouble: int = 1) -> Iterator[None]:
    """Ends with the message of an error that is the user's to mend, not with a traceback."""
    try:
        yield
        sys.stdout.flush()
    except (FootplateError, OSError) as error:
        if isinstance(error, BrokenPipeError):  # `| head` has read enough
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise typer.Exit(0) from None
        typer.echo(f"footplate {command}: {error}", err=True)
        raise typer.Exit(trouble) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None
