"""Pictures of the page of `footplate ui`, in Debian's Chromium."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from laptop import Laptop

PATHS = {
    "jobs": "",
    "job": "jobs/default/digits",
    "model": "jobs/default/digits/model",
    "data": "jobs/default/wine/data",
    "cluster": "cluster",
    "compare": "compare?job=default/digits&job=default/digits-large-batch",
}
DESK = {"width": 1280, "height": 860}
HEIGHTS = {"jobs": 640, "job": 1480, "model": 1240, "data": 900, "compare": 1180, "cluster": 760}
"""Of the pictures: what is below isn't missed in a document."""
PHONE = {"width": 390, "height": 844}
SETTLED_MS = 2_500
"""By then the first events have come, and charts are drawn."""


def take(laptop: Laptop, folder: Path) -> None:
    """`page-<name>.png` of each page, the job's also in the dark and on a phone."""
    program = shutil.which("chromium")
    assert program, "install Debian's chromium: .ci/setup --package chromium"
    command = [sys.executable, "-m", "footplate.cli.main", "ui", "--no-browser", "--kubeconfig"]
    with subprocess.Popen([*command, laptop.home / "kubeconfig"], stdout=subprocess.PIPE, text=True) as served:
        try:
            assert served.stdout is not None
            address = re.findall(r"http://\S+", served.stdout.readline())[0]
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=program)
                page = browser.new_context(viewport=DESK).new_page()  # type: ignore[arg-type]
                _take_all(page, address, folder)
                browser.close()
        finally:
            served.terminate()


def _take_all(page: Page, address: str, folder: Path) -> None:
    page.goto(address)
    home = address.partition("enter?")[0]
    page.wait_for_url(home)
    for name, path in PATHS.items():
        page.goto(home + path)
        page.wait_for_timeout(SETTLED_MS)
        page.set_viewport_size({"width": DESK["width"], "height": HEIGHTS.get(name, DESK["height"])})
        page.screenshot(path=folder / f"page-{name}.png")
    page.set_viewport_size(DESK)  # type: ignore[arg-type]
    page.emulate_media(color_scheme="dark")
    page.goto(home + PATHS["job"])
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=folder / "page-job-dark.png")
    page.set_viewport_size(PHONE)  # type: ignore[arg-type]
    page.wait_for_timeout(SETTLED_MS)
    page.screenshot(path=folder / "page-job-phone.png")
