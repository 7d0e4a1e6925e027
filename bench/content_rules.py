"""Which items of real texts are worth full processing: the filter's rules and a learned score,
thresholds from train, measured on dev.

    nice -n 10 python bench/content_rules.py [--draws 2000]

Reads content_quality from the data folder (DETENT_SHARED, see bench/common.py); nothing of it is kept. Full processing
takes 1, the light way .15. Every rule gets a threshold per content type, chosen on the training rows so that the wanted
share of the time is saved in each type, and is replayed as a policy on the dev rows: mean quality of what is processed
in full, interval by the bootstrap over items (Efron 1979). The learned score is a ridge regression and a forest,
averaged, on 30 statistics of the text; thresholds come from its out-of-fold predictions. ``transfer`` trains without
one content type and is measured on it.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from common import SHARED, Cell, write_result
from sklearn.ensemble import ExtraTreesRegressor
from sklearn.linear_model import RidgeCV
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from optimizer.content.core.policy.pipeline import parse_pipeline
from optimizer.content.core.policy.presets import PRESETS
from optimizer.content.core.search.recommend import search
from optimizer.content.core.search.replay import Records, outcome, read_columns, subset, ways

FOLDER = SHARED / "data" / "content_quality"
LIGHT = 0.15
SAVED = (0.65, 0.70, 0.75, 0.80)
MIN_OF_TYPE = 60  # training rows before a type gets a model of its own beside the one for all
STOP = frozenset(
    [
        "a",
        "an",
        "and",
        "are",
        "as",
        "at",
        "be",
        "but",
        "by",
        "can",
        "do",
        "for",
        "from",
        "had",
        "has",
        "have",
        "he",
        "her",
        "his",
        "i",
        "if",
        "in",
        "is",
        "it",
        "its",
        "me",
        "my",
        "no",
        "not",
        "of",
        "on",
        "or",
        "our",
        "she",
        "so",
        "than",
        "that",
        "the",
        "their",
        "them",
        "then",
        "there",
        "they",
        "this",
        "to",
        "up",
        "us",
        "was",
        "we",
        "were",
        "what",
        "when",
        "which",
        "who",
        "will",
        "with",
        "would",
        "you",
        "your",
    ]
)
LINKS = frozenset(
    [
        "because",
        "therefore",
        "however",
        "although",
        "since",
        "thus",
        "hence",
        "while",
        "whereas",
        "instead",
        "first",
        "second",
        "finally",
        "also",
        "example",
        "moreover",
    ]
)


def statistics(text: str, title: str) -> dict[str, float]:
    words = re.findall(r"[A-Za-z']+", text.lower())
    sentences = [s for s in re.split(r"(?<=[.!?])\s+|\n+", text) if s.strip()]
    lengths = [len(s.split()) for s in sentences] or [0]
    sets = [frozenset(re.findall(r"[a-z']+", s.lower())) - STOP for s in sentences]
    shared = [len(a & b) / max(1, min(len(a), len(b))) for a, b in pairwise(sets)]
    content = [w for w in words if w not in STOP]
    counts = Counter(content)
    n, n_chars = max(1, len(words)), max(1, len(text))
    asked = frozenset(re.findall(r"[a-z']+", title.lower())) - STOP

    def share(of: Sequence[str] | str, test: Any) -> float:
        return sum(1 for one in of if test(one)) / max(1, len(of))

    return {
        "log_words": float(np.log1p(len(words))),
        "log_sentences": float(np.log1p(len(sentences))),
        "log_chars": float(np.log1p(len(text))),
        "mean_sentence": float(np.mean(lengths)),
        "spread_sentence": float(np.std(lengths)),
        "longest_sentence": float(max(lengths)),
        "mean_word": float(np.mean([len(w) for w in words] or [0])),
        "long_words": share(words, lambda w: len(w) > 6),
        "distinct": len(set(words)) / n,
        "log_distinct": float(np.log1p(len(set(content)))),
        "stop": share(words, STOP.__contains__),
        "linking": share(words, LINKS.__contains__),
        "n_linking": float(np.log1p(sum(w in LINKS for w in words))),
        "commas": text.count(",") / n,
        "questions": text.count("?") / n,
        "exclaimed": text.count("!") / n,
        "digits": share(text, str.isdigit),
        "capitals": share(text, str.isupper),
        "brackets": (text.count("(") + text.count("[")) / n,
        "quotes": (text.count('"') + text.count("\u201c")) / n,
        "links": float(text.count("http")),
        "odd": share(text, lambda c: not c.isalnum()),
        "lower_start": share([s.strip() for s in sentences], lambda s: s[:1].islower()),
        "i": share(words, lambda w: w in ("i", "i'm", "my", "me")),
        "cohesion": float(np.mean(shared or [0])),
        "on_title": len(asked & set(content)) / max(1, len(asked)),
        "n_words": float(len(words)),
        "n_sentences": float(len(sentences)),
        "top": sum(c for _, c in counts.most_common(5)) / max(1, len(content)),
        "per_char": n / n_chars,
    }


def record(row: Mapping[str, Any]) -> dict[str, Any]:
    """The row as a record: the five parts by simple definitions, and the statistics beside them."""
    found = statistics(row["input"]["text"], row["input"]["title"])
    return {
        "content_type": row["input"]["content_type"],
        "quality": row["expected"]["quality"],
        "word_count": found["n_words"],
        "sentence_count": found["n_sentences"],
        "length_score": min(1.0, found["n_words"] / 500),
        "structure_score": min(1.0, found["n_sentences"] / 10) * (1 - found["lower_start"]),
        "coherence_score": min(1.0, 0.4 + 2 * found["cohesion"]),
        "topic_clarity_score": min(1.0, 0.5 * found["on_title"] + found["top"]),
        "language_score": max(0.0, 1 - 4 * abs(found["odd"] - 0.2) - found["lower_start"] / 2),
        "statistics": list(found.values()),
    }


def read(split: str) -> tuple[Records, np.ndarray]:
    with (FOLDER / f"{split}.jsonl").open(encoding="utf-8") as lines:
        rows = [record(json.loads(line)) for line in lines]
    columns = {name: [row[name] for row in rows] for name in rows[0] if name != "statistics"}
    return read_columns(columns), np.asarray([row["statistics"] for row in rows])


def predict(train: np.ndarray, quality: np.ndarray, asked: np.ndarray) -> np.ndarray:
    """Mean of two models, between 0 and 1."""
    linear = make_pipeline(
        QuantileTransformer(n_quantiles=min(100, len(train)), output_distribution="normal"),
        RidgeCV(np.logspace(-1, 4, 20)),
    )
    forest = ExtraTreesRegressor(400, min_samples_leaf=5, max_features=0.4, random_state=1, n_jobs=1)
    found = [model.fit(train, quality).predict(asked) for model in (linear, forest)]
    return np.clip(np.mean(found, axis=0), 0, 1)


def learned(
    types: np.ndarray, data: np.ndarray, quality: np.ndarray, asked_types: np.ndarray, asked: np.ndarray
) -> np.ndarray:
    """By content type its own model where there are enough rows, else the one of all types."""
    found = predict(data, quality, asked)
    for name in np.unique(types):
        if (types == name).sum() >= MIN_OF_TYPE and (asked_types == name).any():
            found[asked_types == name] = predict(
                data[types == name], quality[types == name], asked[asked_types == name]
            )
    return found


def out_of_fold(types: np.ndarray, data: np.ndarray, quality: np.ndarray) -> np.ndarray:
    found = np.zeros(len(quality))
    for fit, rest in KFold(5, shuffle=True, random_state=1).split(data):
        found[rest] = learned(types[fit], data[fit], quality[fit], types[rest], data[rest])
    return found


def policy_of(
    field: str, knob: str, train: Records, names: np.ndarray, saved: float, *, per_type: bool
) -> dict[str, Any]:
    """The one rule ``knob``, its thresholds from the training rows,
    so that ``saved`` of the time is saved in each content type.
    """
    full = 1 - saved / (1 - LIGHT)
    values = train.values[field]

    def threshold(chosen: np.ndarray) -> float | int:
        cut = float(np.quantile(values[chosen], 1 - full))
        return int(np.ceil(cut)) if knob == "min_words" else min(1.0, max(0.0, cut))

    own = {f"filter.{knob}.{name}": threshold(names == name) for name in np.unique(names)} if per_type else {}
    only = {"filter.checks_needed": 0} if knob == "min_predicted_quality" else {"filter.checks_needed": 1, **LOOSE}
    return {
        **only,
        "route.discussion": "quality_check",
        f"filter.{knob}": threshold(np.ones(len(names), dtype=bool)),
        **own,
    }


LOOSE = {
    "filter.min_words": 10**9,
    "filter.min_sentences": 10**9,
    "filter.min_coherence": 1.0,
    "filter.min_overall": 1.0,
}  # no check but one can pass


def interval(records: Records, full: np.ndarray, n_draws: int) -> tuple[float, float]:
    """95 % interval of the mean quality of what is processed in full, over draws of the records."""
    rng = np.random.default_rng(2)
    drawn = rng.integers(records.n, size=(n_draws, records.n))
    chosen, quality = full[drawn], records.quality[drawn]
    some = chosen.any(axis=1)  # a draw without any such item has no mean
    means = (quality * chosen).sum(axis=1)[some] / chosen.sum(axis=1)[some]
    return float(np.quantile(means, 0.025)), float(np.quantile(means, 0.975))


def cell(
    case: str, records: Records, policy: Mapping[str, Any], other: float | None, other_name: str, n_draws: int
) -> Cell:
    pipeline = parse_pipeline(policy)
    found, full = outcome(records, pipeline), ways(records, pipeline).full
    low, high = interval(records, full, n_draws)
    quality = found.quality if found.quality is not None else float("nan")
    return Cell(
        case=f"{case}: saves {found.time_saved_share:.3f} on dev",
        ours=quality,
        other=other,
        other_name=other_name,
        ratio=quality / other if other else None,
        low=low,
        high=high,
        unit="mean quality of what is processed in full",
        n=found.n_judged,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=2000)
    n_draws = parser.parse_args().draws
    if not FOLDER.is_dir():
        sys.exit(f"There is no {FOLDER}; set DETENT_SHARED to the folder that holds data/content_quality.")
    train, data = read("train")
    dev, asked = read("dev")
    names, dev_names = (np.asarray(r.types)[r.codes] for r in (train, dev))
    train.values = dict(train.values) | {"predicted_quality": out_of_fold(names, data, train.quality)}
    dev.values = dict(dev.values) | {"predicted_quality": learned(names, data, train.quality, dev_names, asked)}

    balanced = {k: v for k, v in PRESETS["balanced"].policy.items() if not k.startswith("exit.")} | {
        "exit.enabled": False
    }
    plain = {"route.discussion": "quality_check"}
    cells = [
        cell("everything in full", dev, {"route.default": "full", "filter.enabled": False}, None, "", n_draws),
        cell("the default filter (3 of 4)", dev, plain, None, "", n_draws),
        cell("the balanced preset without exits", dev, balanced, None, "", n_draws),
    ]
    rules = (
        ("overall quality alone", "overall_quality", "min_overall", False, 0.60),
        ("words alone", "word_count", "min_words", False, 0.57),
        ("words, by type", "word_count", "min_words", True, 0.64),
        ("overall quality, by type", "overall_quality", "min_overall", True, None),
        ("learned score, by type", "predicted_quality", "min_predicted_quality", True, 0.70),
    )
    for saved in SAVED:
        for case, field, knob, per_type, yardstick in rules:
            policy = policy_of(field, knob, train, names, saved, per_type=per_type)
            cells.append(
                cell(
                    f"{case}, aimed at {saved}",
                    dev,
                    policy,
                    yardstick if saved == 0.65 else None,
                    "yardstick at .65",
                    n_draws,
                )
            )
    without = subset(train, np.ones(train.n, dtype=bool))
    without.recorded = without.recorded - {"predicted_quality"}
    for saved in SAVED:
        policy, _ = search(without, plain, (saved, saved + 0.05))
        yardstick = 0.65 if saved == 0.65 else None
        cells.append(
            cell(f"filter and routes searched, aimed at {saved}", dev, policy, yardstick, "yardstick at .65", n_draws)
        )
    for name in np.unique(dev_names):
        for saved in (0.65, 0.75):
            policy = policy_of("predicted_quality", "min_predicted_quality", train, names, saved, per_type=True)
            cells.append(
                cell(
                    f"learned score, {name} alone, aimed at {saved}",
                    subset(dev, dev_names == name),
                    policy,
                    None,
                    "",
                    n_draws,
                )
            )
    for name in ("discussion", "entertainment_dialogue", "qa_forum"):
        rest = names != name
        new = subset(dev, dev_names == name)
        new.values = dict(new.values) | {
            "predicted_quality": predict(data[rest], train.quality[rest], asked[dev_names == name])
        }
        cut = float(np.quantile(new.values["predicted_quality"], 0.65 / (1 - LIGHT)))
        policy = {"filter.checks_needed": 0, "route.discussion": "quality_check", "filter.min_predicted_quality": cut}
        cells.append(
            cell(
                f"transfer: {name} unseen in training",
                new,
                policy,
                float(new.quality.mean()),
                "all of it in full",
                n_draws,
            )
        )
    write_result("content_rules", cells)


if __name__ == "__main__":
    main()
