"""The clients of one bucket: what they are told, how long each tries by itself, and new ones once storage refuses."""

import os
from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from obstore.store import AzureStore, GCSStore, ObjectStore, S3Store

from footplate_trainer.storage.authorities import read_authorities
from footplate_trainer.storage.credentials import (
    CREDENTIAL_NAMES,
    check_s3_credentials,
    config_of,
    newest_credentials,
)
from footplate_trainer.storage.errors import translated
from footplate_trainer.storage.settings import check_settings

QUIET_SECONDS = 3.0
"""How long obstore tries a small call again by itself, before we hear of it and can tell the user."""
ANSWER_SECONDS = 30.0
"""Longest time for a small object, a listing or a deletion."""
PART_SECONDS = 300.0
"""Longest time for a whole part: a slow line is slow, not dead."""


class Clients:
    """Makes the clients of one bucket."""

    def __init__(
        self,
        uri: str,
        endpoint: str | None,
        own: Mapping[str, str],
        patience: float,
        authorities: bytes | None = None,
    ) -> None:
        self._uri, self._endpoint, self._own, self._patience = uri, endpoint, own, patience
        self._authorities = authorities
        self._scheme, _, rest = uri.partition("://")
        self._bucket = rest.partition("/")[0]
        self._known: tuple[Mapping[str, str], bytes | None] = {}, authorities or read_authorities()
        """Credentials beyond the environment's, and authorities."""

    @property
    def address(self) -> str | None:
        """Of the server, where one is named."""
        named = self._config().get("AWS_ENDPOINT_URL") or os.environ.get("AWS_ENDPOINT_URL")
        return named if self._scheme == "s3" else None

    def connect(self) -> tuple[ObjectStore, ObjectStore]:
        """The client for small requests, and that for whole parts. See `Store.open`."""
        uri, scheme, config = self._uri, self._scheme, self._config()
        env = {**os.environ, **config}
        check_settings(uri, env, names=CREDENTIAL_NAMES[scheme], endpoint=self._endpoint)
        if scheme == "s3":
            check_s3_credentials(uri, env)
        authorities = self._known[1]
        with translated(uri):
            small, bulk = (
                _connect(scheme, self._bucket, config, authorities, seconds=seconds, patience=tries)
                for seconds, tries in (
                    (ANSWER_SECONDS, min(QUIET_SECONDS, self._patience)),
                    (PART_SECONDS, self._patience),
                )
            )
        return small, bulk

    def connect_if_changed(self) -> tuple[ObjectStore, ObjectStore] | None:
        """New clients, where the job's Secret or its authorities aren't what these were made with."""
        newest = {} if self._own else newest_credentials(self._scheme)
        used = {**os.environ, **self._known[0]}
        authorities = self._authorities or read_authorities()
        if all(used.get(name) == value for name, value in newest.items()) and authorities == self._known[1]:
            return None
        self._known = newest, authorities
        return self.connect()

    def _config(self) -> dict[str, str]:
        return config_of(self._scheme, self._own or self._known[0], endpoint=self._endpoint)


def _connect(
    scheme: str,
    bucket: str,
    config: Mapping[str, str],
    authorities: bytes | None,
    *,
    seconds: float,
    patience: float,
) -> ObjectStore:
    backends: Mapping[str, Any] = {"s3": S3Store, "gs": GCSStore, "az": AzureStore}
    trusted = {"root_certificate": authorities} if authorities else {}
    backend: ObjectStore = backends[scheme](
        bucket,
        config={name.lower(): value for name, value in config.items()},
        client_options={
            "allow_http": True,
            "timeout": timedelta(seconds=seconds),
            "connect_timeout": "10s",
            **trusted,
        },
        retry_config={"max_retries": 100, "retry_timeout": timedelta(seconds=patience)},
    )
    return backend
