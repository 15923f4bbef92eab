"""The rules of the line, one by one; and whatever comes, quotas hold, nobody starves, nothing idles that fits."""

import random
from collections.abc import Mapping
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from documents import read_table
from footplate.objects import Key
from footplate.policy.claims import AGEING_SECONDS, Book, Claim, Quota
from footplate.policy.queue import Give, Settlement, settle
from queue_world import DAY, GPU, HOUR, Job, World, arrivals, first_come

LOAN = 600.0
NOW = 100_000.0
ABLE = {"a": 8, "b": 8}


def claim(
    name: str, nodes: int, *, each: int = 1, at: float = 0.0, holds: int = 0, since: float | None = None, **more: object
) -> Claim:
    """A claim `namespace/name` whose state is as it is since `at`."""
    namespace, _, job = name.partition("/")
    values: dict[str, object] = {"least": nodes, "since": at if since is None else since, "changed": at, **more}
    return Claim((namespace, job), ((GPU, each),), nodes, holds=holds, **values)  # type: ignore[arg-type]


def held(name: str, nodes: int, *, at: float = 0.0, **more: object) -> Claim:
    """One that holds all that it wants."""
    return claim(name, nodes, at=at, holds=nodes, saved=True, **more)


def quotas(own: Mapping[str, int] = ABLE, *, lend: int | None = None, borrow: bool = True) -> dict[str, Quota]:
    """Quotas that may borrow so many, without end where `lend` is None."""
    most = {name: (n if not borrow else None if lend is None else n + lend) for name, n in own.items()}
    return {name: Quota({GPU: n}, {GPU: most[name]}, LOAN) for name, n in own.items()}


def play(*claims: Claim, among: Mapping[str, Quota] | None = None, now: float = NOW) -> Settlement:
    return settle(Book.of(claims, among or quotas()), now=now)


def keys(*names: str) -> set[Key]:
    return {(name.split("/")[0], name.split("/")[1]) for name in names}


def test_who_fits_into_the_quota_starts() -> None:
    assert play(claim("a/one", 4), claim("a/two", 4)).grants == {("a", "one"): 4, ("a", "two"): 4}


def test_what_nobody_claims_is_lent() -> None:
    assert set(play(held("a/one", 8), claim("a/two", 8)).grants) == keys("a/two")


@pytest.mark.parametrize(
    ("among", "starts"),
    [
        pytest.param(quotas(borrow=False), False, id="borrowing is off"),
        pytest.param(quotas(lend=3), False, id="fewer than it asks for"),
        pytest.param(quotas(lend=4), True, id="as many as it asks for"),
        pytest.param(quotas(), True, id="without a limit"),
    ],
)
def test_borrowing_has_a_limit(among: dict[str, Quota], starts: bool) -> None:
    assert bool(play(held("a/one", 8), claim("a/two", 4), among=among).grants) is starts


def test_an_owner_gets_its_own_back() -> None:
    done = play(held("a/one", 8), held("a/two", 8, at=1), claim("b/mine", 4, at=NOW))
    assert done.gives == {("a", "two"): Give(0, ("b", "mine"))}
    assert done.reserved == keys("b/mine")
    assert not done.grants


def test_the_last_in_the_line_gives_back_first_and_no_more_than_needed() -> None:
    small = [held(f"a/{n}", 2, at=float(n)) for n in range(6)]
    done = play(*small, held("b/own", 4), claim("b/mine", 2, at=NOW))
    assert set(done.gives) == keys("a/5")


def test_one_that_is_large_enough_spares_the_small_ones() -> None:
    done = play(held("a/old", 8), held("a/large", 7, at=1), held("a/small", 1, at=2), claim("b/mine", 7, at=NOW))
    assert set(done.gives) == keys("a/large")


def test_who_saves_no_checkpoints_gives_back_last() -> None:
    done = play(
        held("a/x", 8), held("a/saves", 4, at=1), held("a/not", 4, at=2, saves=False), claim("b/mine", 4, at=NOW)
    )
    assert set(done.gives) == keys("a/saves")


def test_a_loan_lasts_for_a_while() -> None:
    lent = held("a/two", 8, at=NOW - LOAN + 1)
    done = play(held("a/one", 8), lent, claim("b/mine", 8, at=NOW))
    assert not done.gives
    assert done.reserved == keys("b/mine")
    assert done.look == NOW + 1
    assert play(held("a/one", 8), lent, claim("b/mine", 8, at=NOW), now=NOW + 1).gives


