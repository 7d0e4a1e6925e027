"""``promptfoo:config.yaml``: a prompt of the file and the tests whose answer it knows. ``#label`` names one of several.

What the file would have run or fetched (``file://``, ``exec:``) is refused.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from itertools import chain, product
from pathlib import Path
from typing import Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.declaration.foreign_prompt import ForeignPrompt, plain_template, prompt_source, settings_of
from optimizer.core.family.variant import VARIABLE
from optimizer.host.yaml_files import load_file

OUTPUT = "output"
REFUSED = re.compile(r"\A\s*((file|exec):|(https?|python|javascript|golang|package):\S)", re.IGNORECASE)
A_FILE = re.compile(r"\A\S+\.(txt|json|jsonl|yaml|yml|md|j2|csv|py|js|ts|mjs|cjs)\Z", re.IGNORECASE)
WHOLE = ("equals", "is-json-equal")
OF_TEST = ("vars", "assert", "description")
OF_PROMPT = ("raw", "id", "label", "config", "description")
MAX_ROWS = 10_000  # of one test
KNOWN = ("prompts", "tests", "description", "providers", "targets")


@prompt_source()
def promptfoo(reference: str) -> ForeignPrompt:
    path, _, wanted = reference.partition("#")
    config = load_file(Path(path), "Name promptfoo's configuration, such as promptfooconfig.yaml.")
    if not isinstance(config, Mapping):
        raise InvalidInput(f"{path} is no configuration of promptfoo: it holds no mapping.")
    named = [_prompt(prompt, n, path) for n, prompt in enumerate(_list(config.get("prompts")), start=1)]
    chosen = [prompt for prompt in named if prompt[0] == wanted] if wanted else named[:1]
    if not chosen:
        names = ", ".join(name for name, *_ in named) or "none"
        raise InvalidInput(f"{path} has no prompt {wanted or 'at all'}; it has {names}.")
    [(name, text, values), *_] = chosen
    not_carried = [f"prompt {other}" for other, *_ in named if other != name]
    not_carried += [f"{member} of prompt {name}" for member in values if member not in OF_PROMPT]
    settings = values.get("config")
    model = settings_of(settings if isinstance(settings, Mapping) else {}, not_carried)
    not_carried += [f"provider {_name(provider)}" for provider in _list(config.get("providers", config.get("targets")))]
    not_carried += [str(key) for key in config if key not in KNOWN]
    rows = [row for n, test in enumerate(_list(config.get("tests")), 1) for row in _rows(test, n, path, not_carried)]
    return ForeignPrompt(
        messages=_messages(text, f"{name} of {path}"),
        model=model,
        rows=rows,
        output=OUTPUT if rows else None,
        description=str(config.get("description") or ""),
        not_carried=list(dict.fromkeys(not_carried)),
    )


def _prompt(prompt: Any, n: int, path: str) -> tuple[str, str, Mapping[str, Any]]:
    """Its name, its text and all that the file says of it."""
    values = prompt if isinstance(prompt, Mapping) else {"raw": prompt}
    text = values.get("raw", values.get("id"))
    if not isinstance(text, str):
        raise InvalidInput(f"Prompt {n} of {path} is no text.")
    if REFUSED.match(text) or A_FILE.match(text):
        raise InvalidInput(
            f"Prompt {n} of {path} is {text!r:.80}: what the file names is neither read nor run. Write the prompt into"
            " the file, or hand over its text: --from prompt.txt."
        )
    return str(values.get("label") or n), text, values


def _rows(test: Any, n: int, path: str, not_carried: list[str]) -> list[dict[str, Any]]:
    """One for each combination of what its lists hold, as promptfoo runs it; none without an expected answer."""
    if not isinstance(test, Mapping):
        raise InvalidInput(f"Test {n} of {path} is {test!r:.80}: only tests that stand in the file are taken.")
    values = test.get("vars") or {}
    if not isinstance(values, Mapping):
        raise InvalidInput(f"The vars of test {n} of {path} are {values!r:.80}: only those in the file are taken.")
    checks = [check for check in _list(test.get("assert")) if isinstance(check, Mapping)]
    answers = [check["value"] for check in checks if check.get("type") in WHOLE and "value" in check]
    expected = answers[0] if answers else None
    not_carried += [f"assert {check.get('type')}" for check in checks if check.get("type") not in WHOLE]
    not_carried += [f"a second answer of test {n}"] if len(answers) > 1 else []
    not_carried += [f"{key} of a test" for key in test if key not in OF_TEST]
    choices = {str(name): (value or [None]) if isinstance(value, list) else [value] for name, value in values.items()}
    for value in (*chain.from_iterable(choices.values()), expected):
        if isinstance(value, str) and REFUSED.match(value):
            raise InvalidInput(f"Test {n} of {path} names {value!r:.80}: what it names is neither read nor run.")
    if expected is None:
        not_carried.append(f"test {n} (it does not say what the answer is)")
        return []
    if OUTPUT in values:
        raise InvalidInput(
            f"Test {n} of {path} has a variable called {OUTPUT}, which is where the expected answer stands in a row."
            " Give the variable another name, in the prompt too."
        )
    if math.prod(map(len, choices.values())) > MAX_ROWS:
        raise InvalidInput(f"The lists of test {n} of {path} make more than {MAX_ROWS:,} combinations.")
    rows = [dict(zip(choices, chosen, strict=True)) for chosen in product(*choices.values())]
    return [{**row, OUTPUT: _filled(expected, row, f"Test {n} of {path}")} for row in rows]


def _filled(expected: Any, row: Mapping[str, Any], where: str) -> Any:
    """The answer of a row: a text may name the row's variables, as promptfoo fills them in. Raises InvalidInput."""
    if not isinstance(expected, str) or "{" not in expected:
        return expected
    if (alone := VARIABLE.fullmatch(expected.strip())) is not None and alone[1] in row:
        return row[alone[1]]
    text = VARIABLE.sub(lambda match: str(row[match[1]]) if match[1] in row else match[0], expected)
    if "{{" in text or "{%" in text:
        raise InvalidInput(
            f"{where} expects {expected!r:.80}, which names no variable of the test, or is a program. Write the answer"
            " itself into the file."
        )
    return text


def _messages(text: str, where: str) -> list[dict[str, str]]:
    """A prompt is a text, or a chat as JSON."""
    if text.lstrip().startswith("["):
        try:
            chat = json.loads(text)
            if chat == []:
                raise InvalidInput(f"Prompt {where} is a chat of no messages.")
            return [{"role": str(m["role"]), "content": plain_template(m["content"], where)} for m in chat]
        except (ValueError, KeyError, TypeError):
            pass  # a text that begins with a bracket
    return [{"role": "user", "content": plain_template(text, where)}]


def _name(provider: Any) -> str:
    values = next(iter(provider), "") if isinstance(provider, Mapping) and "id" not in provider else provider
    return str(values.get("id") if isinstance(values, Mapping) else values)[:80]


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]
