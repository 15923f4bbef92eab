"""The token of a run: who asks its pods how far they are, shows it. Pure.

It is derived, so that no replica has to keep or share any, and it is plain in the pods' environment: whoever may read
the pods of a namespace is its tenant. Nobody else can know it. Who asks a pod takes the token from that pod, so the
operator's key may be exchanged at any time: pods that are there keep theirs, and the next attempt has the new one.
"""

import hashlib
import hmac
import re
from dataclasses import dataclass, field

from footplate.contract import TokenEnv
from footplate.objects import Object, block, blocks, text

MIN_KEY_BYTES = 32
_TOKEN = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PodTokens:
    """What guards the pages of trainer pods; without a key nothing does."""

    key: bytes = field(default=b"", repr=False)
    open_metrics: bool = False
    """True leaves /metrics to whoever reaches it, for a Prometheus that can't know a token of each run."""

    def of_run(self, uid: str, run: int) -> str:
        """The token of one run of a job; empty without a key."""
        if not self.key:
            return ""
        return hmac.new(self.key, f"footplate.dev/run\0{uid}\0{run}".encode(), hashlib.sha256).hexdigest()


NO_TOKENS = PodTokens()


def token_of(pod: Object) -> str:
    """The token that a pod awaits; empty where it awaits none."""
    variables = (each for container in blocks(block(pod, "spec"), "containers") for each in blocks(container, "env"))
    found = next((text(each, "value") for each in variables if each.get("name") == TokenEnv.TOKEN), "")
    return found if _TOKEN.fullmatch(found) else ""
