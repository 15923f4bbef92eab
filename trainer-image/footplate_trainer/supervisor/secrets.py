"""Which values of a pod's environment may be secret, and texts without them. Pure.

Nobody tells a pod which of its variables come from Secrets. Those that the job names are known; of the rest a name that
speaks of a key or a password counts, and, where a whole Secret is in the environment, every name that isn't known to
be something else. A line of a log with too much masked is better than a key in a bucket.
"""

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from footplate.api.trainingjob import TrainingJobSpec
from footplate.contract import StorageEnv, input_env_prefix
from footplate_trainer.storage.credentials import OPEN_SETTINGS

MASK: Final = b"***"
MIN_LENGTH: Final = 6
"""Shorter values, such as `true` or a port, are in every text."""
TELLING: Final = re.compile(r"KEY|TOKEN|SECRET|PASS|PWD|CREDENTIAL|SAS|AUTH|DSN", re.IGNORECASE)
CREDENTIALS: Final = r"(://)[^@\s\"']+@"
"""Of an address, before its host."""
_QUERY: Final = rf"""(?i)([?&][^=&\s]*(?:{TELLING.pattern}|SIG)[^=&\s]*=)[^&\s"']+"""
"""Of an address: a value whose name tells."""
_OURS: Final = re.compile(r"FOOTPLATE_|(OLD)?PWD$")
_KNOWN: Final = re.compile(
    r"PET_|MASTER_|POD_IP|KUBERNETES_|PATH$|HOME$|HOSTNAME|SHLVL|TERM$|LANG|LC_|TZ$|PYTHON|LD_|VIRTUAL_ENV|CUDA|NVIDIA_|"
    r"NCCL_|OMP_|_$"
)
"""Names that images, kubelets and the operator set, unless they tell: LANGCHAIN_API_KEY is no language."""


def secret_values(spec: TrainingJobSpec, environ: Mapping[str, str]) -> list[bytes]:
    """What must not be in a text that is kept, the longest first. Of several lines each is one."""
    values = [environ[name] for name in environ if _may_be_secret(name, spec)]
    values += _newest(environ.get(StorageEnv.SECRET_DIR))
    pieces = {piece.strip().encode(errors="surrogateescape") for value in values for piece in _lines(value)}
    return sorted((piece for piece in pieces if len(piece) >= MIN_LENGTH), key=len, reverse=True)


def mask(text: bytes, values: Iterable[bytes]) -> bytes:
    """A text without the values."""
    for value in values:
        text = text.replace(value, MASK)
    return text


def without_credentials(text: str) -> str:
    """A text without what addresses in it show a server: `user:password@` and values such as `?token=`."""
    import re2  # only where something is told; texts may be of any length

    text = text.encode(errors="replace").decode()  # half a character is none to RE2
    return str(re2.sub(_QUERY, rf"\1{MASK.decode()}", re2.sub(CREDENTIALS, rf"\1{MASK.decode()}@", text)))


def _may_be_secret(name: str, spec: TrainingJobSpec) -> bool:
    own = next((variable for variable in spec.trainer.env if variable.name == name), None)
    if own is not None:
        referred = own.value_from is not None and own.value_from.secret_key_ref is not None
        return referred or bool(TELLING.search(name))
    channel = next((each.name for each in spec.inputs if name.startswith(input_env_prefix(each.name))), None)
    bare = name.removeprefix(input_env_prefix(channel)) if channel else name
    if bare in OPEN_SETTINGS or (channel is None and _OURS.match(name)):
        return False
    if channel is None and _KNOWN.match(name):
        return bool(TELLING.search(name))
    whole = [source.prefix or "" for source in spec.trainer.env_from if source.secret_ref is not None]
    return channel is not None or bool(TELLING.search(name)) or any(name.startswith(prefix) for prefix in whole)


def _newest(folder: str | None) -> list[str]:
    """The storage's Secret as it is now: keys may have been exchanged since the pod began."""
    found = Path(folder).iterdir() if folder and Path(folder).is_dir() else ()
    paths = [path for path in found if path.name not in OPEN_SETTINGS and path.is_file()]
    return [path.read_text(errors="surrogateescape") for path in paths]


def _lines(value: str) -> list[str]:
    return value.replace("\\n", "\n").splitlines()
