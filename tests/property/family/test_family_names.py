"""However families are renamed, retired, brought back and made again: each has its own rows, and none has another's."""

from __future__ import annotations

from dataclasses import dataclass, field

from hypothesis import given, settings, strategies as st

from optimizer.adapters.store import Database
from optimizer.core.serving.family_names import FamilyMap, is_retired, next_free
from tests.examples import n_examples
from tests.stores import NOW, arm, interaction, keep_events, temporary_database

PLAIN = ("ant", "bee", "cat")
steps = st.lists(
    st.tuples(st.sampled_from(["make", "rename", "retire", "restore"]), st.sampled_from(PLAIN), st.sampled_from(PLAIN)),
    max_size=12,
)


@dataclass
class World:
    """What the store has to say: the events of each family by its present name, and who is found under a former one."""

    database: Database
    events: dict[str, list[str]] = field(default_factory=dict)
    former: dict[str, str] = field(default_factory=dict)
    n: int = 0

    def do(self, act: str, name: str, other: str) -> None:
        getattr(self, act)(name, other)
        if name in self.events or name in self.former:
            self.report(name)

    def make(self, name: str, _: str) -> None:
        if name in self.events:
            return
        holder = self.database.write(lambda tx: self.database.family_names.claim(tx, name, NOW))
        taken = self.former.get(name)
        if taken is not None and not is_retired(taken):
            assert holder == taken
            return
        assert holder is None
        self.former.pop(name, None)
        self.events[name] = []

    def rename(self, old: str, new: str) -> None:
        if old not in self.events or new in self.events or old == new:
            return
        if not is_retired(self.former.get(new, "~")) and self.former[new] != old:
            return
        self.database.write(lambda tx: self.database.family_names.rename(tx, old, new, NOW))
        self._moved(old, new)

    def retire(self, name: str, _: str) -> None:
        if name in self.events:
            self._moved(name, self.database.write(lambda tx: self.database.family_names.retire(tx, name, NOW)))

    def restore(self, name: str, _: str) -> None:
        with self.database.read() as tx:
            retired = self.database.family_names.retired(tx, name)
        if retired is None:
            return
        plain = retired.partition("~")[0]
        if plain in self.events or not is_retired(self.former.get(plain, "~")):
            return
        self.database.write(lambda tx: self.database.family_names.restore(tx, retired, plain, NOW))
        self._moved(retired, plain)
        del self.former[retired]

    def report(self, name: str) -> None:
        """An event that names the family by its present name or a former one."""
        self.n += 1
        keep_events(self.database, [interaction(f"in_{self.n}", of=arm(family=name))])
        self.events[self.former.get(name, name)].append(f"in_{self.n}")

    def check(self) -> None:
        with self.database.read() as tx:
            for name, ids in self.events.items():
                page, _ = self.database.events.page_of_interactions(
                    tx, family=name, variant=None, since=None, cursor=None, limit=999
                )
                assert ([one.id for one in page], {one.arm.family for one in page} - {name}) == (sorted(ids), set())
                counted = self.database.events.arm_summary(tx, name, None)
                assert sum(one.n_interactions for one in counted) == len(ids)
            told = self.database.family_names.former(tx)
        assert {name: told.get(name) for name in self.former} == self.former

    def _moved(self, old: str, new: str) -> None:
        self.events[new] = self.events.pop(old)
        self.former = {name: new if to == old else to for name, to in self.former.items()} | {old: new}
        self.former.pop(new, None)


@given(steps)
@settings(max_examples=n_examples(8))
def test_every_family_keeps_its_own_rows_under_its_present_name(acts: list[tuple[str, str, str]]) -> None:
    with temporary_database() as database:
        world = World(database)
        for act in acts:
            world.do(*act)
        world.check()


@given(st.sets(st.integers(min_value=1, max_value=9)))
def test_the_next_retired_name_is_the_first_that_is_free(taken: set[int]) -> None:
    name = next_free("ant", {f"ant~{n}" for n in taken})
    assert is_retired(name)
    assert int(name.removeprefix("ant~")) == min(set(range(1, 11)) - taken)


@given(
    st.dictionaries(st.sampled_from("abc"), st.integers()),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from("abcd")),
)
def test_a_former_name_finds_what_the_present_one_does_and_hides_none(found, former):
    map = FamilyMap(found, former)
    assert {*map} == {*found}
    for name in "abcd":
        right = found.get(name, found.get(former.get(name, name)))
        assert map.get(name) == right
        assert (name in map) == (right is not None)
        if right is not None:
            assert map[name] == right
