"""The commands that ask a cluster, over a client that has what a test gives it."""

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from typer.testing import CliRunner, Result

import footplate.client
from footplate.cli.main import app
from footplate.client import CheckpointView, ClusterView, History, LogLine, StorageUnreadable, Why
from footplate.client.bills import Bill
from footplate.client.cluster import ResourceView, UseView
from footplate.client.errors import JobNotFound, WaitTimeout
from footplate_trainer.evaluation_file import DataEvaluation, Slice
from job_views import EVIL, job_view
from result_files import evaluated


class FakeClient:
    """Has `jobs`; remembers how it was opened and what it was asked."""

    jobs: list[SimpleNamespace]
    opened: dict[str, Any]
    asked: dict[str, Any]

    def __init__(self, **where: Any) -> None:
        type(self).opened = where
        self.namespace = where.get("namespace") or "team"

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None: ...

    def get(self, name: str) -> SimpleNamespace:
        for job in self.jobs:
            if job.name == name:
                return job
        raise JobNotFound(name, namespace=self.namespace, names=[job.name for job in self.jobs])

    def list(self, **asked: Any) -> list[SimpleNamespace]:
        type(self).asked = asked
        return self.jobs

    def bills(self, _label: str) -> Sequence[Bill]:
        return [Bill("team", "42", 2, {"nvidia.com/gpu": 7.5}, {"EUR": 18.75}, 1)]

    def cluster(self) -> ClusterView:
        use = UseView("team", "digits", "Running", 2, {"nvidia.com/gpu": 8}, 91.4)
        return ClusterView([ResourceView("nvidia.com/gpu", 16, 8, 2, 6)], [use], 91.4, whole=True)

    def plan(self, source: Any) -> str:
        type(self).asked = {"plan": source}
        return "takes 2 nodes"

    def submit(self, source: Any, *, dry_run: bool = False) -> SimpleNamespace:
        type(self).asked |= {"submit": source, "dry_run": dry_run}
        return job_view("digits")

    def render(self, source: Any) -> Sequence[dict[str, Any]]:
        return [{"kind": "Pod", "metadata": {"name": name}} for name in ("a", "b")]

    def watch(self, **_: Any) -> Any:
        for job in self.jobs:
            yield SimpleNamespace(type="ADDED", job=job)
        raise KeyboardInterrupt


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[SimpleNamespace]:
    """The fake cluster's jobs."""
    monkeypatch.setattr(footplate.client, "Client", FakeClient)
    FakeClient.jobs = [job_view("digits", phase="Running", run=1), job_view("wine", phase="Failed")]
    return FakeClient.jobs


def footplate_(*arguments: str, stdin: str | None = None) -> Result:
    return CliRunner().invoke(app, arguments, input=stdin)


@pytest.mark.usefixtures("jobs")
def test_list_for_people() -> None:
    result = footplate_("list", "-A", "--phase", "running", "-l", "team=vision")
    assert FakeClient.asked == {"all_namespaces": True, "phase": "running", "selector": "team=vision"}
    head, *rows = result.stdout.splitlines()
    assert head.split()[:3] == ["NAMESPACE", "NAME", "PHASE"]
    assert [row.split()[:3] for row in rows] == [["team", "digits", "Running"], ["team", "wine", "Failed"]]
    assert "\x1b" not in result.stdout


@pytest.mark.usefixtures("jobs")
def test_list_for_programs() -> None:
    as_json = json.loads(footplate_("list", "-o", "json").stdout)
    assert (as_json["kind"], [item["metadata"]["name"] for item in as_json["items"]]) == ("List", ["digits", "wine"])
    assert yaml.safe_load(footplate_("list", "-o", "yaml").stdout) == as_json
    names = footplate_("list", "-o", "name").stdout.split()
    assert names == ["trainingjob.footplate.dev/digits", "trainingjob.footplate.dev/wine"]


