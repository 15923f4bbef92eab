"""Which requests a rule strikes."""

from footplate.devcluster.faults import Fault, Faults, Request, WatchFault

FAULT = Fault(status=500)


def request(method: str = "POST", path: str = "/api/v1/pods", agent: str = "op/1", sequence: int = 1) -> Request:
    return Request(method, path, agent, sequence=sequence)


def test_a_rule_is_for_what_it_matches() -> None:
    faults = Faults()
    faults.add(FAULT, method="POST|PUT", path="/pods", agent="^op/")
    assert faults.judge(request()) == FAULT
    assert faults.judge(request(method="GET")) is None
    assert faults.judge(request(path="/api/v1/nodes")) is None
    assert faults.judge(request(agent="kubectl")) is None


def test_the_nth_only() -> None:
    faults = Faults()
    rule = faults.add(FAULT, nth=3)
    assert [faults.judge(request()) is not None for _ in range(5)] == [False, False, True, False, False]
    assert (rule.hits, rule.done) == (5, 1)


def test_a_rate_is_repeatable() -> None:
    def strikes(seed: int) -> list[bool]:
        faults = Faults(seed=seed)
        faults.add(FAULT, rate=0.3)
        return [faults.judge(request()) is not None for _ in range(200)]

    assert strikes(1) == strikes(1) != strikes(2)
    assert 30 < sum(strikes(1)) < 90


def test_hooks_come_first_and_see_writes_only() -> None:
    faults = Faults()
    seen: list[int] = []
    other = Fault(cut="before")

    def hook(each: Request) -> Fault | None:
        seen.append(each.sequence)
        return other if each.sequence == 2 else None

    faults.on_write(hook)
    rule = faults.add(FAULT)
    assert [faults.judge(request(sequence=number)) for number in (0, 1, 2)] == [FAULT, FAULT, other]
    assert (seen, rule.hits) == ([1, 2], 2)
    faults.clear()
    assert faults.judge(request()) is None


def test_watch_faults_are_for_watches() -> None:
    faults = Faults()
    stall = WatchFault("stall")
    faults.add(stall)
    assert faults.judge(request()) is None
    assert faults.judge_watch(request(method="GET")) == stall


def test_writes_are_numbered_from_one() -> None:
    faults = Faults()
    assert [faults.next_write() for _ in range(3)] == [1, 2, 3]
