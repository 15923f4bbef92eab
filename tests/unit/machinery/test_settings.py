import pytest

from footplate.errors import ConfigurationError
from footplate.machinery.settings import OperatorSettings


def test_the_environment_sets_what_it_names(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("PORT", "9"), ("NAMESPACES", "a,b"), ("LEADER_ELECTION", "false"), ("UNKNOWN", "x")):
        monkeypatch.setenv(f"FOOTPLATE_OPERATOR_{name}", value)
    monkeypatch.setenv("POD_NAMESPACE", "mine")
    settings = OperatorSettings.from_environment()
    assert (settings.port, settings.namespaces, settings.leader_election) == (9, ("a", "b"), False)
    assert settings.lease_namespace == "mine"
    assert settings.workers == OperatorSettings().workers


def test_a_value_of_another_type_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTPLATE_OPERATOR_PORT", "http")
    with pytest.raises(ConfigurationError, match=r"FOOTPLATE_OPERATOR_PORT='http': .*integer"):
        OperatorSettings.from_environment()


def test_labels_that_never_go_on_are_refused_at_the_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTPLATE_OPERATOR_PROPAGATE_LABELS", "example.com/*,cost-center")
    assert OperatorSettings.from_environment().propagate_labels == ("example.com/*", "cost-center")
    monkeypatch.setenv("FOOTPLATE_OPERATOR_PROPAGATE_LABELS", "")
    assert OperatorSettings.from_environment().propagate_labels == ()
    with pytest.raises(ConfigurationError, match=r"propagateLabels: 'app.kubernetes.io/instance' never goes on"):
        OperatorSettings(propagate_labels=("app.kubernetes.io/instance",))


def test_two_processes_of_one_host_are_two() -> None:
    assert OperatorSettings().identity != OperatorSettings().identity


def test_accelerators_are_named_by_the_environment_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FOOTPLATE_OPERATOR_ACCELERATORS", "nvidia.com/gpu,acme.com/npu-*")
    assert OperatorSettings.from_environment().accelerators == ("nvidia.com/gpu", "acme.com/npu-*")


def test_a_name_that_is_none_is_refused() -> None:
    with pytest.raises(ConfigurationError, match=r"--accelerator: 'gpu' is no accelerator's name"):
        OperatorSettings(accelerators=("gpu",))


@pytest.mark.parametrize("name", ["namespaces", "propagate_labels", "without_gangs", "accelerators"])
def test_each_list_is_read_with_commas(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    said = "kueue,volcano" if name == "without_gangs" else "example.com/a,example.com/b"
    monkeypatch.setenv(f"FOOTPLATE_OPERATOR_{name.upper()}", said)
    assert getattr(OperatorSettings.from_environment(), name) == tuple(said.split(","))
