"""Reads the key of the runs' tokens, which a Secret holds and the kubelet mounts: the operator reads no Secret."""

from pathlib import Path

from footplate.errors import ConfigurationError
from footplate.tokens import MIN_KEY_BYTES

_MOST_BYTES = 4096


def read_token_key(path: str | None) -> bytes:
    """The key; empty where none is configured.

    Raises:
        ConfigurationError: there is a path, and no key that is worth something.
    """
    if path is None:
        return b""
    try:
        with Path(path).open("rb") as opened:
            key = opened.read(_MOST_BYTES).strip()
    except OSError as error:
        raise ConfigurationError(f"--token-key-file {path}: {error.strerror}; mount a Secret's key there") from error
    if len(key) < MIN_KEY_BYTES:
        raise ConfigurationError(
            f"--token-key-file {path} holds {len(key)} bytes, and a key has at least {MIN_KEY_BYTES}; make one with: "
            "openssl rand -hex 32"
        )
    return key