def test_a_list_without_jobs_says_where_it_looked(jobs: list[SimpleNamespace]) -> None:
    jobs.clear()
    assert footplate_("list").stdout == "no jobs in namespace team\n"
    assert footplate_("list", "--phase", "Failed").stdout == "no jobs of that kind in namespace team\n"
    assert json.loads(footplate_("list", "-o", "json").stdout)["items"] == []


@pytest.mark.usefixtures("jobs")
def test_watch_in_a_pipe_is_a_line_a_change_until_it_is_interrupted() -> None:
    result = footplate_("list", "--watch", "--phase", "failed")
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [["NAME", "PHASE"], ["wine", "Failed"]]
    assert result.exit_code == 130
    assert "leave one of them out" in footplate_("list", "--watch", "-o", "json").stderr


@pytest.mark.usefixtures("jobs")
def test_where_is_passed_on() -> None:
    footplate_("list", "-n", "other", "--context", "prod", "--kubeconfig", "file")
    assert FakeClient.opened == {"namespace": "other", "context": "prod", "kubeconfig": "file"}


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize(
    ("verb", "code"), [("suspend", 1), ("resume", 1), ("restart", 1), ("cancel", 1), ("status", 1), ("wait", 3)]
)
def test_a_job_that_is_not_there_is_said_without_a_traceback(verb: str, code: int) -> None:
    result = footplate_(verb, "digit")
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr == (
        f"footplate {verb}: there is no TrainingJob 'digit' in namespace team: did you mean digits?\n"
    )


@pytest.mark.parametrize(("phase", "code"), [("Succeeded", 0), ("Failed", 1)])
def test_wait_tells_the_end_by_its_exit_code(jobs: list[SimpleNamespace], phase: str, code: int) -> None:
    jobs[0] = job_view("digits", phase=phase)
    jobs[0].wait = lambda timeout: None
    assert footplate_("wait", "digits").exit_code == code


def test_wait_times_out_with_2(jobs: list[SimpleNamespace]) -> None:
    def wait(timeout: float | None) -> None:
        raise WaitTimeout(f"not within {timeout:g} s")

    jobs[0].wait = wait
    result = footplate_("wait", "digits", "--timeout", "2m")
    assert (result.exit_code, result.stderr) == (2, "footplate wait: not within 120 s\n")
    assert "'soon' is no duration; write 90s, 10m or 2h" in footplate_("wait", "digits", "--timeout", "soon").stderr


@pytest.mark.parametrize(
    ("arguments", "call"),
    [
        (["suspend", "digits"], ("suspend",)),
        (["resume", "digits"], ("resume",)),
        (["restart", "digits"], ("restart",)),
        (["scale", "digits", "4"], ("scale", 4)),
        (["cancel", "digits", "--yes"], ("cancel",)),
    ],
)
def test_verbs(jobs: list[SimpleNamespace], arguments: list[str], call: tuple[Any, ...]) -> None:
    calls: list[tuple[Any, ...]] = []
    setattr(jobs[0], call[0], lambda *given: calls.append((call[0], *given)))
    result = footplate_(*arguments)
    assert result.exit_code == 0, result.stderr
    assert calls == [call]
    assert result.stdout.startswith("digits ")
    assert result.stdout.count("\n") == 1


def test_a_checkpoint_is_spoken_of_where_there_is_one(jobs: list[SimpleNamespace]) -> None:
    """Not while data are being prepared."""
    for checkpoint, phase in ((None, "Pending"), ({"uri": "s3://c/1", "step": 7}, "Running")):
        jobs[0] = job_view("digits", phase=phase, checkpoint=checkpoint)
        jobs[0].suspend = jobs[0].resume = lambda: None
        said = footplate_("suspend", "digits").stdout, footplate_("resume", "digits").stdout
        assert ["checkpoint" in words for words in said] == [checkpoint is not None] * 2


