"""Prepares the data of a run once, in a process of its own, in the pod that the operator makes for it before there is a
gang. The outcome lies beside the run's records, where all nodes of all attempts take these very files; data that have
changed meanwhile are refused.

    <uri>/<job>/records-<run>-<first 8 of the UID>/data/   as `footplate_trainer.preparation.layout` says

A job without storage has nowhere to keep it: each node then prepares its own copy, which comes out alike. Where a
policy leaves it to the gang, node 0 prepares it there, and the others wait for it.
"""

import asyncio
import importlib.util
import os
import signal
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import structlog
from pydantic import ValidationError

from footplate import records
from footplate.api.reports import DataStatus
from footplate.contract import data_channels
from footplate_trainer import exchange
from footplate_trainer.errors import ConfigError, DataError, Exists, NotFound, TrainerError, UserError
from footplate_trainer.preparation import layout, summary
from footplate_trainer.preparation.report import Held, Prepared
from footplate_trainer.recipes import find_recipe
from footplate_trainer.storage.fetch import Fetched, check_space, download, fetch_inputs
from footplate_trainer.storage.proving import keys_may_come
from footplate_trainer.storage.store import Store
from footplate_trainer.supervisor import processes
from footplate_trainer.supervisor.launch import Launch
from footplate_trainer.supervisor.pod import Pod

SPLITS = "SPLITS"
"""Variable that names the folder of the parts."""
TICK_SECONDS = 0.1
LOOK_SECONDS = 2.0
"""Between two looks for what node 0 prepares."""
_PROGRAM = ("-m", "footplate_trainer.preparation")
log = structlog.get_logger()


async def prepare(
    pod: Pod, fetched: Mapping[str, Fetched], *, note: Callable[[str], object], tell: Callable[[DataStatus], object]
) -> None:
    """Sees to it that what the job asks for is done with the data, and that the outcome lies on this node, too.

    Args:
        pod: this one.
        fetched: what the input channels hold.
        note: tells the user something.
        tell: tells the job's status what the data are, also where they break a check.

    Raises:
        DataError: the data break a check, can't be read or divided, or have changed since they were prepared.
        ConfigError: the job or its image won't do.
        StorageError: the outcome can't be kept.
    """
    if pod.spec.data is None:
        return
    held = {channel.name: fetched[channel.name] for channel in data_channels(pod.spec)}
    digests = {name: each.sha256 for name, each in held.items()}
    folder, store = pod.work_dir / layout.FOLDER, _store(pod)
    found = None if store is None else await asyncio.to_thread(_find, store)
    if store is not None and pod.config.data_in_gang and pod.node_rank != 0:
        found = await _await(store)
    if store is not None and found is not None:
        layout.check_same(found, digests)
        await asyncio.to_thread(_fetch, store, found, folder)
    elif store is None or pod.stage or pod.config.data_in_gang:
        try:
            found = await _make(pod, folder, held, store)
        except DataError:
            broken = summary.of_broken(folder, digests, profile=_page(store, made=True))
            if broken is not None:
                tell(broken)
            raise
    else:
        raise DataError(
            f"{store.uri}/{layout.PREPARED}, which says how this run's data were divided, isn't there any more; "
            "restore it, or set runPolicy.restartNonce to begin a run that divides them anew"
        )
    await asyncio.to_thread(layout.link_files, folder, pod.input_dir)
    if pod.node_rank == 0:
        for text in (*found.notes, *found.hints):
            note(text)
        tell(summary.of_prepared(found, profile=_page(store, made=bool(pod.spec.data.profile))))
    log.info("the data are prepared", rows=found.rows, **found.splits)


def _page(store: Store | None, *, made: bool) -> str | None:
    return f"{store.uri}/{layout.PAGE}" if store is not None and made else None


async def alone(pod: Pod, *, note: Callable[[str], object], tell: Callable[[DataStatus], object]) -> None:
    """Does it in a pod that is there for nothing else; raises as `prepare`, and what fetching the data raises."""

    def fetch() -> dict[str, Fetched]:
        with keys_may_come(pod.attempt):
            return fetch_inputs(data_channels(pod.spec), pod.input_dir, endpoint=pod.spec.storage.endpoint)

    try:
        await prepare(pod, await asyncio.to_thread(fetch), note=note, tell=tell)
    except ConfigError as error:  # of a disk that is full
        raise ConfigError(str(error).replace("spec.resources", "spec.data.resources")) from error


def spared(pod: Pod) -> dict[str, Fetched]:
    """The input channels that this node needn't fetch, and what they held when they were prepared: a recipe reads the
    parts instead, where these are files of their own and no links to the inputs'. Whatever became of the inputs since,
    it trains on what was checked.

    Raises:
        DataError: what lies in the place of the outcome isn't one.
    """
    recipe, data = pod.spec.trainer.recipe, pod.spec.data
    store = None if data is None or data.split is None or pod.stage else _store(pod)
    if store is None or recipe is None or not find_recipe(recipe).reads_parts:
        return {}
    found = _find(store)
    if found is None or any(file.path == layout.FILES for file in found.files):
        return {}
    return {
        name: Fetched(found.inputs[name], held.files, held.size_bytes, held.version)
        for name, held in found.held.items()
    }


