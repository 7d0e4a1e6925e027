"""The Scorer of a Family, from the metrics of rooms and packages and from the user's own functions.

The latter are loaded only when a Family names them. A family's corpus is searched by BM25: what a query finds there
says how good the query is.
"""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial
from pathlib import Path
from types import ModuleType
from typing import Any

from optimizer.core.base.canonical import digest, read_json
from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.declaration.prompt_kind import own_function_unknown
from optimizer.core.declaration.read import invalid_family
from optimizer.core.evaluation.judging.judgement import judge_metric
from optimizer.core.evaluation.metrics.words import words
from optimizer.core.evaluation.scoring import Judge, Scorer
from optimizer.core.family.family import Family
from optimizer.core.family.metrics import METRICS, MetricRecord, unknown_metric
from optimizer.core.family.parsers import parser_of
from optimizer.core.family.settings import JUDGE_METRIC
from optimizer.core.predictor.predictor import Predictor

INDEX_VERSION = "1"  # raise it with every change that finds other passages: scores before and after are not comparable


@dataclass(frozen=True, kw_only=True)
class CorpusIndex:
    """BM25 in Lucene's form (k1 1.5, b .75) over words in every script, not stemmed.

    Attributes:
        version: of the index: the hash of the corpus' file, the name of its ids, and how they are read and searched.

    Source: Robertson and Zaragoza (2009), by bm25s (Lù 2024, arXiv:2407.03618).
    """

    version: str
    ids: tuple[str, ...]
    scores: Any  # of bm25s: words -> a score per passage

    def search(self, query: str, k: int) -> list[str]:
        """The ids of at most ``k`` passages that share a word with the query, best first, equals in the
        file's order.
        """
        query_words = words(query)
        if not query_words:
            return []
        scores = self.scores(query_words)
        return [self.ids[at] for at in (-scores).argsort(kind="stable")[:k] if scores[at] > 0]


def open_corpus(file: Path, id_field: str = "id") -> CorpusIndex:
    """The index over a JSONL file; one is kept in memory until its file changes.

    Args:
        file: a line per passage, an object with its id and texts; all its other texts are searched together.
    Raises:
        InvalidInput: the file cannot be read, holds no passage, or a line is none.
    """
    try:
        content = file.read_bytes()
    except OSError as error:
        raise InvalidInput(
            f"The corpus {file} cannot be read ({type(error).__name__}). Put it there, or correct `corpus` in `scorer`."
        ) from error
    return _index(str(file), content, id_field)


@lru_cache(maxsize=2)
def _index(file: str, content: bytes, id_field: str) -> CorpusIndex:
    import bm25s  # takes a third of a second to load

    ids, texts = [], []
    for id, text in _passages(file, content, id_field):
        ids.append(id)
        texts.append(words(text))
    if not any(texts):
        raise InvalidInput(f"The corpus {file} holds no passage with a word. It needs a line of JSON for each.")
    index = bm25s.BM25()
    index.index(texts, show_progress=False)
    version = f"{INDEX_VERSION} bm25s {bm25s.__version__} {id_field} {digest(content)[:16]}"
    return CorpusIndex(version=version, ids=tuple(ids), scores=index.get_scores)


