"""Fixes which examples a study trains, selects and confirms on, by hash and before its first call."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, cast

from optimizer.core.base.canonical import canonical_json, digest
from optimizer.core.base.errors import DatasetTooSmall
from optimizer.core.dataset.examples import Example, class_of, select
from optimizer.core.family.family import Family, kind_of
from optimizer.core.family.rendering import clip_inputs, is_refused, long_inputs
from optimizer.core.search.cost_estimate import holdout_size
from optimizer.core.search.run_off import RUN_OFF
from optimizer.core.search.study import Dataset, Definition
from optimizer.jobs.dataset.golden_scenarios import asked_by, asks, kept_groups, with_kept_golden
from optimizer.ports import SealedHoldout, Store, Transaction

MIN_DEV = 2  # with fewer every comparison is a coin toss


def build_dataset(family: Family, definition: Definition, store: Store) -> Dataset:
    """{"hash", "n_dev", "train", "dev", "run_off", "holdout"}: ids in the order in which they are used.

    "n_dev" counts all dev rows; "run_off" holds those behind "dev", and is missing where there are none. Reads no text
    of the holdout. Where inputs are longer than serving takes, there are also "truncated" (input -> train and dev
    examples in which it is cut) and "n_refused" (train and dev examples that serving would refuse, and that are left
    out). "n_unreleased" counts train examples that are left out because nobody released them.

    Train holds only released examples, unless the family has ``examples_from: any``. The holdout's examples that no
    study has looked at come first, since every look costs confidence.

    Raises:
        DatasetTooSmall: fewer than two dev examples.
    """
    with store.read() as tx:
        everything = [
            *train_examples(family, store, tx),
            *dev_examples_apart(family, store, tx),
        ]
        n_unreleased = (
            0
            if not _takes_released_only(family)
            else sum(not e.released for e in store.examples.of_split(tx, family.name, split="train"))
        )
        # Those that no look used before the others, each drawn by hash.
        sealed_ids: list[tuple[str, str | None]] = list(store.examples.holdout_ids(tx, family.name))
        n_holdout = holdout_size(len(sealed_ids), definition)
        looked_at = store.examples.looked_at(tx, family.name)
        fresh, seen = ([one for one in sealed_ids if (one[0] in looked_at) is is_seen] for is_seen in (False, True))
        first = _chosen(family, fresh, n_holdout)
        holdout = [*first, *_chosen(family, seen, n_holdout - len(first))]
        counts = store.examples.counts(tx, family.name)
    served = {e.id: e for e in everything if not is_refused(family, e.input)}
    train, dev = (
        [(e.id, class_of(e.expected, family.sample.balance)) for e in served.values() if e.split == split]
        for split in ("train", "dev")
    )
    if len(dev) < MIN_DEV:
        raise DatasetTooSmall(
            f"Cannot search Family {family.name!r}: it has {len(dev)} dev examples, and a search needs at least"
            f" {MIN_DEV}. Import more examples (detent import FILE --family {family.name}); one in five lands in dev.",
            n_dev=len(dev),
            n_required=MIN_DEV,
            counts=dict(counts),
        )
    chosen = _chosen(family, dev, definition.n_dev + definition.n_run_off)
    ids = {
        "train": _chosen(family, train, definition.n_train),
        "dev": chosen[: definition.n_dev],
        "holdout": holdout,
    }
    if further := chosen[definition.n_dev :]:
        ids[RUN_OFF] = further
    left_out = {
        "truncated": truncated_of(family, [served[id] for id in (*ids["train"], *chosen)]),
        "n_refused": len(everything) - len(served),
        "n_unreleased": n_unreleased,
    }
    drawn = {
        "hash": digest(canonical_json({"family": family.name, **ids})),
        "n_dev": len(dev),
        **ids,
        **{name: value for name, value in left_out.items() if value},
    }
    return cast(Dataset, drawn)


def truncated_of(family: Family, examples: Iterable[Example]) -> dict[str, int]:
    """Input > examples in which it is cut; those that are cut in none are left out."""
    return dict(Counter(name for example in examples for name in long_inputs(family, example.input)))


def train_examples(family: Family, store: Store, tx: Transaction) -> list[Example]:
    """Examples whose text may enter a prompt; none that asks what a golden scenario asks.

    A policy quotes no text, so it may learn from all examples, but words only from released ones.
    """
    examples = store.examples.of_split(tx, family.name, split="train", released_only=_takes_released_only(family))
    examples = _apart(family, store, tx, examples)
    return [replace(e, released=True) for e in examples] if family.privacy.examples_from == "any" else examples


def teaching_examples(family: Family, store: Store, tx: Transaction, most: int) -> list[Example]:
    """Train examples that somebody released, whatever a prompt may show: words of them stay in what is taught. Of more
    than ``most`` those whose id has the least hash; cut as serving cuts them, without those that it would refuse.

    None of the group of an example that is a golden scenario: what learned from its dialogue is no stranger to it.
    """
    golden = set(kept_groups(tx, store, family.name).values())
    released = store.examples.of_split(tx, family.name, split="train", released_only=True)
    served = [e for e in _apart(family, store, tx, released) if e.group not in golden]
    served = [e for e in served if not is_refused(family, e.input)]
    served.sort(key=lambda e: digest(e.id.encode(errors="surrogatepass")))
    return [cut_as_served(family, e) for e in served[:most]]


def dev_examples_apart(family: Family, store: Store, tx: Transaction) -> list[Example]:
    """All dev examples but those that ask what a golden scenario asks."""
    return _apart(family, store, tx, store.examples.of_split(tx, family.name, split="dev"))


def _takes_released_only(family: Family) -> bool:
    return family.privacy.examples_from != "any" and kind_of(family).asks_models


def _apart(family: Family, store: Store, tx: Transaction, examples: Sequence[Example]) -> list[Example]:
    """A scenario cannot test what a search learned from."""
    family = with_kept_golden(tx, store, family)
    questions = asked_by(family, family.golden)
    return [e for e in examples if asks(family, e.input) not in questions] if questions else [*examples]


def load_examples(family: Family, dataset: Mapping[str, Any], store: Store) -> tuple[list[Example], list[Example]]:
    """(train, dev) in the dataset's order, with inputs cut as in serving.

    An example that was forgotten since, or that serving would refuse, is left out.
    """
    with store.read() as tx:
        train = train_examples(family, store, tx)
    return _in_order(family, train, dataset["train"]), dev_examples(family, dataset["dev"], store)


def dev_examples(family: Family, ids: Sequence[str], store: Store) -> list[Example]:
    """Those of ``ids`` that are dev examples, in this order, with inputs cut as in serving."""
    with store.read() as tx:
        dev = store.examples.of_split(tx, family.name, split="dev")
    return _in_order(family, dev, ids)


def open_holdout(
    family: Family, dataset: Mapping[str, Any], study: str, store: Store, holdout: SealedHoldout, at: datetime
) -> tuple[list[Example], int]:
    """The holdout's examples and how often any of them has been looked at, this look included."""
    ids = list(dataset["holdout"])
    examples, looks = store.write(
        lambda tx: (
            holdout.open(tx, family.name, study, ids, at),
            store.examples.looks(tx, family.name, ids),
        )
    )
    return _in_order(family, examples, ids), max(1, looks)


def cut_as_served(family: Family, example: Example) -> Example:
    """The example with its declared inputs only, cut as serving cuts them."""
    return replace(example, input=clip_inputs(family, family.declared_inputs(example.input)))


def _chosen(family: Family, ids: Sequence[tuple[str, str | None]], n: int) -> list[str]:
    return select(ids, n, balance=family.sample.balance is not None, seed_text=f"detent/{family.name}")


def _in_order(family: Family, examples: Sequence[Example], ids: Sequence[str]) -> list[Example]:
    by_id = {e.id: e for e in examples}
    in_order = [by_id[id] for id in ids if id in by_id]
    return [cut_as_served(family, example) for example in in_order if not is_refused(family, example.input)]
