"""``dspy:program.json``: the instruction and the demonstrations of a program that DSPy saved as JSON.

``#name`` behind it names one of several predictors.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optimizer.core.base.canonical import read_json
from optimizer.core.base.errors import InvalidInput
from optimizer.core.declaration.foreign_prompt import ForeignPrompt, plain_template, prompt_source

REASONING = "reasoning"  # what ChainOfThought adds: a field that no example of a family has


@prompt_source()
def dspy(reference: str) -> ForeignPrompt:
    path, _, wanted = reference.partition("#")
    predictors = _predictors(_program(Path(path)))
    if wanted and wanted not in predictors:
        raise InvalidInput(f"{path} has no predictor {wanted!r}; it has {', '.join(predictors)}.")
    if not predictors:
        raise InvalidInput(f"{path} holds no predictor: no signature with instructions and fields is in it.")
    name = wanted or next(iter(predictors))
    state = predictors[name]
    fields: list[tuple[str, str]] = []
    for field in state["signature"]["fields"]:
        # (name, prefix). A saved field has its name only in a description that nobody wrote.
        shown_as = str(field.get("prefix", ""))
        named = re.fullmatch(r"\$\{(\w+)\}", str(field.get("description", field.get("desc", ""))))
        field_name = named[1] if named else re.sub(r"\W+", "_", shown_as.rstrip(": ").lower()).strip("_")
        fields.append((field_name, shown_as))
    names = [field for field, _ in fields if field != REASONING]
    if len(names) < 2 or len(set(names)) < len(names):
        raise InvalidInput(
            f"Predictor {name} of {path} has the fields {', '.join(names) or 'none'} beside {REASONING}: a prompt needs"
            " an input and an answer, each of a name of its own."
        )
    *inputs, output = names
    not_carried = [f"predictor {other}" for other in predictors if other != name]
    if (REASONING, f"{REASONING.title()}:") in fields:
        not_carried.append(f"field {REASONING} (a model answers at once here)")
    if state.get("lm"):
        not_carried.append("lm (name a model of config/models.yaml with --model)")
    if n_traces := len(_list(state, "traces", path)):
        not_carried.append(f"traces ({n_traces})")
    asks = [f"{prefix} {{{{{field}}}}}" for field, prefix in fields if field in inputs]
    answer = next(prefix for field, prefix in fields if field == output)
    demos = [dict(demo) for demo in _list(state, "demos", path) if isinstance(demo, Mapping)]
    whole = [demo for demo in demos if all(demo.get(field) not in (None, "") for field in (*inputs, output))]
    if len(whole) < len(demos):
        not_carried.append(f"demonstrations that lack a field ({len(demos) - len(whole)})")
    return ForeignPrompt(
        messages=[
            {"role": "system", "content": plain_template(str(state["signature"]["instructions"]), f"of {name}")},
            {"role": "user", "content": "\n".join([*asks, answer])},
        ],
        rows=[{field: demo[field] for field in (*inputs, output)} for demo in whole],
        output=output,
        not_carried=not_carried,
    )


def _program(path: Path) -> Any:
    if path.is_dir() or path.suffix in (".pkl", ".pickle"):
        raise InvalidInput(
            f"{path} is a pickle, and reading one runs whatever is in it, so it is refused. Save the program's state as"
            " JSON: program.save('program.json')."
        )
    try:
        return read_json(path.read_bytes())
    except (OSError, ValueError) as error:
        raise InvalidInput(f"{path} cannot be read as JSON: {error}. Save it: program.save('program.json').") from None


def _predictors(state: Any, name: str = "self") -> dict[str, Mapping[str, Any]]:
    """A program's predictors by name, as DSPy names them."""
    if not isinstance(state, Mapping):
        return {}
    signature = state.get("signature")
    if isinstance(signature, Mapping) and "instructions" in signature:
        fields = signature.get("fields")
        if isinstance(fields, list) and len(fields) > 1 and all(isinstance(field, Mapping) for field in fields):
            return {name: state}
    predictors: dict[str, Mapping[str, Any]] = {}
    for inner, value in state.items():
        if inner != "metadata":
            predictors |= _predictors(value, inner)
    return predictors


def _list(state: Mapping[str, Any], name: str, path: str) -> list[Any]:
    values = state.get(name) or []
    if not isinstance(values, list):
        raise InvalidInput(f"{path} is no program that DSPy saved: its {name} are {values!r:.80}, which is no list.")
    return values
