"""How soon the page of `footplate ui` is painted, in Debian's Chromium: with 500 jobs in its list, and beside it with
one. Prints JSON lines.

    python tests/bench/bench_page.py

Goal: the first paint with 500 jobs within 1 s. It shows the first 100 of them; filter, sort and counts are over all.
"""

import json
import shutil
import statistics
import sys
from pathlib import Path

from playwright.sync_api import Browser, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from page_jobs import ToldClient, curve, job, progress
from page_server import PageServer

GOAL_SECONDS = 1.0
LOADS = 5
FIRST_PAINT = """() => new Promise(resolve => new PerformanceObserver((list, observer) => {
  const painted = list.getEntriesByName("first-contentful-paint")[0];
  if (painted) { observer.disconnect(); resolve(painted.startTime / 1000); }
}).observe({type: "paint", buffered: true}))"""


def first_paints(browser: Browser, jobs: int) -> list[float]:
    """Seconds from the navigation to the first paint, of the first visit and of later ones."""
    manifests = (
        job(f"job-{number:04}", f"team-{number % 7}", progress=progress(history=curve(120, seed=number)))
        for number in range(jobs)
    )
    with PageServer(ToldClient(*manifests)) as server:
        page = browser.new_context().new_page()
        page.goto(server.session.first_address)
        page.wait_for_url(server.session.address)
        paints = [page.evaluate(FIRST_PAINT)]
        for _ in range(LOADS):
            page.goto(server.session.address)
            paints.append(page.evaluate(FIRST_PAINT))
        page.context.close()
        return paints


def main() -> None:
    """Prints both."""
    program = shutil.which("chromium")
    if program is None:
        raise SystemExit("bench_page: needs Debian's chromium; run: .ci/setup --package chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        for jobs in (1, 500):
            first, *later = first_paints(browser, jobs)
            line = {
                "bench": "page",
                "jobs": jobs,
                "first_visit_seconds": round(first, 3),
                "first_paint_seconds": round(statistics.median(later), 3),
                "goal": GOAL_SECONDS if jobs == 500 else None,
            }
            print(json.dumps(line), flush=True)
        browser.close()


if __name__ == "__main__":
    main()