@pytest.mark.usefixtures("jobs")
def test_submit_shows_the_plan_and_asks_nobody_in_a_pipe(tmp_path: Path) -> None:
    result = footplate_("submit", str(tmp_path / "job.yaml"))
    assert result.stdout == (
        "takes 2 nodes\ndigits is submitted; `footplate status digits -n team` shows what it does\n"
    )
    assert FakeClient.asked == {**dict.fromkeys(("plan", "submit"), tmp_path / "job.yaml"), "dry_run": False}
    assert "nothing was created" in footplate_("submit", str(tmp_path / "job.yaml"), "--dry-run").stdout
    assert FakeClient.asked["dry_run"] is True


@pytest.mark.usefixtures("jobs")
def test_submit_from_standard_input_and_from_flags() -> None:
    manifest = {"kind": "TrainingJob", "metadata": {"name": "a"}, "spec": {}}
    assert footplate_("submit", "-", stdin=json.dumps(manifest)).exit_code == 0
    assert FakeClient.asked["submit"]["metadata"]["name"] == "a"
    assert footplate_("submit", "--recipe", "image-classification", "--name", "b", "--set", "epochs=3").exit_code == 0
    assert FakeClient.asked["submit"]["spec"]["trainer"]["hyperparameters"] == {"epochs": 3}


@pytest.mark.usefixtures("jobs")
@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ([], 2, "name either a FILE, or a recipe by --recipe"),
        (["job.yaml", "--recipe", "x"], 2, "name either a FILE, or a recipe by --recipe"),
        (["job.yaml", "--nodes", "2"], 2, "the flags of a job go with --recipe; of this one write them into job.yaml"),
        (["--recipe", "x"], 2, "--recipe needs a --name for its job"),
        (["--recipe", "x", "--name", "a", "--set", "b"], 1, "--set b: write it as NAME=VALUE"),
        (["-"], 1, "isn't YAML"),
    ],
)
def test_a_mistake_in_submit_is_explained(arguments: list[str], code: int, said: str) -> None:
    result = footplate_("submit", *arguments, stdin="a: [")
    assert (result.exit_code, result.stdout) == (code, "")
    assert said in " ".join(result.stderr.replace("│", "").split())


@pytest.mark.usefixtures("jobs")
def test_render_is_yaml_for_kubectl_by_default() -> None:
    documents = [{"kind": "Pod", "metadata": {"name": name}} for name in ("a", "b")]
    assert list(yaml.safe_load_all(footplate_("render", "job.yaml").stdout)) == documents
    assert json.loads(footplate_("render", "job.yaml", "-o", "json").stdout)["items"] == documents
    assert footplate_("render", "job.yaml", "-o", "name").stdout == "pod/a\npod/b\n"


def test_why_names_the_reason_and_the_way_out(jobs: list[SimpleNamespace]) -> None:
    jobs[1].why = lambda: Why("It has failed: [no] room", ["rank 1, exit code 1"], ["ask for more memory"])
    assert footplate_("why", "wine").stdout == (
        "It has failed: [no] room\n  · rank 1, exit code 1\n  → ask for more memory\n"
    )
    as_json = json.loads(footplate_("why", "wine", "-o", "json").stdout)
    assert (as_json["phase"], as_json["wayOut"]) == ("Failed", ["ask for more memory"])


def test_status_in_a_pipe_is_one_plain_look(jobs: list[SimpleNamespace]) -> None:
    jobs[0].live, jobs[0].ranks, jobs[0].events = (lambda: jobs[0].progress), list, list
    result = footplate_("status", "digits")
    assert result.stdout.splitlines()[0] == "digits   team   run 1, attempt 0   Running"
    assert "\x1b" not in result.stdout
    assert json.loads(footplate_("status", "digits", "-o", "json").stdout)["metadata"]["name"] == "digits"


