"""The page in Debian's Chromium: live, usable without a mouse or eyes, and not to be taken over by what it shows."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Route, expect, sync_playwright

from footplate.client import ClusterUnreachable, History, JobData, LogLine, Why
from footplate_trainer.preparation.report import Example, Hint, Violation
from page_jobs import ToldClient, curve, event, job, moment, progress, rank, run_config
from page_server import PageServer
from result_files import HOSTILE, column, evaluated, evaluation_json, png, profile
from stored_models import stored

pytestmark = pytest.mark.integration
METRICS = ("loss", "accuracy", "valLoss", "learningRate")
expect.set_options(timeout=20_000)
PHONE = {"width": 390, "height": 844}
DESK = {"width": 1360, "height": 900}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    assert program, "install Debian's chromium: .ci/setup --package chromium"
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program)
        yield browser
        browser.close()


def restarting() -> dict[str, object]:
    ended = {"attempt": 0, "startTime": moment(2), "endTime": moment(30), "reason": "NodeLost", "node": "gpu-3"}
    return job(
        "resnet",
        "vision",
        phase="Restarting",
        reason="NodeLost",
        restarts={"user": 0, "infrastructure": 1, "hang": 0, "total": 1},
        attempt=1,
        attempts=[
            {**ended, "nodes": 4, "lastStep": 811},
            {"attempt": 1, "startTime": moment(31), "resumedFromStep": 800},
        ],
        transitions=[{"phase": "Queued", "time": moment(0)}, {"phase": "Running", "time": moment(2)}],
    )


@pytest.fixture
def client(tmp_path: Path) -> ToldClient:
    """Jobs in several phases, one of them with names and texts that want to be run."""
    failed = job("hostile", "team", phase="Failed", reason=HOSTILE[:60], message=HOSTILE, uid=HOSTILE)
    failed["status"]["failure"] = {"class": "User", "message": HOSTILE, "traceback": HOSTILE, "rank": 0}
    failed["status"]["progress"] = progress(history=curve(names=[HOSTILE[:60], "loss"]))
    failed["spec"]["trainer"]["args"] = [HOSTILE]
    client = ToldClient(
        job(progress=progress(history=curve(names=METRICS)), usage={"productiveSeconds": 9000, "lostSeconds": 800}),
        restarting(),
        failed,
        job("queued", "nlp", phase="Queued", reason="WaitingForNodes", message="0 of 4 nodes scheduled", progress=None),
    )
    client.told.why = Why(HOSTILE, [HOSTILE, "attempt 0 ended: NodeLost"], ["nothing: it goes on by itself"])
    client.told.ranks = [rank(0), rank(1, slow=2.3), rank(2, "failed", reason=HOSTILE), rank(3, "pending")]
    client.told.events = [event(1, "Queued", HOSTILE), event(2, HOSTILE[:60], "all run", kind="Warning", count=3)]
    digits = job()
    smaller = {**digits["spec"], "nodes": 2}
    client.told.config_maps = [run_config(digits, 1, smaller), run_config(digits, 2, digits["spec"])]
    client.told.logs = [LogLine(0, 0, HOSTILE), LogLine(1, 0, "x" * 10_000_000), LogLine(0, 0, "the end")]
    model = {"uri": "s3://models/digits/1/", "manifest": "m", "sha256": "a", "sizeBytes": 5, "accepted": False}
    measured = {"testAccuracy": 0.9, HOSTILE[:63]: 0.5}
    gate = {"metric": HOSTILE, "atLeast": 0.95, "value": 0.9, "passed": False}
    found = {"artifact": model, "evaluation": {"metrics": measured, "gates": [gate]}}
    trackers = [{"name": "mlflow", "url": "javascript:alert(1)"}, {"name": "wandb", "url": "https://wandb/run"}]
    client.put(job("measured", phase="Failed", tracking=trackers, **found))
    described = profile(column(HOSTILE, type=HOSTILE), hints=[Hint(kind="drift", column=HOSTILE, text=HOSTILE)])
    examples = [Example(file=HOSTILE, row=1, value=HOSTILE)]
    broken = Violation(column=HOSTILE, rule=HOSTILE, count=3, examples=examples)
    client.told.data = JobData(100, described.splits, [broken], [HOSTILE], [HOSTILE], described)
    client.told.artifact = stored(tmp_path, MODEL)
    return client


CARD = f"""---
tags: [a]
---
# digits {HOSTILE}

