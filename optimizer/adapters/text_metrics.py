"""The Scorer of a Family: ROUGE from rouge-score, functions of packages and of the user's own,
all loaded only when a Family names them.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache, lru_cache, partial
from pathlib import Path
from pkgutil import resolve_name
from typing import Any

from optimizer.adapters.corpus_index import open_corpus
from optimizer.adapters.files.score_files import read_predictor
from optimizer.core.base.canonical import digest
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.declaration.policy_rules import own_function_unknown
from optimizer.core.declaration.read import invalid_family
from optimizer.core.evaluation.judging.scorer import judge_metric
from optimizer.core.evaluation.scorers.words import words
from optimizer.core.evaluation.scoring import CORE_METRICS, Judge, Scorer, ScoringMetric, best_of
from optimizer.core.family.family import Family
from optimizer.core.family.judge_settings import SCORER as JUDGED
from optimizer.core.family.metrics import ALIGNED, METRICS, MetricRecord, unknown_metric
from optimizer.core.family.parsers import parser_of
from optimizer.core.predictor.alignment import aligned_score

_ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}
_ROUGE_VERSION = "2"
_ALIGNED_VERSION = "1"


def build_scorer(family: Family, user_folder: Path | None = None) -> Scorer:
    """The Scorer that ``family.scorer`` declares.

    Args:
        user_folder: where modules of the user's own metrics lie; it comes last on the path, so it can shadow nothing.
    Raises:
        InvalidFamily: a function of the user's own that cannot be loaded, all of them at once.
    """
    metrics: list[ScoringMetric] = []
    faults: list[Fault] = []
    parser = None
    try:
        parser = parser_of(family.output)
    except InvalidInput as unusable:
        faults.append(Fault(pointer="/output/parser", detail=unusable.detail))
    for name in family.metrics:
        try:
            metrics.append(_with_parameters(_metric(name, family, user_folder), family, user_folder))
        except InvalidInput as unusable:
            faults.append(Fault(pointer=pointer_of(["scorer", name]), detail=unusable.detail))
        except (
            Exception
        ) as error:  # importing the user's module runs the user's code: whatever it raises is reported with the others
            faults.append(Fault(pointer=pointer_of(["scorer", name]), detail=_why_not(name, error, user_folder)))
    if parser is None or faults:
        raise invalid_family(f"family {family.name!r}", faults)
    judge_of = partial(own_metric, family=family, user_folder=user_folder)
    parser_version = _version_of(parser.package, parser.place) if parser.package else ""
    return Scorer(
        family.output,
        family.metrics,
        metrics,
        judge_of=judge_of,
        parser_version=parser_version,
        optional=family.optional_metrics,
    )


def _metric(name: str, family: Family, user_folder: Path | None) -> ScoringMetric:
    if name in CORE_METRICS:
        return CORE_METRICS[name]
    if name == JUDGED:
        return judge_metric(family)
    if name == ALIGNED:
        return ScoringMetric(name=name, version=_ALIGNED_VERSION, with_input=aligned_score, needs_expected=False)
    if name in _ROUGE:
        return ScoringMetric(name=name, version=_ROUGE_VERSION, compare=best_of(_rouge(_ROUGE[name])))
    if name in METRICS.built_in:
        there: Any = resolve_name(METRICS.built_in[name].place)
        built_in: ScoringMetric = there[name] if isinstance(there, Mapping) else there
        return built_in
    return _own_metric(name, user_folder) if "." in name else _metric_of_package(name, family.output.parser)


def _with_parameters(metric: ScoringMetric, family: Family, user_folder: Path | None) -> ScoringMetric:
    """Raises InvalidInput for a parameter that the metric does not take, or that has not its form."""
    given = family.metric_parameters.get(metric.name, {})
    inputs = {name: one.type for name, one in family.inputs.items()}
    record = METRICS[metric.name] if metric.name in METRICS else MetricRecord(name=metric.name)
    if faults := [wrong for _, wrong in record.parameter_faults(given, inputs)]:
        raise InvalidInput("; ".join(faults))
    parameters = record.with_defaults(given, inputs)
    if record.parameters.get("predictor") == "predictor":
        predictor = read_predictor((user_folder or Path()) / parameters["predictor"])
        return metric.with_parameters({"predictor": predictor.hash}, {"predictor": predictor})
    if record.parameters.get("corpus") != "corpus":
        return metric.with_parameters(parameters)
    index = open_corpus((user_folder or Path()) / parameters["corpus"], parameters.pop("id", "id"))
    return metric.with_parameters({**parameters, "corpus": index.version}, {"corpus": index.search})


class _Words:
    """The words of a text in every script, those in ASCII stemmed by rouge-score's own tokenizer,
    which drops all others.
    """

    def __init__(self) -> None:
        from rouge_score.tokenizers import DefaultTokenizer

        one_word = DefaultTokenizer(use_stemmer=True).tokenize
        self._stem = lru_cache(maxsize=65_536)(lambda word: str(one_word(word)[0]))

    def tokenize(self, text: str) -> list[str]:
        return [self._stem(word) if word.isascii() else word for word in words(text)]


@cache
def _rouge(kind: str) -> Callable[[str, str], float]:
    """ROUGE's F-measure in [0, 1] by rouge-score (Lin 2004); the same word scores 1 also where one word makes no pair.

    What it gives raises ValueError for an expected text without a word.
    """
    from rouge_score.rouge_scorer import RougeScorer  # takes seconds and 200 MB to load

    tokenizer = _Words()
    scorer = RougeScorer([kind], tokenizer=tokenizer)

    def f_measure(wanted: str, found: str) -> float:
        expected = tokenizer.tokenize(wanted)
        if not expected:
            raise ValueError(f"the expected text {wanted[:40]!r} holds no word that could be measured")
        if len(expected) == 1 and expected == tokenizer.tokenize(found):
            return 1.0
        return float(scorer.score(wanted, found)[kind].fmeasure)

    return f_measure


def own_metric(dotted: str, family: Family, user_folder: Path | None) -> Judge:
    """A function of the user's own that the family's file gives to a gate, loaded once.

    Raises:
        InvalidInput: the file does not name it, in which case nothing is imported, or it cannot be loaded.
    """
    if dotted not in family.own_functions:
        raise InvalidInput(own_function_unknown(dotted, family.name))
    return _loaded(dotted, user_folder)


@cache
def _loaded(dotted: str, user_folder: Path | None) -> Judge:
    try:
        judge = _own_metric(dotted, user_folder).judge
    except Exception as error:  # as in build_scorer
        raise InvalidInput(_why_not(dotted, error, user_folder)) from error
    assert judge is not None
    return judge


def _own_metric(dotted: str, user_folder: Path | None) -> ScoringMetric:
    module_name, _, attribute = dotted.rpartition(".")
    if user_folder is not None and str(user_folder) not in sys.path:
        sys.path.append(str(user_folder))
    module = importlib.import_module(module_name)
    function: Any = getattr(module, attribute)
    if not callable(function):
        raise TypeError(f"{attribute} is a {type(function).__name__}, not a function")
    return ScoringMetric(name=dotted, version=_digest_of(module_name), judge=function)


def _metric_of_package(name: str, parser: str) -> ScoringMetric:
    """Raises InvalidInput where no package has it any more, it cannot be loaded,
    or it judges outputs of other parsers.
    """
    if name not in METRICS:
        raise InvalidInput(unknown_metric(name))
    record = METRICS[name]
    if (misfit := record.misfit(parser)) is not None:
        raise InvalidInput(misfit)
    return ScoringMetric(name=name, version=_version_of(record.package, record.place), judge=record.judge)


def _version_of(package: str, place: str) -> str:
    """Of what a package adds: that of its distribution, with a hash of its module's source where that can be read."""
    with suppress(OSError):
        return f"{package} {_digest_of(place.partition(':')[0])}"
    return package


def _digest_of(module: str) -> str:
    """Of the source of a module that is loaded, where it can be read: an edited metric is another metric."""
    file = sys.modules[module].__file__
    return digest(Path(file).read_bytes() if file else b"")[:16]


def _why_not(dotted: str, error: Exception, user_folder: Path | None) -> str:
    where = f" in {user_folder} or among the installed packages" if user_folder else " among the installed packages"
    return (
        f"the metric {dotted!r} could not be loaded ({type(error).__name__}: {error}); it must be a function (example,"
        f" output) -> float of a module found{where}"
    )
