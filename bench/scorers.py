"""How many pairs of short texts each scorer measures in a second on one core, beside another implementation, if any.

    python bench/scorers.py [--pairs 1000] [--rounds 7] [--seed 1]

Texts are drawn from the seed: answers of 3 to 8 words, other texts of 8 to 24, inputs of 60, lists of 3 to 8 entities,
relations or topics, and of 10 ids; the answer keeps about half of what is expected. No pair comes twice, so nothing is
remembered from one to the next but the stems of words. Counted is CPU time of the process, reading the answer included;
each round draws its pairs anew, and another implementation measures the same pairs right after. The bar is 10,000 pairs
a second; what lies below it is named at the end.
"""

from __future__ import annotations

import argparse
import gc
import json
import random
import statistics
import time
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from common import Cell, ratio_interval, write_result

from optimizer.adapters.text_metrics import build_scorer
from optimizer.core.declaration.read import parse_family
from optimizer.core.evaluation.scoring import Scorer
from optimizer.core.family.metrics import METRICS

BAR = 10_000
LEFT_OUT = ("processed_quality", "query_precision", "query_recall", "query_mrr", "query_ndcg")  # a replay's, a corpus'
TEXT = """
the river city was founded by people in north old king museum opened after war and its bridge carries water from spring
Lisbon Porto Rollo Ana Tagus Norman Viking Paris 1987 25 1,500 works rooms built museum's modern trade coast sea late
"""
WORDS = TEXT.split()
TYPES = ("person", "location", "group", "product")
Other = Callable[[Any, Any], float]
Row = tuple[Any, str, dict[str, Any]]  # expected value, the model's text, input


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    cells = [cell(name, options) for name in METRICS.built_in if name not in LEFT_OUT]
    write_result("scorers", cells)
    slow = [f"{one.case} ({one.ours:,.0f})" for one in cells if one.ours is not None and one.ours < BAR]
    print(f"below {BAR:,} pairs a second: {', '.join(slow) or 'none'}")


def cell(name: str, options: argparse.Namespace) -> Cell:
    """A metric through the Scorer of a family: reading the answer belongs to it."""
    scorer, (other_name, other) = scorer_of(name), others().get(name, ("", None))
    ours, theirs = [], []
    for round in range(-1, options.rounds):  # the first warms up
        rows = draw(name, options.pairs, random.Random(f"{options.seed}:{name}:{round}"))
        n_ours = per_second(lambda row: scorer.score({"output": row[0]}, row[1], row[2]), rows)
        n_theirs = per_second(lambda row: other(row[0], row[1]), rows) if other else None
        if round >= 0:
            ours.append(n_ours)
            theirs.append(n_theirs)
    middle = statistics.median(ours)
    if other is None:
        return Cell(
            case=name,
            ours=middle,
            other=None,
            other_name="",
            ratio=None,
            low=min(ours),
            high=max(ours),
            unit="pairs a second; least and most of a round",
            n=options.rounds,
        )
    beside = [one for one in theirs if one is not None]
    low, high = ratio_interval(ours, beside)
    return Cell(
        case=name,
        ours=middle,
        other=(their_middle := statistics.median(beside)),
        other_name=other_name,
        ratio=middle / their_middle,
        low=low,
        high=high,
        unit="pairs a second; interval of the ratio",
        n=options.rounds,
    )


def per_second(measure: Callable[[Row], Any], rows: list[Row]) -> float:
    gc.collect()
    began = time.process_time()
    for row in rows:
        measure(row)
    return len(rows) / (time.process_time() - began)


def scorer_of(name: str) -> Scorer:
    parsers = METRICS.built_in[name].parsers or ("text",)
    output: dict[str, Any] = {"parser": "json" if "json" in parsers and "text" not in parsers else parsers[0]}
    output |= {"json": {"schema": {}}, "label": {"labels": list(TYPES)}}.get(output["parser"], {})
    prompt = {"current": "1", "versions": {"1": {"content": [{"role": "user", "content": "{{text}}"}]}}}
    use: Any = {"weight": 1.0, "max_words": 20, "max_chars": 200} if name == "format_compliance" else 1.0
    declared = {"name": "bench", "inputs": {"text": {}}, "output": output, "prompt": prompt, "scorer": {name: use}}
    return build_scorer(parse_family(declared))


