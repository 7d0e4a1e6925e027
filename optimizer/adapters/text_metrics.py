"""The Scorer of a Family: ROUGE from rouge-score, and functions of the user's own, both loaded only when a Family names them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

from optimizer.core.canonical import digest
from optimizer.core.errors import Fault, InvalidInput, pointer_of
from optimizer.core.family import Family, invalid_family
from optimizer.core.policy.content.score import PROCESSED_QUALITY
from optimizer.core.policy.faults import own_function_unknown
from optimizer.core.scoring import CORE_METRICS, Judge, Scorer, ScoringMetric, best_of

_ROUGE = {"rouge_1": "rouge1", "rouge_2": "rouge2", "rouge_l": "rougeL"}  # F-measure, Porter stemmer; Lin (2004)
_ROUGE_VERSION = "1"


def build_scorer(family: Family, user_folder: Path | None = None) -> Scorer:
    """The Scorer that ``family.scorer`` declares.

    Args:
        user_folder: where modules of the user's own metrics lie; it comes last on the path, so it can shadow nothing.
    Raises:
        InvalidFamily: a function of the user's own that cannot be loaded, all of them at once.
    """
    metrics: list[ScoringMetric] = []
    faults: list[Fault] = []
    for name in family.metrics:
        if name in CORE_METRICS:
            metrics.append(CORE_METRICS[name])
        elif name == PROCESSED_QUALITY.name:
            metrics.append(PROCESSED_QUALITY)
        elif name in _ROUGE:
            metrics.append(ScoringMetric(name=name, version=_ROUGE_VERSION, compare=best_of(_rouge(_ROUGE[name]))))
        else:
            try:
                metrics.append(_own_metric(name, user_folder))
            except Exception as error:  # importing the user's module runs the user's code: whatever it raises is reported with the others
                faults.append(Fault(pointer=pointer_of(["scorer", name]), detail=_why_not(name, error, user_folder)))
    if faults:
        raise invalid_family(f"family {family.name!r}", faults)
    return Scorer(family.output, family.metrics, metrics, judge_of=lambda dotted: own_metric(dotted, family, user_folder))


@cache
def _rouge(kind: str) -> Callable[[str, str], float]:
    from rouge_score.rouge_scorer import RougeScorer  # takes seconds and 200 MB to load

    scorer = RougeScorer([kind], use_stemmer=True)

    def f_measure(wanted: str, found: str) -> float:
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
    source = Path(module.__file__).read_bytes() if module.__file__ else b""  # an edited metric is another metric
    return ScoringMetric(name=dotted, version=digest(source)[:16], judge=function)


def _why_not(dotted: str, error: Exception, user_folder: Path | None) -> str:
    where = f" in {user_folder} or among the installed packages" if user_folder else " among the installed packages"
    return (
        f"the metric {dotted!r} could not be loaded ({type(error).__name__}: {error}); it must be a function (example, output) -> float "
        f"of a module found{where}"
    )
