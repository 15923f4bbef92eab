"""Which attempt of a run may commit: the newest that has made its claim, `attempts/<n>` in the run's folder.

A pod that was given up may live on behind a broken network. Whoever is about to commit or to delete looks for a newer
claim first, and loses.
"""

import re

from footplate_trainer.errors import PeerLost
from footplate_trainer.storage.proving import prove_writing
from footplate_trainer.storage.store import Store

_CLAIMS = "attempts/"
_CLAIM = re.compile(r"attempts/(\d{8,})")


def claim(store: Store, attempt: int) -> None:
    """Makes this attempt the one that may commit in a run's folder; all its pods may say so.

    Raises:
        PeerLost: a newer attempt has made its claim: this one is a zombie.
        Denied, ConfigError: nothing can be written there, or storage has no conditional puts.
    """
    prove_writing(store, f"{_CLAIMS}{attempt:08d}")
    check_claim(store, attempt)


def check_claim(store: Store, attempt: int) -> None:
    """Raises PeerLost where a newer attempt has made its claim."""
    keys = (item.key for item in store.list(_CLAIMS))
    newest = max((int(found[1]) for key in keys if (found := _CLAIM.fullmatch(key))), default=0)
    if newest > attempt:
        raise PeerLost(f"attempt {attempt} was replaced by attempt {newest}, and may not commit any more")