@pytest.mark.parametrize(
    ("arguments", "asked", "shown"),
    [
        ([], {"rank": 0}, "a line\n"),
        (["--rank", "3", "--tail", "5", "-f"], {"rank": 3, "tail": 5, "follow": True}, "a line\n"),
        (["--all", "--attempt", "1"], {"rank": None, "attempt": 1}, "  3 │ a line\n"),
        (["--failed"], {"rank": None, "failed": True}, "a line\n"),
        (["-o", "json"], {"rank": 0}, '{"nodeRank": 3, "attempt": 0, "text": "a line"}\n'),
    ],
)
def test_logs(jobs: list[SimpleNamespace], arguments: list[str], asked: dict[str, Any], shown: str) -> None:
    calls: list[dict[str, Any]] = []

    def logs(rank: int | None, **given: Any) -> list[LogLine]:
        calls.append({"rank": rank, **given})
        return [LogLine(3, 0, "a line")]

    jobs[0].logs = logs
    assert footplate_("logs", "digits", *arguments).stdout == shown
    assert calls == [{"attempt": None, "follow": False, "tail": None, "failed": False, **asked}]
    assert "keep one" in footplate_("logs", "digits", "--all", "--rank", "1").stderr


CURVE = History([0, 10], {"loss": [2.0, 0.5], "accuracy": [None, 0.9]})
WHOLE = History([0, 10], {"loss": [2.0, 0.5], "accuracy": [None, 0.9]}, [1.5, 2.5])


def unreadable(*, full: bool = False) -> History:
    if full:
        raise StorageUnreadable("the job keeps none")
    return CURVE


def test_metrics_are_plotted(jobs: list[SimpleNamespace]) -> None:
    jobs[0].history = lambda full=False: WHOLE if full else CURVE
    lines = footplate_("metrics", "digits", "loss").stdout.splitlines()
    assert lines[0] == "loss   0.5   (0.5 … 2)"
    assert lines[1].startswith("  2 ┤")
    assert footplate_("metrics", "digits", "-o", "name").stdout.split() == ["loss", "accuracy"]
    mistaken = footplate_("metrics", "digits", "los")
    assert mistaken.stderr == "footplate metrics: it has reported no metric 'los'; there are loss, accuracy\n"


def test_metrics_for_programs_are_all_that_was_reported(jobs: list[SimpleNamespace], tmp_path: Path) -> None:
    jobs[0].history = lambda full=False: WHOLE if full else CURVE
    assert footplate_("metrics", "digits", "--csv").stdout == "step,time,loss,accuracy\n0,1.5,2.0,\n10,2.5,0.5,0.9\n"
    assert json.loads(footplate_("metrics", "digits", "-o", "json").stdout)["times"] == [1.5, 2.5]
    for name in ("a.png", "a.foo", "a"):
        assert footplate_("metrics", "digits", "--png", str(tmp_path / name)).exit_code == 0
        assert (tmp_path / name).read_bytes().startswith(b"\x89PNG")


def test_metrics_that_storage_does_not_give_come_from_the_status(jobs: list[SimpleNamespace]) -> None:
    jobs[0].history = unreadable
    result = footplate_("metrics", "digits", "--csv")
    assert result.stdout == "step,loss,accuracy\n0,2.0,\n10,0.5,0.9\n"
    assert result.stderr == (
        "footplate metrics: the job keeps none; so this is the status' curve of at most 120 points\n"
    )


def test_checkpoints(jobs: list[SimpleNamespace]) -> None:
    saved = CheckpointView("s3://a/step-00000010/", 10, "main", None, 2_000, damaged=True)
    jobs[0].checkpoints = lambda: [saved]
    assert footplate_("checkpoints", "digits").stdout.splitlines()[1].split() == [
        "10", "-", "2.0", "kB", "main", "damaged", "s3://a/step-00000010/"
    ]  # fmt: skip
    assert json.loads(footplate_("checkpoints", "digits", "-o", "json").stdout)[0]["sizeBytes"] == 2_000
    assert footplate_("checkpoints", "digits", "-o", "name").stdout == "s3://a/step-00000010/\n"


