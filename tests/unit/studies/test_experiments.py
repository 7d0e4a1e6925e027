"""Every study definition of the project can be run as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from optimizer.cli.study.run import read_definition, request_members
from optimizer.core.base.errors import InvalidInput
from optimizer.core.search.strategy import check_strategy
from optimizer.core.search.study import Definition

UNTYPED = dict.fromkeys(("strategy", "aim", "usd", "calls", "minutes", "seed"))
FILES = sorted((Path(__file__).resolve().parents[3] / "experiments").glob("*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_study_definition_names_only_what_exists_and_can_pay_for_its_confirmation(path: Path):
    request = request_members(read_definition(path), keep={}, **UNTYPED)
    definition = Definition.parse(request["definition"])
    assert check_strategy(request["strategy"] or "")
    assert request["budget"]["calls"] >= 2 * definition.n_holdout + definition.n_dev


def test_the_demo_searches_with_at_most_106_calls_its_run_off_included_and_confirms_with_200():
    (demo,) = [path for path in FILES if path.stem == "demo"]
    request = request_members(read_definition(demo), keep={}, **UNTYPED)
    definition = Definition.parse(request["definition"])
    assert 2 * definition.n_holdout == 200
    assert request["budget"]["calls"] == 306


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"budget": 400}, "budget is 400; it holds names and values, such as {calls: 400}"),
        ({"budget": [400]}, "budget is"),
        ({"definition": "n_dev"}, "definition is 'n_dev'; it holds names and values, such as {n_dev: 40}"),
        ({"seed": "x"}, "seed is 'x'; it takes a whole number"),
    ],
)
def test_a_definition_of_another_form_is_named_with_the_form_that_it_should_have(values, says):
    with pytest.raises(InvalidInput, match=re.escape(says)):
        request_members(values, keep={}, **UNTYPED)
