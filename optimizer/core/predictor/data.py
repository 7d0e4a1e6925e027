"""From JSON to a predictor's parts: every fault at once, each with its place.

Nothing here is executed, so a file from elsewhere is safe to read.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, get_args

from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.base.knob import is_number
from optimizer.core.predictor.parts import LEAF, Analyzer, Gram, GramsPart, Isotonic, LinearPart, Platt, Tree, TreesPart

Part = LinearPart | TreesPart | GramsPart
Calibration = Platt | Isotonic

MOST_GRAMS, MOST_NODES, MOST_RUN = 200_000, 200_000, 8
_TREE_KEYS = ("feature", "threshold", "left", "right", "missing_left", "value")


class DataReader:
    """Takes values out of JSON and keeps what was wrong, so that a caller hears of all of it;
    returns stand-ins for wrong values.
    """

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def wrong(self, path: Sequence[Any], detail: str) -> None:
        self.faults.append(Fault(pointer=pointer_of(path), detail=detail))

    def mapping(self, value: Any, path: Sequence[Any], known: Sequence[str]) -> Mapping[str, Any]:
        if not isinstance(value, Mapping):
            self.wrong(path, f"a mapping with {', '.join(known)} is needed, not {type(value).__name__}")
            return {}
        for key in value:
            if key not in known:
                self.wrong([*path, key], f"unknown key {key!r}; known here: {', '.join(known)}")
        return value

    def items(self, value: Any, path: Sequence[Any]) -> Sequence[Any]:
        if isinstance(value, list | tuple):
            return value
        self.wrong(path, f"a list is needed, not {type(value).__name__}")
        return ()

    def number(self, value: Any, path: Sequence[Any], *, above: float | None = None) -> float:
        if not is_number(value):
            self.wrong(path, f"a finite number is needed, not {value!r:.60}")
            return 1.0
        if above is not None and not value > above:
            self.wrong(path, f"a number above {above:g} is needed, not {value!r}")
        return float(value)

    def numbers(self, value: Any, path: Sequence[Any], n: int, *, above: float | None = None) -> tuple[float, ...]:
        items = self.items(value, path)
        if len(items) != n:
            self.wrong(path, f"{n} numbers are needed, one for each place, and {len(items)} are given")
        return tuple(self.number(each, [*path, i], above=above) for i, each in enumerate(items))

    def one_of(self, value: Any, path: Sequence[Any], known: Sequence[str]) -> str:
        if not isinstance(value, str) or value not in known:
            self.wrong(path, f"one of {', '.join(known)} is needed, not {value!r:.60}")
            return known[0]
        return value


def read_features(read: DataReader, value: Any) -> tuple[str, ...]:
    names = read.items(value, ["features"])
    for i, name in enumerate(names):
        if not isinstance(name, str) or not name:
            read.wrong(["features", i], f"a feature's name is needed, not {name!r:.60}")
        elif name in names[:i]:
            read.wrong(["features", i], f"{name!r} is listed twice; a feature has one place")
    return tuple(str(name) for name in names)


def read_parts(read: DataReader, value: Any, n_features: int) -> tuple[Part, ...]:
    items = read.items(value, ["parts"])
    if not items:
        read.wrong(["parts"], f"at least one part is needed: {', '.join(_PARTS)}")
    parts = []
    for i, part in enumerate(items):
        kind = read.one_of(part.get("kind") if isinstance(part, Mapping) else None, ["parts", i, "kind"], tuple(_PARTS))
        parts.append(_PARTS[kind](read, part, ["parts", i], n_features))
    return tuple(parts)


def read_calibration(read: DataReader, value: Any, answers: str) -> Calibration | None:
    path = ["calibration"]
    if value is None:
        return None
    kind = read.one_of(
        value.get("kind") if isinstance(value, Mapping) else None, [*path, "kind"], ("platt", "isotonic")
    )
    if kind == "platt":
        content = read.mapping(value, path, ("kind", "slope", "intercept"))
        slope = read.number(
            content.get("slope"), [*path, "slope"], above=0.0
        )  # a slope of 0 or less would turn the order round
        return Platt(slope=slope, intercept=read.number(content.get("intercept"), [*path, "intercept"]))
    content = read.mapping(value, path, ("kind", "x", "y"))
    x = read.numbers(content.get("x"), [*path, "x"], len(read.items(content.get("x"), [*path, "x"])))
    y = read.numbers(content.get("y"), [*path, "y"], len(x))
    if not x or any(b <= a for a, b in itertools.pairwise(x)):
        read.wrong([*path, "x"], "the knots rise from one to the next, and there is at least one")
    if any(b < a for a, b in itertools.pairwise(y)):
        read.wrong([*path, "y"], "the calibrated values never fall from one knot to the next")
    if answers == "probability" and any(not 0 <= each <= 1 for each in y):
        read.wrong([*path, "y"], "calibrated probabilities lie from 0 to 1")
    return Isotonic(x=x or (0.0,), y=y or (0.0,))


def _linear(read: DataReader, value: Any, path: list[Any], n: int) -> LinearPart:
    content = read.mapping(value, path, ("kind", "share", "centre", "scale", "weights", "intercept"))
    return LinearPart(
        centre=read.numbers(content.get("centre"), [*path, "centre"], n),
        scale=read.numbers(content.get("scale"), [*path, "scale"], n, above=0.0),
        weights=read.numbers(content.get("weights"), [*path, "weights"], n),
        intercept=read.number(content.get("intercept"), [*path, "intercept"]),
        share=read.number(content.get("share", 1.0), [*path, "share"]),
    )


def _trees(read: DataReader, value: Any, path: list[Any], n: int) -> TreesPart:
    content = read.mapping(value, path, ("kind", "share", "start", "trees"))
    trees = read.items(content.get("trees"), [*path, "trees"])
    n_nodes = sum(
        len(tree["value"])
        for tree in trees
        if isinstance(tree, Mapping) and isinstance(tree.get("value"), list | tuple)
    )
    if n_nodes > MOST_NODES:
        read.wrong(
            [*path, "trees"],
            f"the trees have {n_nodes} nodes, and a predictor may have {MOST_NODES}; train fewer or smaller ones",
        )
        trees = ()
    return TreesPart(
        start=read.number(content.get("start"), [*path, "start"]),
        trees=tuple(_tree(read, tree, [*path, "trees", i], n) for i, tree in enumerate(trees)),
        share=read.number(content.get("share", 1.0), [*path, "share"]),
    )


def _tree(read: DataReader, value: Any, path: list[Any], n_features: int) -> Tree:
    content = read.mapping(value, path, _TREE_KEYS)
    columns = {key: read.items(content.get(key), [*path, key]) for key in _TREE_KEYS}
    n = len(columns["value"])
    if n == 0 or any(len(column) != n for column in columns.values()):
        read.wrong(
            path, f"a tree has one entry for each node in each of {', '.join(_TREE_KEYS)}, and at least one node"
        )
        return _STUMP
    for i, feature in enumerate(columns["feature"]):
        if not isinstance(feature, int) or isinstance(feature, bool) or not LEAF <= feature < n_features:
            read.wrong(
                [*path, "feature", i],
                f"{LEAF} for a leaf or the place of one of {n_features} features is needed, not {feature!r:.60}",
            )
        elif feature != LEAF:
            for side in ("left", "right"):
                child = columns[side][i]
                if not isinstance(child, int) or isinstance(child, bool) or not i < child < n:
                    read.wrong(
                        [*path, side, i],
                        f"a child comes after its parent: a place from {i + 1} to {n - 1} is needed, not {child!r:.60}",
                    )
    return Tree(
        feature=tuple(columns["feature"]),
        threshold=read.numbers(columns["threshold"], [*path, "threshold"], n),
        left=tuple(columns["left"]),
        right=tuple(columns["right"]),
        missing_left=tuple(bool(each) for each in columns["missing_left"]),
        value=read.numbers(columns["value"], [*path, "value"], n),
    )


def _grams(read: DataReader, value: Any, path: list[Any], _n: int) -> GramsPart:
    content = read.mapping(
        value, path, ("kind", "share", "text", "analyzer", "low", "high", "lower", "intercept", "grams")
    )
    text, grams = content.get("text"), content.get("grams")
    if not isinstance(text, str) or not text:
        read.wrong([*path, "text"], f"the name of the text that is read is needed, not {text!r:.60}")
    low, high = content.get("low"), content.get("high")
    whole = all(isinstance(each, int) and not isinstance(each, bool) for each in (low, high))
    if not whole or not 1 <= low <= high <= MOST_RUN:  # type: ignore[operator]
        read.wrong([*path, "low"], f"runs have 1 to {MOST_RUN} pieces, low <= high; given: {low!r:.20} to {high!r:.20}")
        low = high = 1
    if not isinstance(content.get("lower"), bool):
        read.wrong([*path, "lower"], f"true or false is needed, not {content.get('lower')!r:.60}")
    if not isinstance(grams, Mapping) or len(grams) > MOST_GRAMS:
        read.wrong([*path, "grams"], f"a mapping from at most {MOST_GRAMS} pieces to [rarity, weight] is needed")
        grams = {}
    known = {str(piece): read.numbers(pair, [*path, "grams", piece], 2) for piece, pair in grams.items()}
    return GramsPart(
        text=str(text),
        analyzer=_analyzer(read.one_of(content.get("analyzer"), [*path, "analyzer"], get_args(Analyzer))),
        low=int(low or 1),
        high=int(high or 1),
        lower=bool(content.get("lower")),
        intercept=read.number(content.get("intercept"), [*path, "intercept"]),
        grams={piece: Gram(rarity=pair[0], weight=pair[1]) for piece, pair in known.items() if len(pair) == 2},
        share=read.number(content.get("share", 1.0), [*path, "share"]),
    )


def _analyzer(name: str) -> Analyzer:
    return next(known for known in ("char", "word", "value") if known == name)


_STUMP = Tree(feature=(LEAF,), threshold=(0.0,), left=(0,), right=(0,), missing_left=(False,), value=(0.0,))
_PARTS: Mapping[str, Callable[[DataReader, Any, list[Any], int], Part]] = {
    "linear": _linear,
    "trees": _trees,
    "grams": _grams,
}
