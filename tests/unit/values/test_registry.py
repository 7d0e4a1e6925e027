"""What is known by name: built in first, then what installed packages add; a name is refused with its package,
and a broken one hurts its users alone.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from optimizer.adapters.text_metrics import build_scorer
from optimizer.core.base import registry
from optimizer.core.base.errors import InvalidFamily, InvalidInput
from optimizer.core.base.registry import Registration
from optimizer.core.declaration.read import parse_family
from optimizer.core.family.family import Family
from optimizer.core.family.metrics import MetricRecord
from optimizer.core.family.parsers import ParserRecord
from optimizer.core.family.rendering import expected_text, parse_output
from optimizer.core.family.settings import Output
from optimizer.core.family.variant import VariantRecord
from optimizer.core.search.strategy import STRATEGIES, StrategyRecord, check_strategy, writes
from optimizer.jobs.families.export_variant import export_variant
from optimizer.runtime import wiring
from tests.worlds.study_world import START


def broken() -> Any:
    raise ImportError("No module named 'torch'")


def added(
    name: str, found: Any = None, *, package: str = "detent-hills 1.2", load: Callable[[], Any] | None = None
) -> Registration:
    return Registration(name=name, place="hills.climb:maker", package=package, load=load or (lambda: found))


@pytest.fixture
def install() -> Iterator[Callable[..., None]]:
    before = registry._packages

    def these(*ones: Registration, group: str = "detent.strategies") -> None:
        registry.find_with(packages=lambda asked: ones if asked == group else ())

    yield these
    registry.find_with(packages=before)


def test_a_package_adds_a_strategy_that_stands_in_sequences_and_in_the_list_of_an_error(install):
    install(added("hill", lambda setting: f"climbs from {setting}"))
    assert check_strategy("hill+settings", "cost") == ("hill", "settings")
    assert wiring.strategy_for("hill", "here") == "climbs from here"  # type: ignore[arg-type,comparison-overlap]
    with pytest.raises(InvalidInput, match=r"no strategy .magic.\. Known: .*replay, hill, and sequences"):
        check_strategy("magic")


def test_a_package_declares_the_properties_that_the_table_has(install: Callable[..., None]) -> None:
    install(added("hill", StrategyRecord(make=lambda setting: None, aims=("quality",), writes="always")))  # type: ignore[arg-type,return-value]
    assert STRATEGIES["hill"].package == "detent-hills 1.2"
    assert writes(("hill",), {})
    with pytest.raises(
        InvalidInput,
        match=r"hill goes by quality alone\. For aim cost name bootstrap\+settings\+nearest, bases, examples",
    ):
        check_strategy("hill", "cost")


@pytest.mark.parametrize(
    ("name", "why"),
    [
        pytest.param("gepa", "Detent has one of that name", id="built in"),
        pytest.param("confirm", "means something else", id="reserved"),
        pytest.param("hill+climb", "begins with a small letter", id="sign of a sequence"),
    ],
)
def test_a_name_that_cannot_be_taken_is_refused_with_its_package(install, name, why):
    install(added(name, lambda setting: None))
    (sentence,) = STRATEGIES.refused
    assert why in sentence
    assert f"strategy {name!r} of the package detent-hills 1.2 is refused" in sentence
    assert STRATEGIES["gepa"].package == ""
    with pytest.raises(InvalidInput, match="is refused"):
        check_strategy("magic")


def test_a_name_that_two_packages_add_is_neithers(install: Callable[..., None]) -> None:
    install(added("hill", lambda setting: 1), added("hill", lambda setting: 2, package="other 3"))
    assert "hill" not in STRATEGIES
    assert [("other 3 adds the same name" in one, "detent-hills 1.2 adds" in one) for one in STRATEGIES.refused] == [
        (True, False),
        (False, True),
    ]


def test_a_package_that_cannot_be_imported_fails_those_alone_who_name_it(install: Callable[..., None]) -> None:
    install(added("hill", load=broken))
    assert check_strategy("bootstrap+settings", "cost") == ("bootstrap", "settings")
    with pytest.raises(
        InvalidInput,
        match=(
            r"'hill' of the package detent-hills 1.2 could not be loaded from hills.climb:maker \(ImportError: No"
            r" module"
        ),
    ):
        check_strategy("hill")


def test_what_is_no_maker_is_no_strategy(install: Callable[..., None]) -> None:
    install(added("hill", 5))
    with pytest.raises(InvalidInput, match="is a int, not a function or class that takes a SearchSetting"):
        check_strategy("hill")


def test_packages_are_looked_for_when_a_name_is_not_built_in_and_not_before(install: Callable[..., None]) -> None:
    def no_look(group: str) -> Any:
        raise AssertionError("looked")

    registry.find_with(packages=no_look)
    assert check_strategy("bootstrap+settings", "cost")
    with pytest.raises(AssertionError, match="looked"):
        check_strategy("hill")


def labels(scorer: dict[str, Any], **more: Any) -> Family:
    prompt = {"current": "1", "versions": {"1": {"content": [{"role": "user", "content": "{{x}}"}]}}}
    output = {"field": "team", "parser": "label", "labels": ["billing", "support"]}
    return parse_family(
        {"name": "triage", "inputs": {"x": {}}, "output": output, "prompt": prompt, "scorer": scorer, **more}
    )


def read_by(output: dict[str, Any]) -> Family:
    """A family whose answers a package reads, and whose file names no metric."""
    prompt = {"current": "1", "versions": {"1": {"content": [{"role": "user", "content": "{{x}}"}]}}}
    return parse_family(
        {"name": "triage", "inputs": {"x": {}}, "output": {"field": "team", **output}, "prompt": prompt}
    )


def half(example: Any, output: Any) -> float:
    return 0.5


def test_a_packages_metric_scores_and_its_version_is_part_of_the_scorers(install: Callable[..., None]) -> None:
    def version(package: str, place: str = "tests.clock:half") -> str:
        importlib.import_module(place.partition(":")[0])
        install(replace(added("half", half, package=package), place=place), group="detent.scorers")
        scorer = build_scorer(labels({"half": 1.0, "label_match": 1.0}))
        assert scorer.score({"team": "billing"}, "billing").parts == {"half": 0.5, "label_match": 1.0}
        return scorer.version

    assert version("detent-half 1.0") == version("detent-half 1.0")
    assert (
        len({version("detent-half 1.0"), version("detent-half 1.1"), version("detent-half 1.0", "tests.stores:half")})
        == 3
    )


def test_a_packages_metric_judges_outputs_of_its_parsers_only(install: Callable[..., None]) -> None:
    install(added("half", MetricRecord(judge=half, parsers=("text", "json"))), group="detent.scorers")
    with pytest.raises(
        InvalidFamily, match="half judges outputs of parser text or json, and this family's parser is 'label'"
    ):
        build_scorer(labels({"half": 1.0}))


def test_a_family_is_read_though_its_packages_metric_cannot_be_imported_and_is_not_scored(install):
    install(added("half", load=broken), group="detent.scorers")
    family = labels({"half": 1.0})
    with pytest.raises(InvalidFamily, match=r"metric 'half' of the package detent-hills 1\.2 could not be loaded"):
        build_scorer(family)


def share_of(example: Any, output: Any, k: int = 4) -> float:
    return 1 / k


def test_a_packages_metric_takes_the_parameters_that_it_declares(install: Callable[..., None]) -> None:
    def offer(**parameters: Any) -> None:
        record = MetricRecord(judge=share_of, parameters=parameters)
        install(replace(added("share", record), place="tests.clock:share"), group="detent.scorers")

    offer(k="count")
    four, two = (build_scorer(labels({"share": use})) for use in (1.0, {"weight": 1.0, "k": 2}))
    assert [one.score({"team": "billing"}, "billing").value for one in (four, two)] == [1 / 4, 1 / 2]
    assert four.version != two.version
    with pytest.raises(InvalidFamily, match="'2' does not fit: k of share is a whole number from 1"):
        build_scorer(labels({"share": {"weight": 1.0, "k": "2"}}))
    offer(k="anything")
    with pytest.raises(InvalidFamily, match="a parameter is anything, and the kinds are count, number"):
        build_scorer(labels({"share": 1.0}))


def test_an_unknown_metric_is_answered_with_those_of_packages_and_with_what_was_refused(install):
    install(added("half", half), added("rouge_l", half), group="detent.scorers")
    with pytest.raises(
        InvalidFamily,
        match=(
            r"no metric 'magic'; use answer_match, .*processed_quality, half, or the dotted path.*'rouge_l' of the"
            r" package detent-hills"
        ),
    ):
        labels({"magic": 1.0})


def test_a_package_that_is_gone_is_missed_where_answers_are_scored(install: Callable[..., None]) -> None:
    install(added("half", half), group="detent.scorers")
    family = labels({"half": 1.0})
    install()
    with pytest.raises(InvalidFamily, match="there is no metric 'half'"):
        build_scorer(family)


def said(text: str, output: Output) -> Any:
    if text == "boom":
        raise ZeroDivisionError("by nothing")
    if "=" not in text:
        raise ValueError("nothing is said")
    return text.partition("=")[2]


def test_a_packages_parser_reads_answers_and_writes_those_of_examples(install: Callable[..., None]) -> None:
    record = ParserRecord(read=said, write=lambda value: f"said={value}")
    install(replace(added("said", record), place="tests.worlds.study_world:said"), group="detent.parsers")
    family = read_by({"parser": "said", "labels": ["billing", "support"]})
    assert family.metrics == {"exact_match": 1.0}
    assert parse_output(family.output, "said=billing").value == "billing"
    assert expected_text(family.output, {"team": "billing"}) == "said=billing"
    assert build_scorer(family).score({"team": "billing"}, "said=Billing").value == 1.0
    assert build_scorer(family).score({"team": "billing"}, "billing").error == "nothing is said"
    broken_by = "the parser said of detent-hills 1.2 failed: ZeroDivisionError: by nothing"
    assert parse_output(family.output, "boom").error == broken_by


def test_a_packages_parser_is_a_version_of_the_scorer_and_a_built_in_one_is_as_before(install):
    def version(package: str, place: str = "tests.clock:said") -> str:
        importlib.import_module(place.partition(":")[0])
        install(replace(added("said", said, package=package), place=place), group="detent.parsers")
        return build_scorer(read_by({"parser": "said"})).version

    assert version("detent-said 1.0") == version("detent-said 1.0")
    assert (
        len({version("detent-said 1.0"), version("detent-said 1.1"), version("detent-said 1.0", "tests.stores:said")})
        == 3
    )
    assert build_scorer(labels({"label_match": 1.0})).version == "s_0fd15a8c7dff"


def test_a_packages_parser_that_cannot_be_imported_stops_studies_and_no_serving(install: Callable[..., None]) -> None:
    install(added("said", load=broken), group="detent.parsers")
    family = read_by({"parser": "said"})
    with pytest.raises(InvalidFamily, match=r"parser 'said' of the package detent-hills 1\.2 could not be loaded"):
        build_scorer(family)
    assert "could not be loaded" in str(parse_output(family.output, "said=billing").error)


def test_a_package_adds_a_format_of_exports(install: Callable[..., None]) -> None:
    variant = labels({}).variant()
    record = VariantRecord(family="triage", variant=variant, source="file", created_at=START, created_by="ada")
    install(
        added("roles", lambda family, one: f"{family.name}: {one.variant.messages[0]['role']}"),
        group="detent.exporters",
    )
    assert export_variant(labels({}), record, "roles") == "triage: user"
    with pytest.raises(InvalidInput, match="Known: dspy, langchain, litellm, messages, mlflow, yaml, roles"):
        export_variant(labels({}), record, "magic")
    install(added("roles", lambda family, one: one.nothing), group="detent.exporters")
    with pytest.raises(
        InvalidInput, match=rf"exporter roles of detent-hills 1.2 failed on {variant.id} \(AttributeError"
    ):
        export_variant(labels({}), record, "roles")


def test_a_family_is_read_though_the_strategy_of_its_schedule_cannot_be_imported_and_its_name_is_checked(install):
    install(added("hill", load=broken))
    assert labels({}, schedule={"strategy": "hill"}).schedule.strategy == "hill"
    with pytest.raises(InvalidFamily, match="There is no strategy 'hills'"):
        labels({}, schedule={"strategy": "hills"})
    with pytest.raises(InvalidFamily, match="gepa goes by quality alone"):
        labels({}, schedule={"strategy": "hill+gepa", "aim": "cost"})
