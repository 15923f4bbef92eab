"""`footplate ui`: pages about jobs and the cluster, in the user's browser and with the user's rights."""

from typing import Annotated

import typer

from footplate.cli.session import connected, explained


def ui(
    *,
    namespace: Annotated[
        str | None, typer.Option("--namespace", "-n", help="Only this one.  [default: all that you may see]")
    ] = None,
    context: Annotated[str | None, typer.Option(help="Context of the kubeconfig.")] = None,
    kubeconfig: Annotated[str | None, typer.Option(help="Default: $KUBECONFIG, else ~/.kube/config.")] = None,
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="Of 127.0.0.1, where it listens.", show_default="any that is free")
    ] = 0,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Open it in your browser.")] = True,
) -> None:
    """Show jobs, curves, logs and the cluster as pages in your browser.

    On this machine only, with your kubeconfig and your rights, until interrupted.
    """
    from footplate.ui.server import serve

    where = {"namespace": namespace, "context": context, "kubeconfig": kubeconfig}
    with explained("ui"), connected(where) as client:
        serve(client, namespace=namespace, port=port, browse=browser, say=typer.echo)
