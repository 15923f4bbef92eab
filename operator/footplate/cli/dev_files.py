"""Folders of this machine into the devcluster's buckets, and back.

By obstore's plain calls: an asynchronous one that is left in the middle, where a disk is full, ends Python by SIGABRT.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from obstore.exceptions import BaseError
from obstore.store import ObjectStore

from footplate.cli.dev_options import parse_pair, parse_uri
from footplate.errors import ConfigurationError

Stores = Callable[[str], ObjectStore]
"""A client by name of the bucket."""
_USE = """\
  from footplate_trainer import load_model
  model = load_model("{folder}")
  print(model.predict(...))"""


@dataclass(frozen=True)
class Upload:
    """A folder, and where its files go."""

    folder: Path
    bucket: str
    prefix: str

    @classmethod
    def parse(cls, text: str) -> Self:
        """`--data FOLDER=s3://BUCKET/PREFIX`; raises ConfigurationError with the way out."""
        return cls.plan(*parse_pair(text, option="--data", form="FOLDER=s3://BUCKET/PREFIX"), option="--data")

    @classmethod
    def plan(cls, folder: str, uri: str, *, option: str) -> Self:
        """Raises ConfigurationError where there is nothing to send, or no such bucket."""
        if not Path(folder).is_dir():
            raise ConfigurationError(f"{option} {folder}: there is no such folder; put a single file into one")
        if not any(path.is_file() for path in Path(folder).rglob("*")):
            raise ConfigurationError(f"{option} {folder}: there is no file in that folder")
        return cls(Path(folder), *parse_uri(uri, option=option))

    def send(self, stores: Stores) -> str:
        """Uploads every file of the folder; says how many there were."""
        store, count = stores(self.bucket), 0
        for path in sorted(self.folder.rglob("*")):
            if path.is_file():
                with _explained(path):
                    store.put(f"{self.prefix}{path.relative_to(self.folder)}", path)
                count += 1
        return f"{_files(count, of=self.folder)} in s3://{self.bucket}/{self.prefix}"


def download_files(stores: Stores, uri: str, folder: Path) -> str:
    """Copies all objects below `uri` into `folder`, over files of the same names; says how many there were."""
    bucket, prefix = parse_uri(uri, option="get")
    store = stores(bucket)
    with _explained(uri):
        items = store.list(prefix).collect()
        for item in items:
            path = folder / item["path"].removeprefix(prefix)
            path.parent.mkdir(parents=True, exist_ok=True)
            with path.open("wb") as file:
                for chunk in store.get(item["path"]):
                    file.write(chunk)
    if not items:
        raise ConfigurationError(f"get {uri}: nothing lies below it; s3://{bucket}/ stands for the whole bucket")
    return f"{_files(len(items), of=uri)} in {folder}"


def describe_model(folder: Path) -> Iterator[str]:
    """What lies in a folder that a model was downloaded into, as far as there is more to say of it than that."""
    yield f"Its files are in {folder}"
    if (card := folder / "README.md").is_file():
        yield f"Card       {card}"
    if (plots := folder / "plots").is_dir():
        yield f"Plots      {plots}"
    if (folder / "model.json").is_file():
        yield f"\n{_USE.format(folder=folder)}"


def _files(count: int, *, of: object) -> str:
    return f"{count} files of {of} are" if count != 1 else f"1 file of {of} is"


@contextmanager
def _explained(what: object) -> Iterator[None]:
    try:
        yield
    except UnicodeEncodeError:
        raise ConfigurationError(f"{str(what)!r}: its name isn't UTF-8, as an object's must be; rename it") from None
    except BaseError as error:
        raise ConfigurationError(f"{what}: {str(error).splitlines()[0]}") from error