def draw(name: str, n: int, rng: random.Random) -> list[Row]:
    return [_row(name, rng) for _ in range(n)]


def _row(name: str, rng: random.Random) -> Row:
    input = {"text": text(rng, 60)}
    if name.startswith(("entity", "relation", "retrieval")) or name in ("json_valid", "structure_detection"):
        make = _item(name)
        size = 10 if name.startswith("retrieval") else rng.randint(3, 8)
        wanted = [make(rng) for _ in range(size)]
        return wanted, json.dumps([one if rng.random() < 0.5 else make(rng) for one in wanted]), input
    if name == "list_f1":
        wanted = [text(rng, 2) for _ in range(rng.randint(3, 8))]
        return wanted, "\n".join(one if rng.random() < 0.5 else text(rng, 2) for one in wanted), input
    if name == "topic_coverage":
        return [text(rng, 1) for _ in range(5)], text(rng, 20), input
    if name == "label_match":
        return rng.choice(TYPES), rng.choice(TYPES), input
    if name in ("answer_match", "token_f1", "token_precision", "token_recall"):
        return text(rng, rng.randint(3, 8)), text(rng, rng.randint(3, 8)), input
    if name in ("information_retention", "compression_ratio"):
        words = input["text"].split()
        return [" ".join(words[:2]), "a word"], " ".join(words[rng.randint(0, 1) : 24]), input
    wanted = text(rng, rng.randint(8, 24))
    kept = [word if rng.random() < 0.5 else rng.choice(WORDS) for word in wanted.split()]
    return wanted, " ".join(kept) + ".", input


def text(rng: random.Random, n: int) -> str:
    return " ".join(rng.choice(WORDS) for _ in range(n))


def _item(name: str) -> Callable[[random.Random], Any]:
    if name.startswith("relation"):
        return lambda rng: {"subject": text(rng, 2), "relation": rng.choice(TYPES), "object": text(rng, 2)}
    if name.startswith("retrieval"):
        return lambda rng: f"p-{rng.randint(1, 400)}"
    return lambda rng: {"text": text(rng, 2), "type": rng.choice(TYPES)}


def _f_measure(scorer: Any, kind: str, wanted: str, found: str) -> float:
    return float(scorer.score(wanted, found)[kind].fmeasure)


@cache
def others() -> dict[str, tuple[str, Other]]:
    """Another implementation of the same measure, where one is installed."""
    import pytrec_eval
    import sacrebleu
    from dspy.evaluate.metrics import em_score, f1_score
    from rouge_score.rouge_scorer import RougeScorer

    chrf = sacrebleu.CHRF()
    found: dict[str, tuple[str, Other]] = {
        "chrf": ("sacrebleu", lambda wanted, found: chrf.sentence_score(found, [wanted]).score),
        "token_f1": ("DSPy", lambda wanted, found: float(f1_score(found, wanted))),
        "answer_match": ("DSPy", lambda wanted, found: float(em_score(found, wanted))),
    }
    for ours, theirs in (("rouge_1", "rouge1"), ("rouge_2", "rouge2"), ("rouge_l", "rougeL")):
        found[ours] = ("rouge-score", partial(_f_measure, RougeScorer([theirs], use_stemmer=True), theirs))

    def ndcg(wanted: list[str], found: str) -> float:
        run = {name: float(-place) for place, name in enumerate(json.loads(found))}
        evaluator = pytrec_eval.RelevanceEvaluator({"q": dict.fromkeys(wanted, 1)}, {"ndcg_cut.10"})
        return float(evaluator.evaluate({"q": run})["q"]["ndcg_cut_10"])

    return {**found, "retrieval_ndcg": ("pytrec_eval", ndcg)}


if __name__ == "__main__":
    main()
