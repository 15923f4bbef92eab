"""The chart before other people's judges: Helm 3 and 4, kubernetes-validate, checkov, promtool. `make test-chart`."""

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from chart_matrix import VALUES, Object, rendered
from realcluster.chart import CHART, RELEASE, ROOT, load_helm, run_helm

pytestmark = [pytest.mark.chart]
load_helm()

VENV = ROOT / ".venvs/chart"
OF_OTHERS = ("footplate.dev", "monitoring.coreos.com", "apiextensions.k8s.io")
"""Groups whose kinds have no schema among Kubernetes' own; the API server of test_chart_objects.py judges the CRDs."""

SERVED = "footplate.dev/v1alpha1/ClusterTrainingRuntime"
matrix = pytest.mark.parametrize("path", VALUES, ids=lambda path: path.stem)


def judge(name: str) -> Path:
    """A program of the judges' virtual environment; skips the test where there is none, which in CI is a failure."""
    program = VENV / "bin" / name
    if not program.is_file():
        missing = f"there is no {program}: make test-chart"
        pytest.fail(missing) if os.environ.get("CI") else pytest.skip(missing)
    return program


def run(*command: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([str(each) for each in command], capture_output=True, text=True, timeout=300)


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Each values file's objects, but for those of other groups, in a file of its name."""
    folder = tmp_path_factory.mktemp("rendered")
    for path in VALUES:
        ours = [each for each in rendered(path) if each["apiVersion"].partition("/")[0] not in OF_OTHERS]
        (folder / path.name).write_text(yaml.safe_dump_all(ours, sort_keys=False))
    return folder


def template(version: int, path: Path) -> list[Object]:
    """What the program of this Helm makes of a values file."""
    done = run_helm(version, "template", RELEASE, str(CHART), "-f", str(path), "--api-versions", SERVED)
    return [each for each in yaml.load_all(done.stdout, Loader=yaml.CSafeLoader) if each]


def by_name(objects: list[Object]) -> dict[tuple[str, ...], Object]:
    return {(each["kind"], each["metadata"].get("namespace", ""), each["metadata"]["name"]): each for each in objects}


@matrix
def test_helm_3_and_4_make_the_same(path: Path) -> None:
    three, four = template(3, path), template(4, path)
    assert len(three) == len(by_name(three))
    assert by_name(three) == by_name(four)
    assert {**by_name(three), **by_name(list(rendered(path)))} == by_name(three), "the SDK makes something else"


@pytest.mark.parametrize("version", [3, 4])
def test_lint(version: int) -> None:
    for path in VALUES:
        done = run_helm(version, "lint", "--strict", str(CHART), "-f", str(path))
        assert "0 chart(s) failed" in done.stdout, done.stdout


@pytest.mark.parametrize("version", [3, 4])
def test_a_render_takes_less_than_a_second(version: int) -> None:
    [everything] = [path for path in VALUES if path.stem == "everything"]

    def seconds() -> float:
        begin = time.monotonic()
        run_helm(version, "template", RELEASE, str(CHART), "-f", str(everything))
        return time.monotonic() - begin

    best = min(seconds() for _ in range(5))
    print(f"\nhelm template by Helm {version}, its start included: {best:.2f} s")
    assert best < 1


@pytest.mark.parametrize("version", ["1.31", "1.34", "1.37"])
def test_kubernetes_takes_it(folder: Path, version: str) -> None:
    """The oldest version that the chart allows, the newest that there is, and one between."""
    assert yaml.safe_load((CHART / "Chart.yaml").read_text())["kubeVersion"].startswith(">=1.31")
    done = run(judge("kubernetes-validate"), "-k", version, "--strict", *sorted(folder.iterdir()))
    assert done.returncode == 0, done.stdout + done.stderr
    objects = sum(len(list(yaml.safe_load_all(file.read_text()))) for file in folder.iterdir())
    assert (done.stdout + done.stderr).count(f"against version {version}") == objects


def test_checkov_finds_what_is_explained_and_nothing_else(folder: Path) -> None:
    options = ("--framework", "kubernetes", "--skip-download", "-o", "json")
    done = run(judge("checkov"), "-d", folder, *options)
    report = json.loads(done.stdout)
    assert report["summary"]["passed"] > 1000, done.stderr
    found = {
        (each["check_id"], each["resource"].partition(".")[0], Path(each["file_path"]).stem): each["check_name"]
        for each in report["results"]["failed_checks"]
    }
    exceptions = yaml.safe_load((Path(__file__).parent / "exceptions.yaml").read_text())
    explained = {where for each in exceptions for where in places(each)}
    assert {where: found[where] for where in found.keys() - explained} == {}, "neither mended nor explained"
    assert explained - found.keys() == set(), "explained, and not found any more"


def places(exception: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    assert exception["why"].strip()
    files = exception.get("in", [path.stem for path in VALUES])
    return ((exception["check"], kind, file) for kind in exception["of"] for file in files)


def test_promtool_takes_the_rules(tmp_path: Path) -> None:
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.fail("Debian's package prometheus has promtool: .ci/setup --package prometheus")
    rules = [each for path in VALUES for each in rendered(path) if each["kind"] == "PrometheusRule"]
    assert len(rules) == 2
    for number, each in enumerate(rules):
        file = tmp_path / f"{number}.yaml"
        file.write_text(yaml.safe_dump(each["spec"]))
        done = run(promtool, "check", "rules", file)
        assert done.returncode == 0, done.stdout + done.stderr
