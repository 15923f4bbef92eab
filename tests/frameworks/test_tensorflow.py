"""TensorFlow on several nodes, in an image without torch: examples/tensorflow."""

from pathlib import Path

import pytest

from one_model import Digits, Trained

VENV = "tensorflow"
pytestmark = [pytest.mark.frameworks, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def together(tmp_path_factory: pytest.TempPathFactory, digits: Path, python: str) -> Trained:
    """What two nodes have trained."""
    return Digits("tensorflow", tmp_path_factory.mktemp("two") / "job", python, digits, nodes=2).train()


def test_two_nodes_train_one_model(tmp_path: Path, together: Trained, digits: Path, python: str) -> None:
    alone = Digits("tensorflow", tmp_path / "job", python, digits, nodes=1).train()
    assert len(together.weights) == 1
    assert together.history["loss"] == pytest.approx(alone.history["loss"], rel=1e-3)
    assert together.history["testAccuracy"] > 0.9


def test_goes_on_where_lost_nodes_were(tmp_path: Path, digits: Path, python: str) -> None:
    job = Digits("tensorflow", tmp_path / "job", python, digits, nodes=2)
    job.lose_the_nodes("Epoch 4/10")
    trained = job.train(attempt=1)
    assert len(trained.weights) == 1
    assert all("Epoch 1/10" not in log and "Epoch 10/10" in log for log in trained.logs)
    assert trained.history["testAccuracy"] > 0.9