def test_it_lasts_longer_until_the_first_checkpoint_but_not_for_ever() -> None:
    lent = replace(held("a/two", 8, at=NOW), saved=False)
    done = play(held("a/one", 8), lent, claim("b/mine", 8, at=NOW), now=NOW + LOAN)
    assert not done.gives
    assert done.look == NOW + 3 * LOAN


def test_what_is_given_back_is_reserved() -> None:
    leaving = replace(held("a/two", 6, at=1), leaves=0)
    done = play(held("a/one", 8), leaving, claim("b/mine", 4, at=NOW), claim("a/next", 2, at=2))
    assert done.reserved == keys("b/mine", "a/next"), "the last two are lent once they are there"
    assert not done.gives
    assert not done.grants


def test_a_gang_within_its_quota_is_never_asked() -> None:
    done = play(held("a/one", 8, at=2), claim("b/big", 16, at=1, rank=1))
    assert not done.gives


def test_the_higher_priority_goes_first_and_waiting_counts() -> None:
    full = held("a/one", 4)
    low, high = claim("a/low", 4, at=1), claim("a/high", 4, at=HOUR, rank=1)
    among = quotas({"a": 8})
    assert set(play(full, low, high, among=among).grants) == keys("a/high")
    late = replace(high, since=1 + AGEING_SECONDS + 1, changed=1 + AGEING_SECONDS + 1)
    assert set(play(full, low, late, among=among).grants) == keys("a/low")


def test_who_starts_before_the_first_of_the_line_does_so_on_loan() -> None:
    """Nothing idles, and the first isn't delayed for longer than a loan lasts."""
    among = quotas({"a": 8})
    done = play(held("a/one", 4), claim("a/big", 8, at=1), claim("a/small", 4, at=2), among=among)
    assert set(done.grants) == keys("a/small")
    done = play(claim("a/big", 8, at=1), held("a/small", 4, at=2), among=among)
    assert done.gives == {("a", "small"): Give(0, ("a", "big"))}


def test_who_saves_no_checkpoints_overtakes_nobody() -> None:
    among = quotas({"a": 8})
    done = play(held("a/one", 4), claim("a/big", 8, at=1), claim("a/small", 4, at=2, saves=False), among=among)
    assert not done.grants


def test_the_first_that_borrows_isn_t_overtaken_for_ever() -> None:
    three = quotas({"a": 4, "b": 4, "c": 4})
    overtakers = [held("b/x", 8, at=5)]
    done = play(claim("a/big", 12, at=1), *overtakers, among=three)
    assert done.gives == {("b", "x"): Give(0, ("a", "big"))}
    assert not play(claim("a/big", 12, at=1), held("b/x", 4, at=5), among=three).gives, "it's within b's quota"


def test_an_elastic_gang_shrinks_rather_than_stops() -> None:
    elastic = held("a/two", 8, at=1, least=2)
    done = play(held("a/one", 8), replace(elastic, least=2), claim("b/mine", 4, at=NOW))
    assert done.gives == {("a", "two"): Give(4, ("b", "mine"))}
    done = play(held("a/one", 8), replace(elastic, least=6), claim("b/mine", 4, at=NOW))
    assert done.gives == {("a", "two"): Give(0, ("b", "mine"))}


def test_an_elastic_gang_starts_with_what_there_is_and_grows() -> None:
    among = quotas({"a": 8})
    done = play(held("a/one", 5), claim("a/two", 8, at=1, least=2), among=among)
    assert done.grants == {("a", "two"): 3}
    done = play(claim("a/two", 8, at=1, least=2, holds=3), claim("a/new", 4, at=2), among=among)
    assert done.grants == {("a", "new"): 4, ("a", "two"): 4}


@pytest.mark.parametrize("namespace", ["a", "b"])
def test_an_elastic_gang_doesn_t_grow_by_what_somebody_before_it_waits_for(namespace: str) -> None:
    """It began before, so that nobody could take it back: the large gang waited for the end of the elastic one."""
    among = quotas({"a": 12} if namespace == "a" else {"a": 4, "b": 8})
    elastic = claim("a/elastic", 8, at=1, since=9, least=2, holds=4, saved=True)
    done = play(held(f"{namespace}/ends", 4), elastic, claim(f"{namespace}/large", 8, at=5), among=among)
    assert not done.grants
    assert play(elastic, claim(f"{namespace}/large", 8, at=5), among=among).grants == {(namespace, "large"): 8}
    later = play(held(f"{namespace}/ends", 4), elastic, claim(f"{namespace}/large", 8, at=10), among=among)
    assert later.grants == {("a", "elastic"): 8}