GATES = {
    "metrics": {"testAccuracy": 0.9},
    "gates": [{"metric": "testAccuracy", "atLeast": 0.95, "value": 0.9, "passed": False}],
}


def evaluated_job(**data: DataEvaluation) -> SimpleNamespace:
    job = job_view("digits", phase="Failed", evaluation=GATES)
    job.evaluation = lambda: SimpleNamespace(data=data, plot_names=lambda: ["test-roc.png"])
    return job


def test_evaluation_for_people(jobs: list[SimpleNamespace]) -> None:
    slices = {"country": {"de": Slice(samples=3, values={"accuracy": 0.5})}}
    jobs[0] = evaluated_job(test=evaluated(slices=slices))
    lines = [line.split() for line in footplate_("evaluation", "digits").stdout.splitlines()]
    assert lines[0] == ["Not", "accepted:", "its", "gate", "is", "not", "passed"]
    assert ["testAccuracy", "at", "least", "0.95", "0.9", "not", "passed"] in lines
    assert ["On", "test", "data,", "30", "samples"] in lines
    assert ["accuracy", "0.9"] in lines
    assert ["CLASS", "PRECISION", "RECALL", "F1", "SAMPLES"] in lines
    assert ["neutral", "0.9", "0.9", "0.9", "10"] in lines
    assert ["neutral", "0", "9", "1"] in lines  # the confusion matrix
    assert ["de", "3", "0.5"] in lines


def test_evaluation_for_programs(jobs: list[SimpleNamespace]) -> None:
    jobs[0] = evaluated_job(test=evaluated())
    found = json.loads(footplate_("evaluation", "digits", "-o", "json").stdout)
    assert (found["accepted"], found["plots"]) == (False, ["test-roc.png"])
    assert found["gates"] == GATES["gates"]
    assert found["metrics"]["testF1.neutral"] == found["data"]["test"]["values"]["f1.neutral"] == 0.9
    assert "testAccuracy\n" in footplate_("evaluation", "digits", "-o", "name").stdout


def test_evaluation_is_the_status_where_storage_is_away(jobs: list[SimpleNamespace]) -> None:
    def away() -> None:
        raise StorageUnreadable("storage is away")

    jobs[0] = evaluated_job()
    jobs[0].evaluation = away
    result = footplate_("evaluation", "digits")
    assert result.stderr == "footplate evaluation: storage is away; so this is what the status has\n"
    assert result.stdout.splitlines()[0] == "Not accepted: its gate is not passed"
    assert result.stdout.splitlines()[-1].split() == ["testAccuracy", "0.9"]
    assert json.loads(footplate_("evaluation", "digits", "-o", "json").stdout)["metrics"] == {"testAccuracy": 0.9}


def test_evaluation_of_a_model_that_nobody_has_measured(jobs: list[SimpleNamespace]) -> None:
    jobs[0] = evaluated_job()
    jobs[0].status = job_view("digits").status
    assert footplate_("evaluation", "digits").stdout.startswith("nothing was measured of this model")


def test_an_evaluations_words_are_plain_and_bounded(jobs: list[SimpleNamespace]) -> None:
    names = (EVIL, *(f"class-{number}" for number in range(200)))
    slices = {EVIL: {f"{EVIL}{number}": Slice(samples=1, values={EVIL: 1.0}) for number in range(200)}}
    jobs[0] = evaluated_job(test=evaluated(names, slices=slices, values={EVIL: 1.0, f"f1.{EVIL}": 1.0}))
    shown = footplate_("evaluation", "digits").stdout
    assert "\x1b" not in shown
    assert "151 more; -o json has all" in shown
    assert "150 more; -o json has all" in shown


