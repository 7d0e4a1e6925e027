"""The faults of ``make mutations`` fit the code as it is."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.mutations import Mutation, read_mutations

MUTATIONS = read_mutations()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_its_line_and_its_tests_are_there(mutation: Mutation) -> None:
    assert mutation.problem() == ""
    assert mutation.becomes != mutation.line


def test_there_are_sixty_and_none_has_the_name_of_another() -> None:
    assert len(MUTATIONS) >= 60
    assert [name for name, n in Counter(m.name for m in MUTATIONS).items() if n > 1] == []
