"""Reads whether a family's file says something that has never served, and what a person can do with it.

Writes nothing.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from optimizer.core.base.phrasing import count
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import right_labels
from optimizer.ports import Store, Transaction


@dataclass(frozen=True, slots=True, kw_only=True)
class Edit:
    """A version of the file that does not serve.

    ``instead_of``: the variant that the store knows under the same version, which was changed in place; None for a new
    one.
    """

    family: str
    version: str
    variant: str
    champion: str
    instead_of: str | None

    @property
    def text(self) -> str:
        """What is not served, and the next commands, the careful one first."""
        name = self.family
        in_place = ""
        if self.instead_of is not None:
            in_place = (
                f" Version {self.version} was changed in place: it was {self.instead_of} before, which stays as it is"
                " in the store. A new name for an edit (a second entry under prompt.versions, named by prompt.current)"
                " keeps both readable in the file."
            )
        return (
            f"{name}: the file's version {self.version} ({self.variant}) is edited, not served ({self.champion}"
            f" serves).{in_place} Compare: detent variant diff {name} file; side by side on dev rows: detent variant"
            f" compare {name} champion file. Take it to the sealed holdout, price first: detent study confirm {name}"
            f" file --dry-run. Or serve it at once: detent family adopt {name} --confirm {name}"
        )


def read_edit(tx: Transaction, store: Store, family: Family) -> Edit | None:
    """The edit; None where the file's version serves or has served before, or there is no champion yet."""
    champion = store.champions.current(tx, family.name)
    if champion is None or not family.prompt.versions:
        return None
    version, variant = family.prompt.current, family.variant().id
    if any(tenure.variant == variant for tenure in store.champions.history(tx, family.name)):
        return None
    known = [
        r for r in store.variants.of_family(tx, family.name) if r.file_version == version and r.variant.id != variant
    ]
    served = [r for r in known if r.variant.id == champion.variant]
    last = max(served or known, key=lambda r: r.created_at, default=None)
    return Edit(
        family=family.name,
        version=version,
        variant=variant,
        champion=champion.variant,
        instead_of=last.variant.id if last else None,
    )


def labels_not_named(tx: Transaction, store: Store, family: Family) -> str | None:
    """A sentence on train and dev examples that expect a label which the file does not name; None where none does."""
    output = family.output
    if output.parser != "label" or not output.labels:
        return None
    examples = [
        example for split in ("train", "dev") for example in store.examples.of_split(tx, family.name, split=split)
    ]
    right = [right_labels(output, example.expected) for example in examples]
    missing = Counter(
        str(label) for each in right if not any(label in output.labels for label in each) for label in each
    )
    if not missing:
        return None
    which = ", ".join(f"{label!r} ({count(n, 'example')})" for label, n in sorted(missing.items()))
    return (
        f"{family.name}: train and dev examples expect what output.labels of the file does not name: {which}. An answer"
        " is right for none of them. Name it again, or import the examples anew under the label that took its place."
    )