def test_artifact(jobs: list[SimpleNamespace], tmp_path: Path) -> None:
    files = [SimpleNamespace(name="model.bin", size_bytes=2_000, sha256="ab")]
    manifest = SimpleNamespace(files=files, model_dump=lambda **_: {"files": []})
    model = SimpleNamespace(uri="s3://m/", verify=lambda key=None: manifest, download=lambda folder: folder)
    model.status = SimpleNamespace(accepted=None)
    jobs[0].artifact = model
    lines = footplate_("artifact", "verify", "digits").stdout.splitlines()
    assert [line.split() for line in lines[:2]] == [["FILE", "SIZE", "SHA-256"], ["model.bin", "2.0", "kB", "ab"]]
    assert lines[2] == "all files of s3://m/ are what was trained"
    assert footplate_("artifact", "verify", "digits", "-o", "name").stdout == "model.bin\n"
    assert footplate_("artifact", "get", "digits", str(tmp_path)).stdout.startswith(f"{tmp_path} has the model")
    model.status.accepted = False
    assert "; its gates haven't accepted it" in footplate_("artifact", "get", "digits", str(tmp_path)).stdout
    assert footplate_("artifact", "get", "nope", str(tmp_path)).stderr.startswith("footplate artifact get: there is no")


def test_report(jobs: list[SimpleNamespace]) -> None:
    jobs[0].support_bundle = lambda path: path
    assert footplate_("report", "digits").stdout.startswith("digits-report.zip is written")
    assert footplate_("report", "digits", "a.zip").stdout.startswith("a.zip is written")


@pytest.mark.usefixtures("jobs")
def test_top() -> None:
    parts = footplate_("top").stdout.split("\n\n")
    assert [line.split() for part in parts for line in part.splitlines()] == [
        ["ACCELERATOR", "CAPACITY", "JOBS", "OTHERS", "FREE"],
        ["nvidia.com/gpu", "16", "8", "2", "6"],
        ["NAMESPACE", "HOLDS"],
        ["team", "8", "nvidia.com/gpu"],
        ["NAMESPACE", "JOB", "PHASE", "NODES", "GOODPUT", "HOLDS"],
        ["team", "digits", "Running", "2", "91%", "8", "nvidia.com/gpu"],
        ["goodput", "of", "all", "of", "them:", "91%"],
    ]
    as_json = json.loads(footplate_("top", "-o", "json").stdout)
    assert as_json["namespaces"] == {"team": {"nvidia.com/gpu": 8}}
    assert as_json["jobs"][0]["goodputPercent"] == 91.4


@pytest.mark.usefixtures("jobs")
def test_top_by_cost() -> None:
    *lines, _, note = footplate_("top", "--cost", "--by", "cost-center").stdout.splitlines()
    assert [line.split() for line in lines] == [
        ["NAMESPACE", "cost-center", "JOBS", "ACCELERATOR-HOURS", "COST"],
        ["team", "42", "2", "7.5", "nvidia.com/gpu", "18.75", "EUR"],
    ]
    assert note == "1 of the jobs has held accelerators without a price (spec.prices of a runtime)"
    assert footplate_("top", "--cost", "-o", "name").stdout == "team\n"
    assert json.loads(footplate_("top", "--cost", "-o", "json").stdout)[0]["chargedTo"] == "42"
    assert "--by goes with --cost" in footplate_("top", "--by", "x").stderr


def test_explain() -> None:
    lines = footplate_("explain", "tabular-classification").stdout.splitlines()
    assert lines[0].split() == ["NAME", "TYPE", "DEFAULT", "RULE", "WHAT", "IT", "DOES"]
    assert lines[1].startswith("target")
    assert "required" in lines[1]
    assert "epochs" in footplate_("explain", "tabular-classification", "-o", "name").stdout.split()
    mistaken = footplate_("explain", "tabular")
    assert mistaken.exit_code == 1
    assert mistaken.stderr.startswith("footplate explain: there is no recipe 'tabular'")