{HOSTILE} [a](javascript:alert(1)) [b](https://wandb/run) ![c](https://evil/x.png) ![d](plots/test-roc.png)

| a | b |
|---|:-:|
| 1 | {HOSTILE} |
"""
MODEL = {
    "evaluation.json": evaluation_json(test=evaluated(("cat", HOSTILE), notes=[HOSTILE])),
    "README.md": CARD.encode(),
    "plots/test-roc.png": png(640, 480),
}


class Visit:
    """A browser that was let in; it notes whatever goes wrong on its pages."""

    def __init__(self, browser: Browser, server: PageServer, client: ToldClient) -> None:
        self.client = client
        self.address = server.session.address
        self.context: BrowserContext = browser.new_context(viewport=DESK)  # type: ignore[arg-type]
        self.wrong: list[str] = []
        self.page: Page = self.context.new_page()
        self.page.set_default_timeout(10_000)
        self.page.on("pageerror", lambda error: self.wrong.append(str(error)))
        self.page.on("console", lambda said: self.wrong.append(said.text) if said.type == "error" else None)
        self.page.on("dialog", lambda dialog: self.wrong.append(dialog.message))
        self.page.on("request", lambda asked: asked.url.startswith(self.address) or self.wrong.append(asked.url))
        self.page.goto(server.session.first_address)
        self.page.wait_for_url(self.address)

    def go(self, path: str = "") -> Page:
        self.page.goto(self.address + path)
        return self.page


@pytest.fixture
def visit(browser: Browser, client: ToldClient) -> Iterator[Visit]:
    with PageServer(client) as server:
        visit = Visit(browser, server, client)
        yield visit
        visit.context.close()
    assert visit.wrong == []


def test_the_list_is_live_and_keeps_what_the_user_does(visit: Visit) -> None:
    page = visit.go()
    expect(page.locator("tbody tr")).to_have_count(5)
    page.get_by_role("searchbox").fill("dig")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.get_by_label("Compare digits", exact=True).check()
    visit.client.put(job("digits-2", progress=progress(step=2000)))
    expect(page.locator("tbody tr")).to_have_count(2)
    assert page.get_by_role("searchbox").input_value() == "dig"
    assert "q=dig" in page.url
    expect(page.get_by_label("Compare digits", exact=True)).to_be_checked()
    visit.client.put(job("digits-2", phase="Succeeded"))
    expect(page.get_by_role("row", name="digits-2").locator(".phase")).to_have_text("Succeeded")
    page.get_by_role("link", name="Job", exact=True).click()
    expect(page.locator("th[aria-sort=ascending]")).to_have_text("Job")
    visit.client.delete("team", "digits-2")
    expect(page.locator("tbody tr")).to_have_count(1)


@pytest.mark.parametrize("script", ["charts.js", "vendor/hx-sse.min.js"])
def test_a_script_that_comes_late_misses_nothing(visit: Visit, script: str) -> None:
    def late(route: Route) -> None:
        time.sleep(2)
        route.continue_()

    visit.page.route(f"**/static/{script}", late)
    expect(visit.go("jobs/team/digits").locator(".chart")).to_have_count(4)


def test_curves_grow_and_the_zoom_stays(visit: Visit) -> None:
    page = visit.go("jobs/team/digits")
    expect(page.locator(".chart")).to_have_count(4)
    chart = page.get_by_role("group", name="Curve of loss")
    chart.focus()
    page.keyboard.press("+")
    expect(page.get_by_role("button", name="Whole range")).to_be_enabled()
    visit.client.put(job(progress=progress(step=2000, history=curve(120, names=METRICS))))
    expect(page.locator(".figure", has_text="Step").first).to_contain_text("2,000")
    expect(page.get_by_role("button", name="Whole range")).to_be_enabled()
    expect(page.locator(".chart canvas")).to_have_count(4)
    page.get_by_text("Values as a table").click()
    visit.client.put(job(progress=progress(step=2100, history=curve(120, names=METRICS))))
    expect(page.locator(".figure", has_text="Step").first).to_contain_text("2,100")
    expect(page.get_by_role("cell", name="0.0000").first.or_(page.locator("#values table"))).to_be_visible()
    page.get_by_role("button", name="Whole range").click()
    expect(page.get_by_role("button", name="Whole range")).to_be_disabled()


def test_every_report_comes_from_storage_where_it_may_be_read(visit: Visit) -> None:
    page = visit.go("jobs/team/digits")
    every = page.get_by_label("Every report")
    every.click()
    expect(page.get_by_text("the job keeps none")).to_be_visible()
    expect(every).not_to_be_checked()
    visit.client.told.history = History([1, 2, 3], {"gradientNorm": [3.0, 2.0, 1.5]})
    every.click()
    expect(page.get_by_role("group", name="Curve of gradientNorm")).to_be_visible()


def test_nothing_is_done_without_a_confirmation(visit: Visit) -> None:
    page = visit.go("jobs/team/digits")
    page.get_by_role("button", name="Suspend").click()
    page.get_by_role("button", name="Keep it as it is").click()
    page.get_by_role("button", name="Cancel", exact=True).click()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    assert visit.client.told.done == []
    page.get_by_role("button", name="Suspend").click()
    page.get_by_role("dialog").get_by_role("button", name="Suspend").click()
    expect(page.get_by_text("Asked to suspend")).to_be_visible()
    assert visit.client.told.done == [("team/digits", "suspend")]


def test_another_job_of_the_same_name_is_left_alone(visit: Visit) -> None:
    page = visit.go("jobs/team/digits")
    page.get_by_role("button", name="Cancel", exact=True).click()
    visit.client.put(job(uid="another"))
    page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    expect(page.get_by_role("heading", name="There is no such job")).to_be_visible()
    assert visit.client.told.done == []
    visit.wrong = [each for each in visit.wrong if "404" not in each]


def test_what_tenants_write_is_text(visit: Visit) -> None:
    for path in (
        "",
        "jobs/team/hostile",
        "jobs/team/hostile/spec",
        "compare?job=team/hostile&job=team/digits",
        "cluster",
    ):
        page = visit.go(path)
        page.wait_for_timeout(300)
        assert page.evaluate("window.taken") is None
        assert page.locator("main img, main script").count() == 0
    assert page.get_by_text("49").count() == 0
    page = visit.go("jobs/team/hostile")
    expect(page.locator("#why-title")).to_contain_text("<script>window.taken=1</script>")
    page = visit.go("jobs/team/hostile/logs")
    expect(page.locator("#log")).to_contain_text("the end")
    assert page.evaluate("window.taken") is None
    assert page.locator("#log div", has_text="<script>").count() == 1
    assert max(page.locator("#log div").evaluate_all("items => items.map(item => item.textContent.length)")) < 5_000


@pytest.mark.parametrize(("scheme", "size"), [("light", DESK), ("dark", PHONE)], ids=["light", "dark, on a phone"])
def test_axe_finds_nothing_serious(visit: Visit, scheme: str, size: dict[str, int]) -> None:
    visit.page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
    visit.page.set_viewport_size(size)  # type: ignore[arg-type]
    found = []
    paths = ["", "jobs/vision/resnet", "jobs/team/digits/logs", "jobs/team/digits/spec", "cluster"]
    paths += ["jobs/team/measured", "jobs/team/measured/data", "jobs/team/measured/model"]
    for path in [*paths, "compare?job=team/digits&job=vision/resnet"]:
        page = visit.go(path)
        if "logs" in path:
            expect(page.locator("#log")).to_contain_text("the end")
        page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
        found += [
            (path, each["id"], each["nodes"][0]["html"][:200])
            for each in Axe().run(page).response["violations"]
            if each["impact"] in ("serious", "critical")
        ]
        assert page.evaluate("document.documentElement.scrollWidth") <= size["width"], path
    assert found == []


def test_a_models_plots_are_drawn_and_its_card_is_words(visit: Visit) -> None:
    page = visit.go("jobs/team/measured/model")
    expect(page.get_by_role("heading", name="Not accepted: its gate is not passed")).to_be_visible()
    expect(page.locator(".matrix td").first).to_have_text("9")
    page.get_by_text("Model card").click()
    drawn = "[...document.images].filter(each => each.complete && each.naturalWidth === 640).length"
    page.wait_for_function(f"{drawn} === 2")  # among the plots, and in the card
    expect(page.locator(".readme")).to_contain_text("<script>window.taken=1</script>")
    assert page.locator(".readme").locator("script, [onerror], [style]").count() == 0
    assert page.evaluate("[...document.links].map(each => each.protocol)").count("javascript:") == 0
    for link in page.get_by_role("link", name="https://wandb/run").all() + page.locator(".readme a[href]").all():
        assert (link.get_attribute("rel"), link.get_attribute("target")) == ("noopener noreferrer", "_blank")
    assert page.evaluate("window.taken") is None


def test_data_say_what_is_wrong_with_them_first(visit: Visit) -> None:
    page = visit.go("jobs/team/measured/data")
    expect(page.get_by_role("heading", name="Broken checks")).to_be_visible()
    expect(page.get_by_role("row", name="validation")).to_contain_text("20.0 %")
    expect(page.get_by_role("img", name="Distribution of alcohol")).to_be_visible()
    assert page.locator("main img, main script").count() == 0
    assert page.evaluate("window.taken") is None


def test_the_spec_says_what_changed_between_runs(visit: Visit) -> None:
    page = visit.go("jobs/team/digits/spec")
    row = page.get_by_role("row", name="nodes")
    expect(row).to_have_count(1)
    expect(row.locator("td")).to_have_text(["4", "differs: 2"])
    page.get_by_role("link", name="All fields").click()
    expect(page.get_by_role("row", name="trainer.recipe")).to_be_visible()
    expect(page.locator("pre.code")).to_contain_text("kind: TrainingJob")


def test_another_job_becomes_the_baseline(visit: Visit) -> None:
    page = visit.go("compare?job=team/digits&job=vision/resnet")
    expect(page.locator(".specs thead th").nth(1)).to_contain_text("team/digits")
    page.get_by_role("link", name="Make resnet the baseline").click()
    expect(page.locator(".specs thead th").nth(1)).to_contain_text("vision/resnet")
    page.get_by_role("link", name="Remove digits").click()
    expect(page.get_by_role("heading", name="Compare 1 run")).to_be_visible()
    expect(page.locator(".chart canvas")).to_have_count(2)


def test_a_cluster_that_goes_away_is_said(visit: Visit) -> None:
    page = visit.go()
    visit.client.trouble = ClusterUnreachable("https://cluster: no answer")
    visit.client.put(job("late"))
    expect(page.get_by_role("alert")).to_contain_text("https://cluster: no answer")
    expect(page.get_by_role("link", name="digits")).to_be_visible()


def test_a_thousand_jobs_and_a_hundred_runs_in_one_chart(visit: Visit) -> None:
    for number in range(1000):
        visit.client.put(job(f"job-{number:04}", "many", progress=progress(history=curve(60, seed=number))))
    page = visit.go("?namespace=many")
    expect(page.locator("tbody tr")).to_have_count(100)
    expect(page.get_by_text("Page 1 of 10")).to_be_visible()
    page = visit.go("compare?" + "&".join(f"job=many/job-{number:04}" for number in range(100)))
    expect(page.locator(".legend button")).to_have_count(100)
    expect(page.locator(".chart canvas")).to_have_count(2)
    page.get_by_role("button", name="job-0007").click()
    expect(page.get_by_role("button", name="job-0007")).to_have_attribute("aria-pressed", "false")