def variables(pod: Pod) -> Mapping[str, str]:
    """What tells a program of the user's where the parts are."""
    folder = pod.work_dir / layout.FOLDER / layout.PARTS
    return {SPLITS: str(folder)} if pod.spec.data is not None and pod.spec.data.split is not None else {}


def _store(pod: Pod) -> Store | None:
    base = records.base_uri(pod.spec)
    if base is None:
        return None
    uri = records.records_uri(base, job=pod.job, run=pod.run, uid=pod.uid)
    return Store.open(f"{uri}/{layout.FOLDER}", endpoint=pod.spec.storage.endpoint)


def _find(store: Store) -> Prepared | None:
    try:
        return Prepared.model_validate_json(store.get(layout.PREPARED))
    except NotFound:
        return None
    except ValidationError:
        raise DataError(
            f"{store.uri}/{layout.PREPARED} isn't what this run has written; delete that folder, and the data are "
            "prepared anew"
        ) from None


async def _await(store: Store) -> Prepared:
    """What node 0 of the gang prepares. Where it fails, it ends the whole gang, and this wait with it."""
    while (found := await asyncio.to_thread(_find, store)) is None:
        log.info("node 0 prepares the data, which is waited for")
        await asyncio.sleep(LOOK_SECONDS)
    return found


async def _make(pod: Pod, folder: Path, held: Mapping[str, Fetched], store: Store | None) -> Prepared:
    log.info("the data are being prepared")
    digests = {name: each.sha256 for name, each in held.items()}
    await asyncio.to_thread(layout.begin, folder, digests)
    try:
        await _run(pod, folder)
    finally:
        if store is not None:
            await asyncio.to_thread(_publish, store, folder, layout.TOLD)
    made = await asyncio.to_thread(layout.read, folder)
    told = {
        name: Held(files=each.files, size_bytes=each.size_bytes, version=each.version) for name, each in held.items()
    }
    made = made.model_copy(update={"held": told})
    if store is None:
        return made
    await asyncio.to_thread(_publish, store, folder, [file.path for file in made.files])
    return await asyncio.to_thread(_settle, store, folder, made, digests)


def _settle(store: Store, folder: Path, made: Prepared, digests: Mapping[str, str]) -> Prepared:
    """The outcome that counts: another attempt's node 0, which is late to go, may have been first."""
    try:
        store.put(layout.PREPARED, layout.encode(made), create=True)
    except Exists:
        first = _find(store)
        if first is not None and first != made:
            layout.check_same(first, digests)
            _fetch(store, first, folder)
            return first
    return made


def _publish(store: Store, folder: Path, names: list[str] | tuple[str, ...]) -> None:
    for name in names:
        if (folder / name).is_file():
            store.put_file(name, folder / name)


def _fetch(store: Store, prepared: Prepared, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    check_space(folder, sum(file.size_bytes for file in prepared.files))
    for file in prepared.files:
        download(store, store.head(file.path), folder, sha256=file.sha256)


async def _run(pod: Pod, folder: Path) -> None:
    """Runs the program to its end, and raises what it says."""
    for module in ("pyarrow", "torch"):
        if importlib.util.find_spec(module) is None:
            raise ConfigError(
                f"spec.data: the image's Python that runs our supervisor has no {module} to prepare data with; use an "
                "image with footplate[trainer], or leave data out"
            )
    command = [sys.executable, *_PROGRAM, str(folder)]
    process = processes.start_one(Launch(rank=0, command=command, env=dict(os.environ), folder=pod.work_dir))
    await process.copy_output("[data] ", None)
    try:
        while not process.ended:
            process.poll()
            await asyncio.sleep(TICK_SECONDS)
        exit_ = await process.wait()
    finally:
        process.kill()
    if exit_.returncode == 0:
        return
    if (error := exchange.read_error(pod.run_dir, 0)) is not None:
        raise _raised(error)
    killed = exit_.returncode == -signal.SIGKILL
    limit = f"{'data.' * bool(pod.stage)}resources.limits.memory"
    why = f"was killed, most likely out of memory: raise {limit}" if killed else "has failed"
    raise UserError(f"spec.data: what prepares the data {why} (exit code {exit_.returncode}); the log says more")


def _raised(error: exchange.RankError) -> TrainerError:
    kinds = (DataError, ConfigError)
    kind = next((kind for kind in kinds if kind.exit_code == error.exit_code), UserError)
    said = error.failure
    return kind(f"{said.type}: {said.message}" if said.type else said.message)