def _passages(file: str, content: bytes, id_field: str) -> Iterator[tuple[str, str]]:
    seen: set[str] = set()
    for number, line in enumerate(content.decode("utf-8", errors="replace").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            passage = read_json(line)
        except ValueError as error:
            raise InvalidInput(f"Line {number} of the corpus {file} is no JSON: {error}. Correct it.") from error
        id = passage.get(id_field) if isinstance(passage, dict) else None
        if not isinstance(id, str) or not id.strip() or id.strip() in seen:
            what = "an id that stood before" if isinstance(id, str) and id.strip() else f"no text {id_field!r}"
            raise InvalidInput(f"Line {number} of the corpus {file} has {what}. Give each passage an id of its own.")
        seen.add(id.strip())
        texts = [value for key, value in passage.items() if key != id_field and isinstance(value, str)]
        yield id.strip(), "\n".join(texts)


def build_scorer(family: Family, user_folder: Path | None = None) -> Scorer:
    """The Scorer that ``family.scorer`` declares.

    Args:
        user_folder: where modules of the user's own metrics lie; it comes last on the path, so it can shadow nothing.
    Raises:
        InvalidFamily: a function of the user's own that cannot be loaded, all of them at once.
    """
    metrics: list[MetricRecord] = []
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


def _metric(name: str, family: Family, user_folder: Path | None) -> MetricRecord:
    """The metric. Raises InvalidInput where no package has it any more, it cannot be loaded, or it needs another
    parser.
    """
    if name == JUDGE_METRIC:
        return judge_metric(family)
    if name not in METRICS:
        if "." in name:
            return _own_metric(name, user_folder)
        raise InvalidInput(unknown_metric(name))
    record = METRICS[name]
    if not record.package:
        return record
    if (misfit := record.misfit(family.output.parser)) is not None:
        raise InvalidInput(misfit)
    return replace(record, version=_version_of(record.package, record.place))


def _with_parameters(metric: MetricRecord, family: Family, user_folder: Path | None) -> MetricRecord:
    """Raises InvalidInput for a parameter that the metric does not take, or that has not its form."""
    declared = family.metric_parameters.get(metric.name, {})
    inputs = {name: declaration.type for name, declaration in family.inputs.items()}
    if faults := [wrong for _, wrong in metric.parameter_faults(declared, inputs)]:
        raise InvalidInput("; ".join(faults))
    parameters = metric.with_defaults(declared, inputs)
    if metric.parameters.get("predictor") == "predictor":
        predictor = read_predictor((user_folder or Path()) / parameters["predictor"])
        return metric.with_parameters({"predictor": predictor.hash}, {"predictor": predictor})
    if metric.parameters.get("corpus") != "corpus":
        return metric.with_parameters(parameters)
    index = open_corpus((user_folder or Path()) / parameters["corpus"], parameters.pop("id", "id"))
    return metric.with_parameters({**parameters, "corpus": index.version}, {"corpus": index.search})


def write_predictor(file: Path, predictor: Predictor) -> None:
    """The file of a learned metric: a predictor as JSON, beside the family's file."""
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(predictor.to_data(), indent=1) + "\n", encoding="utf-8")


def read_predictor(file: Path) -> Predictor:
    """Raises InvalidInput where it is not there, or is no predictor of a probability."""
    try:
        predictor = Predictor.from_data(read_json(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise InvalidInput(
            f"there is no learned metric in {file}: {error.strerror}; make it with detent family align"
        ) from error
    except ValueError as error:
        raise InvalidInput(f"the learned metric {file} cannot be read as JSON: {error}") from error
    if predictor.answers != "probability":
        raise InvalidInput(f"the learned metric {file} answers a {predictor.answers}, not a probability")
    return predictor


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
        return _own_metric(dotted, user_folder).judge
    except Exception as error:  # as in build_scorer
        raise InvalidInput(_why_not(dotted, error, user_folder)) from error


def _own_metric(dotted: str, user_folder: Path | None) -> MetricRecord:
    module_name, _, attribute = dotted.rpartition(".")
    if user_folder is not None and str(user_folder) not in sys.path:
        sys.path.append(str(user_folder))
    module = importlib.import_module(module_name)
    function: Any = getattr(module, attribute)
    if not callable(function):
        raise TypeError(f"{attribute} is a {type(function).__name__}, not a function")
    return MetricRecord(name=dotted, version=_digest_of(module), judge=function)


def _version_of(package: str, place: str) -> str:
    """The version of a package's metric: its distribution's, with a hash of its module's source where
    that can be read.
    """
    with suppress(OSError):
        return f"{package} {_digest_of(sys.modules[place.partition(':')[0]])}"
    return package


@cache  # of what was loaded: an edited file is not what runs until the process starts anew
def _digest_of(module: ModuleType) -> str:
    """A digest of a loaded module's source, where it can be read: an edited metric is another metric."""
    return digest(Path(module.__file__).read_bytes() if module.__file__ else b"")[:16]


def _why_not(dotted: str, error: Exception, user_folder: Path | None) -> str:
    where = f" in {user_folder} or among the installed packages" if user_folder else " among the installed packages"
    return (
        f"the metric {dotted!r} could not be loaded ({type(error).__name__}: {error}); it must be a function (example,"
        f" output) -> float of a module found{where}"
    )
