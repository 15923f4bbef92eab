"""What storage's client is told by Secrets and jobs, checked before it is: it panics over a line break in a key, or an
endpoint that is no URL, in words that name neither. Pure.
"""

import re
from collections.abc import Iterable, Mapping
from typing import Final
from urllib.parse import urlsplit

from footplate_trainer.errors import Denied, WrongEndpoint
from footplate_trainer.storage.contact import WAY_OUT

_DOCUMENTS: Final = ("GOOGLE_SERVICE_ACCOUNT_KEY",)
"""Names whose values are JSON, of several lines."""
_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f]")


def check_settings(uri: str, env: Mapping[str, str], *, names: Iterable[str], endpoint: str | None = None) -> None:
    """Refuses what can't be the value of a setting. No value but an endpoint's is shown: it may be a secret.

    Args:
        uri: what is to be opened.
        env: all settings by name.
        names: those that its kind of storage has.
        endpoint: `storage.endpoint` of the job.

    Raises:
        WrongEndpoint: it is no URL.
        Denied: another setting holds control characters.
    """
    address = env.get("AWS_ENDPOINT_URL")
    if "AWS_ENDPOINT_URL" in names and address is not None and not _is_url(address):
        name = "storage.endpoint" if address == endpoint else "AWS_ENDPOINT_URL"
        raise WrongEndpoint(f"{uri}: {name} is {address!r}, which is no address such as http://host:9000; {WAY_OUT}")
    for name in names:
        if name not in _DOCUMENTS and _CONTROL.search(env.get(name, "")):
            what = "ends with a line break" if not _CONTROL.search(env[name].rstrip("\r\n")) else "holds line breaks"
            raise Denied(
                f"{uri}: the value of {name} {what} or other control characters; put it into the Secret without, as "
                "kubectl create secret generic --from-literal does"
            )


def _is_url(address: str) -> bool:
    try:
        parts = urlsplit(address)
        port = parts.port
    except ValueError:
        return False
    odd = _CONTROL.search(address) or " " in address
    return not odd and parts.scheme in ("http", "https") and bool(parts.hostname) and port != 0
