"""docs/reference/scorers.md, from the metrics that are declared and their docstrings."""

from __future__ import annotations

import inspect
import re
from importlib import import_module

from docs.generate.markdown import linked, page, table
from optimizer.core.family.metrics import METRICS, MetricRecord

LEAD = """
A metric measures one answer: a number from 0 to 1, without a unit. [`scorer:` of family.yaml](family.md#scorer) names
some, each with a weight above 0; the score of an answer is their weighted mean. Some take parameters beside the weight:

```yaml
scorer:
  entity_f1: 0.4
  relation_f1: {weight: 0.4, key: links}
  format_compliance: {weight: 0.2, max_words: 120}
```

- An answer that cannot be read scores 0, and so does what a model gives in another form than the metric's. What cannot
  be computed is an error, never 0: the example counts as not measured, and the reason is kept.
- A metric with `optional: true` and a `key` is left out for examples whose expected output has no part of that name;
  its weight is shared by the others.
- Weights, parameters and the version of each metric's code are part of the scorer's version. Scores of two versions are
  never compared.

None of them asks a model but [`judge`](judge.md). A metric of your own is [a function](family.md#scorer) or [a
package](../how-to/add-a-strategy-or-scorer.md). Tests hold each to cases computed by hand, and to a second
implementation where there is one.
"""
# the modules of each group; what stands elsewhere is of the last
HEADINGS = {
    "Equal or not": ("equality",),
    "Words in common": ("answers", "rouge", "characters"),
    "Entities and relations": ("entities",),
    "Retrieval": ("retrieval",),
    "Rewritten questions": ("rewrites",),
    "Coverage": ("coverage",),
    "Invention": ("support",),
    "Form and length": ("form", "readability"),
}
ELSEWHERE = "Open answers and decisions"
SECTION = re.compile(r"^(Args|Raises|Source):[ \n]", re.MULTILINE)


def scorers() -> str:
    groups: dict[str, list[MetricRecord]] = {name: [] for name in (*HEADINGS, ELSEWHERE)}
    for record in METRICS.built_in.values():
        module = record.judge.__module__.rsplit(".", 1)[1]
        group = next((name for name, modules in HEADINGS.items() if module in modules), ELSEWHERE)
        groups[group].append(record)
    parts = [LEAD]
    for name, records in groups.items():
        leads = (
            dict.fromkeys(
                linked(inspect.cleandoc(import_module(one.judge.__module__).__doc__ or "").replace("``", "`"))
                for one in records
            )
            if name != ELSEWHERE
            else ()
        )
        rows, details = [], []
        for record in records:
            doc = _read(record)
            known = inspect.signature(record.judge).parameters
            usual = {name: one.default for name, one in known.items() if isinstance(one.default, int | float | str)}
            rows.append(
                (
                    f"`{record.name}`",
                    ", ".join(record.parsers or ("any",)),
                    doc[""][0],
                    ", ".join(
                        f"`{name}`" + (f" ({usual[name]})" if name in usual else "") for name in record.parameters
                    ),
                    doc["Source"][0],
                )
            )
            meanings = [
                one for one in doc["Args"] if set(re.findall(r"\w+", one.split(":")[0])) & set(record.parameters)
            ]
            more = [*doc[""][1:], *meanings, *(f"No score: {text}" for text in doc["Raises"])]
            details += [f"- `{record.name}`: {' '.join(more)}"] if any(more) else []
        parts += [
            f"## {name}",
            *leads,
            table(("Metric", "Parsers", "Measures", "Parameters", "Source"), rows),
            "\n".join(details),
        ]
    return page("# Metrics of answers", *parts)


def _read(record: MetricRecord) -> dict[str, list[str]]:
    """The docstring's paragraphs under "", and what stands under each of its sections."""
    text, *rest = SECTION.split(inspect.getdoc(record.judge) or "")
    sections = {"": [_line(part) for part in text.strip().split("\n\n")], "Args": [], "Raises": [], "Source": [""]}
    for name, body in zip(rest[::2], rest[1::2], strict=True):
        sections[name] = [_line(re.sub(r"^[A-Z]\w+: ", "", body.strip()))]
        if name == "Args":
            lines = [_line(one) for one in re.split(r"\n(?=    \w)", f"\n{body.rstrip()}") if one.strip()]
            sections[name] = [
                re.sub(r"^([\w, ]+):", lambda names: re.sub(r"(\w+)", r"`\1`", names[0]), one) for one in lines
            ]
    return sections


def _line(text: str) -> str:
    return re.sub(r"\bNone\b", "left out", " ".join(text.split()).replace("``", "`"))
