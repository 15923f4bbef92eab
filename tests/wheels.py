"""Builders for Python packages, and an index on loopback that serves them."""

import io
import tarfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread


def make_wheel(
    folder: Path,
    name: str,
    version: str = "1.0",
    *,
    code: str = "",
    requires: Sequence[str] = (),
    programs: Mapping[str, str] | None = None,
) -> Path:
    """A wheel of one module, whose console programs are given as name: function."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{name}-{version}.dist-info"
    needs = "".join(f"Requires-Dist: {each}\n" for each in requires)
    files = {
        f"{name}.py": code or f"VERSION = {version!r}\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    if programs:
        lines = "".join(f"{program} = {name}:{function}\n" for program, function in programs.items())
        files[f"{info}/entry_points.txt"] = f"[console_scripts]\n{lines}"
    path = folder / f"{name}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for file, text in {**files, f"{info}/RECORD": "".join(f"{file},,\n" for file in files)}.items():
            wheel.writestr(file, text)
    return path


def make_sdist(folder: Path, name: str, *, build: str) -> Path:
    """A source distribution whose build, by a backend of its own that needs nothing, runs this code."""
    folder.mkdir(parents=True, exist_ok=True)
    pyproject = '[build-system]\nrequires = []\nbuild-backend = "backend"\nbackend-path = ["."]\n'
    files = {
        "pyproject.toml": f'{pyproject}[project]\nname = "{name}"\nversion = "1.0"\n',
        "backend.py": f"def build_wheel(folder, settings=None, metadata=None):\n    {build}\n",
    }
    path = folder / f"{name}-1.0.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for file, text in files.items():
            member = tarfile.TarInfo(f"{name}-1.0/{file}")
            member.size = len(text.encode())
            archive.addfile(member, io.BytesIO(text.encode()))
    return path


@contextmanager
def index_of(folder: Path, *, status: int = 200) -> Iterator[str]:
    """The address of an index with the packages of a folder; another status is its answer to everything."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            file = folder / self.path.rpartition("/")[2]
            package = self.path.strip("/").rpartition("/")[2]
            found = [path for path in sorted(folder.iterdir()) if path.name.startswith(f"{package.replace('-', '_')}-")]
            links = "".join(f'<a href="/{path.name}">{path.name}</a>' for path in found)
            body = file.read_bytes() if file.is_file() else f"<!DOCTYPE html><html>{links}</html>".encode()
            known = bool(found) or file.is_file()
            self.send_response(status if status != 200 or known else 404)
            self.send_header("Content-Type", "application/octet-stream" if file.is_file() else "text/html")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the name is http.server's)
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/simple/"
        finally:
            server.shutdown()
