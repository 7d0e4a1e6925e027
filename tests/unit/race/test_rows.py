"""Who takes which question next."""

from __future__ import annotations

from hypothesis import given, strategies as st

from optimizer.core.search.prefix_queue import Rows


def test_one_taker_takes_row_by_row_in_the_order_given():
    rows = Rows([("a", 1), ("b", 2), ("a", 3), ("b", 4)])
    taken, last = [], None
    while (found := rows.take(last)) is not None:
        last, item = found
        taken.append(item)
    assert taken == [1, 3, 2, 4]


def test_each_taker_follows_a_row_of_its_own_and_helps_with_the_longest_at_its_end():
    rows = Rows([*(("a", f"a{i}") for i in range(4)), ("b", "b0"), *(("c", f"c{i}") for i in range(6))])
    assert rows.take(None) == ("a", "a0")
    assert rows.take(None) == ("b", "b0"), "the second begins one that nobody has begun"
    assert rows.take("a") == ("a", "a1")
    assert rows.take("b") == ("c", "c0")
    assert rows.take(None) == ("c", "c1"), "a third finds all begun, and helps where most is left"
    assert rows.take("c") == ("c", "c2")


@given(st.lists(st.tuples(st.integers(0, 3), st.integers())), st.lists(st.integers(0, 2)))
def test_everything_is_taken_once_whoever_takes(items, turns):
    rows = Rows(items)
    last: dict[int, int | None] = {}
    taken = []
    for taker in [*turns, *([0] * len(items))]:
        found = rows.take(last.get(taker))
        if found is not None:
            last[taker] = found[0]
            taken.append(found)
    assert sorted(taken) == sorted(items)
    for row in range(4):
        assert [item for name, item in taken if name == row] == [item for name, item in items if name == row]