def test_who_can_never_fit_is_in_nobodys_way() -> None:
    among = quotas(borrow=False)
    book = Book.of([claim("a/huge", 9), claim("a/small", 8, at=1)], among)
    assert set(settle(book, now=NOW).grants) == keys("a/small")
    assert among["a"].excess(book.claims["a", "huge"], book.pool) == {GPU: 8}


def test_a_lowered_quota_stops_nobody_until_its_owner_asks() -> None:
    lowered = quotas({"a": 4, "b": 8})
    one, two = held("a/one", 4), held("a/two", 4, at=1)
    assert not play(one, two, among=lowered).gives
    assert play(one, two, claim("b/mine", 8, at=NOW), among=lowered).gives == {("a", "two"): Give(0, ("b", "mine"))}


def test_each_resource_counts_for_itself() -> None:
    among = {"a": Quota({GPU: 4, "amd.com/gpu": 4}, {GPU: 4, "amd.com/gpu": 4})}
    both = Claim(("a", "both"), ((GPU, 2), ("amd.com/gpu", 2)), 2, 2, 1.0)
    other = Claim(("a", "other"), (("example.com/free", 9),), 2, 2, 1.0)
    done = play(both, held("a/one", 1), other, among=among)
    assert done.grants == {("a", "other"): 2}


A100, H100 = "example.com/a100", "example.com/h100"


def of(resource: str, name: str, *, at: float = 0.0, holds: bool = False, **more: object) -> Claim:
    """A claim of eight of this resource."""
    return replace(claim(name, 1, at=at, holds=int(holds), saved=True, **more), each=((resource, 8),))


def both_kinds(*, own: int = 8) -> dict[str, Quota]:
    """Quotas of two resources, which lend without end."""
    return {name: Quota({A100: own, H100: own}, {A100: None, H100: None}, LOAN) for name in "ab"}


def test_who_waits_for_one_resource_keeps_nobody_from_another_by_right() -> None:
    """A tenant went without its A100, which another had on loan, for as long as its own jobs held all its H100."""
    full = of(H100, "a/one", holds=True), of(H100, "b/one", holds=True), of(A100, "b/own", holds=True)
    lent, first, mine = of(A100, "b/lent", at=1, holds=True), of(H100, "a/two", at=1), of(A100, "a/mine", at=2)
    done = play(*full, lent, first, mine, among=both_kinds())
    assert done.gives == {("b", "lent"): Give(0, ("a", "mine"))}
    assert set(play(*full[:2], first, mine, among=both_kinds()).grants) == keys("a/mine")


def test_who_asks_for_both_keeps_its_place_before_those_behind_it_in_each() -> None:
    """What is free goes to them on loan, as ever."""
    both = replace(of(H100, "a/both", at=1), each=((A100, 8), (H100, 8)))
    busy = of(H100, "a/one", holds=True), of(H100, "b/one", holds=True), of(A100, "b/own", holds=True)
    lent = of(A100, "b/lent", at=1, holds=True)
    assert not play(*busy, lent, both, of(A100, "a/mine", at=2), among=both_kinds()).gives


def test_each_resource_has_a_first_in_the_line_who_takes_back_what_it_was_overtaken_by() -> None:
    three = {**both_kinds(), "c": both_kinds()["a"]}
    full = [of(H100, f"{name}/h", holds=True) for name in "abc"] + [of(A100, f"{name}/a", holds=True) for name in "ab"]
    late, first, second = of(A100, "b/late", at=9, holds=True), of(H100, "a/first", at=1), of(A100, "a/second", at=2)
    done = play(*full, late, first, second, among=three)
    assert done.gives == {("b", "late"): Give(0, ("a", "second"))}


