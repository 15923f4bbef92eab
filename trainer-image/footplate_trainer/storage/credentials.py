"""What a store is opened with: the variables of the pod, those of an input's own Secret, and, once storage refuses
them, what the job's Secret holds by then: a session's keys run out while variables stay as they were.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from footplate.contract import StorageEnv, input_env_prefix
from footplate_trainer.errors import Denied

CREDENTIAL_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    "s3": (
        "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_REGION", "AWS_DEFAULT_REGION",
        "AWS_ENDPOINT_URL", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "AWS_SKIP_SIGNATURE",
    ),
    "gs": ("GOOGLE_SERVICE_ACCOUNT", "GOOGLE_SERVICE_ACCOUNT_KEY", "GOOGLE_APPLICATION_CREDENTIALS"),
    "az": (
        "AZURE_STORAGE_ACCOUNT_NAME", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_SAS_KEY", "AZURE_STORAGE_CLIENT_ID",
        "AZURE_STORAGE_CLIENT_SECRET", "AZURE_STORAGE_TENANT_ID",
    ),
}  # fmt: skip
"""What the Secret of an input channel may bring of its own."""

OPEN_SETTINGS: Final = frozenset({
    "AWS_REGION", "AWS_DEFAULT_REGION", "AWS_ENDPOINT_URL", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST", "AWS_SKIP_SIGNATURE",
    "AZURE_STORAGE_ACCOUNT_NAME", "GOOGLE_SERVICE_ACCOUNT", "GOOGLE_APPLICATION_CREDENTIALS",
})  # fmt: skip
"""Those of a storage's Secret that are no secrets."""


def own_credentials(scheme: str, channel: str | None) -> dict[str, str]:
    """Those of an input's own Secret; empty where it has none."""
    prefix = input_env_prefix(channel) if channel else ""
    names = CREDENTIAL_NAMES[scheme] if channel else ()
    return {name: os.environ[prefix + name] for name in names if prefix + name in os.environ}


def newest_credentials(scheme: str) -> dict[str, str]:
    """What the job's Secret holds now, but for the address; empty where it can't be seen."""
    folder = os.environ.get(StorageEnv.SECRET_DIR)
    found = {}
    for name in CREDENTIAL_NAMES[scheme] if folder else ():
        path = Path(folder or "", name)
        if name != "AWS_ENDPOINT_URL" and path.is_file():
            found[name] = path.read_text(errors="replace")
    return found


def config_of(scheme: str, credentials: Mapping[str, str], *, endpoint: str | None) -> dict[str, str]:
    """What goes before the process's environment, which obstore reads by itself."""
    config = {"AWS_ENDPOINT_URL": endpoint} if scheme == "s3" and endpoint else {}
    if scheme == "s3" and "AWS_ACCESS_KEY_ID" in credentials:
        config["AWS_SESSION_TOKEN"] = ""  # else the environment's token would go with these keys
    return {**config, **credentials}


def check_s3_credentials(uri: str, env: Mapping[str, str]) -> None:
    """Refuses to search for a cloud's metadata service, which takes minutes, where there can be none."""
    known = ("AWS_ACCESS_KEY_ID", "AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_SKIP_SIGNATURE")
    if env.get("AWS_ENDPOINT_URL") and not any(env.get(name) for name in known):
        raise Denied(
            f"{uri}: no credentials for {env['AWS_ENDPOINT_URL']}; put AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY "
            "into a Secret and name it in storage.secretRef (AWS_SKIP_SIGNATURE=true reads a public bucket)"
        )