def test_who_saves_no_checkpoints_waits_for_nobody_who_asks_for_another_resource() -> None:
    full = of(H100, "a/one", holds=True), of(H100, "b/one", holds=True), of(A100, "a/own", holds=True)
    first, unsafe = of(H100, "a/two", at=1), of(A100, "a/unsafe", at=2, saves=False)
    assert set(play(*full, first, unsafe, among=both_kinds()).grants) == keys("a/unsafe")
    ahead = replace(of(H100, "a/two", at=1), each=((A100, 8), (H100, 8)))
    assert not play(*full, ahead, unsafe, among=both_kinds()).grants


# Whatever comes.

MIXES = st.integers(0, 2**32 - 1)


def stock(seed: int) -> tuple[list[Claim], dict[str, Quota]]:
    """Random claims, of which some hold something, within the pool."""
    rng = random.Random(seed)
    own = {name: rng.choice([0, 2, 4, 8, 16]) for name in "abcd"[: rng.randint(1, 4)]}
    most = {name: rng.choice([None, n, n + 2, n + 8]) for name, n in own.items()}
    among = {name: Quota({GPU: n}, {GPU: most[name]}, LOAN) for name, n in own.items()}
    book, claims = Book.of((), among), list[Claim]()
    for number in range(rng.randint(0, 12)):
        namespace, nodes, each = rng.choice([*own]), rng.choice([1, 1, 2, 4]), rng.choice([1, 1, 2, 4])
        least = rng.choice([nodes, nodes, max(1, nodes // 2)])
        since = rng.uniform(0, NOW)
        new = Claim(
            (namespace, f"job-{number}"),
            ((GPU, each),),
            nodes,
            least,
            since,
            rng.choice([0, 0, 1, 2]),
            saves=rng.random() < 0.7,
        )
        if rng.random() < 0.5:
            new = replace(
                new, holds=rng.randint(least, nodes), changed=rng.uniform(since, NOW), saved=rng.random() < 0.7
            )
            limit = among[namespace].limit(GPU, book.pool)
            if (
                book.total[GPU] + new.holds * each > book.pool[GPU]
                or book.used[namespace][GPU] + new.holds * each > limit
            ):
                new = replace(new, holds=0, changed=since)
            elif rng.random() < 0.2:
                new = replace(new, leaves=rng.choice([0, least]))
        else:
            new = replace(new, changed=since)
        book.put(new)
        claims.append(new)
    return claims, among


def carried_out(book: Book, done: Settlement) -> None:
    for key, nodes in done.grants.items():
        book.put(replace(book.claims[key], holds=nodes, changed=NOW))


@given(MIXES)
def test_quotas_hold(seed: int) -> None:
    claims, among = stock(seed)
    book = Book.of(claims, among)
    done = settle(book, now=NOW)
    carried_out(book, done)
    assert book.total[GPU] <= book.pool[GPU]
    for namespace, quota in among.items():
        assert book.used[namespace][GPU] <= quota.limit(GPU, book.pool)
    for key, give in done.gives.items():
        lent = next(each for each in claims if each.key == key)
        to = book.claims[give.to]
        over = Book.of(claims, among).used[key[0]][GPU] > among[key[0]].own[GPU]
        assert over or (key[0] == give.to[0] and lent.has_overtaken(to)), "what is a namespace's own isn't taken"
        assert lent.lent_until(LOAN) <= NOW, "not before the loan has lasted for a while"
        assert give.nodes == 0 or lent.least <= give.nodes < lent.holds


@given(MIXES)
def test_nothing_idles_that_fits(seed: int) -> None:
    """After a round nobody who waits fits into what is free, unless that is reserved, or it would overtake others and
    lose all by giving back.
    """
    claims, among = stock(seed)
    book = Book.of(claims, among)
    done = settle(book, now=NOW)
    carried_out(book, done)
    if done.reserved:
        return
    for namespace, line in book.lines.items():
        for _, key in line:
            each = book.claims[key]
            if each.holds and key in done.grants:
                continue
            need = each.amount(each.goal - each.holds)[GPU]
            fits = book.total[GPU] + need <= book.pool[GPU]
            within = book.used[namespace][GPU] + need <= among[namespace].limit(GPU, book.pool)
            assert not (fits and within) or not each.saves, each


@given(MIXES)
def test_the_order_of_arrival_of_news_doesn_t_matter(seed: int) -> None:
    claims, among = stock(seed)
    shuffled = [*claims]
    random.Random(seed).shuffle(shuffled)
    changed = Book.of((), {})
    for each in shuffled:
        changed.put(replace(each, wants=each.wants + 1))
    changed.set_quotas(among)
    for each in shuffled:
        changed.put(each)
    assert settle(Book.of(claims, among), now=NOW) == settle(changed, now=NOW)


@given(MIXES)
def test_it_comes_to_rest(seed: int) -> None:
    """What was decided isn't taken back by looking again: grants stay, and who was asked isn't asked for more."""
    claims, among = stock(seed)
    book = Book.of(claims, among)
    for _ in range(30):
        done = settle(book, now=NOW)
        if not done.grants and not done.gives:
            return
        assert not (done.grants.keys() & done.gives.keys())
        carried_out(book, done)
        for key, give in done.gives.items():
            book.put(replace(book.claims[key], leaves=give.nodes))
    raise AssertionError("it never does")


@given(MIXES)
def test_an_owner_waits_for_no_longer_than_a_loan_lasts(seed: int) -> None:
    """The first of a namespace that fits into its quota starts, or is reserved for."""
    claims, among = stock(seed)
    book = Book.of(claims, among)
    done = settle(book, now=NOW)
    for namespace, line in book.lines.items():
        first = next((book.claims[key] for _, key in line if not book.claims[key].holds), None)
        if first is None:
            continue
        need = first.amount(first.goal)[GPU]
        if book.used[namespace][GPU] + need <= among[namespace].own[GPU]:
            assert first.key in done.grants or first.key in done.reserved


@given(MIXES)
def test_everybody_who_fits_starts_and_finishes(seed: int) -> None:
    """Small worlds to their end: nobody starves, and what was asked of each is bounded."""
    rng = random.Random(seed)
    own = {name: rng.choice([4, 8]) for name in "abc"}
    among = {name: Quota({GPU: n}, {GPU: rng.choice([None, n, n + 4])}, LOAN) for name, n in own.items()}
    jobs = [
        Job((name, f"job-{number}"), rng.uniform(0, DAY / 4), rng.choice([1, 2, 4]), rng.uniform(60, 3 * HOUR),
            each=rng.choice([1, 2]), rank=rng.choice([0, 0, 1]), saves=rng.random() < 0.8)
        for number in range(rng.randint(1, 25))
        for name in [rng.choice("abc")]
    ]  # fmt: skip
    jobs = [job for job in jobs if job.accelerators <= own[job.key[0]]]
    report = World(jobs, among).run(DAY, finish=True)
    assert not report.violations
    assert all(job.finished is not None for job in report.jobs)
    assert report.longest_right <= 3 * LOAN + 2 * 60 + 1


@pytest.mark.parametrize("load", [0.6, 0.9])
def test_two_days_of_random_arrivals(load: float) -> None:
    """The sample of `make bench`'s week: quotas kept, nobody starves, and no worse a use of the pool than FIFO's."""
    own = {"vision": 24, "speech": 16, "thesis": 8}
    jobs = arrivals(7, own, seconds=2 * DAY, load=load)
    report = World(jobs, quotas(own)).run(2 * DAY, finish=True)
    fifo = first_come(jobs, sum(own.values()), seconds=2 * DAY)
    assert not report.violations
    assert all(job.finished is not None for job in report.jobs)
    assert report.longest_right <= 3 * LOAN + 2 * 60 + 1
    assert report.utilisation(2 * DAY) >= fifo.utilisation(2 * DAY) - 0.01


def test_the_example_of_the_documents() -> None:
    """docs/queueing.md: what each namespace holds, minute by minute."""
    minute = 60.0

    def job(key: str, at: float, gpus: int, minutes: float) -> Job:
        namespace, _, name = key.partition("/")
        return Job((namespace, name), at * minute, 1, minutes * minute, each=gpus)

    world = World(
        [
            job("a/one", 0, 8, 60),
            job("a/two", 0, 8, 300),
            job("b/mine", 5, 4, 20),
            job("b/late", 20, 8, 300),
            job("b/small", 21, 4, 300),
        ],
        quotas(ABLE, lend=8),
        stop_seconds=0.0,
        start_seconds=0.0,
    )
    held = []
    for line in read_table("queueing.md", "an example"):
        clock, _, *wanted = line
        hours, _, minutes = clock.partition(":")
        world.run(((int(hours) - 9) * 60 + int(minutes)) * minute)
        held.append((clock, [str(world.book.used[namespace][GPU]) for namespace in "ab"], wanted))
    assert [each for each in held if each[1] != each[2]] == []
