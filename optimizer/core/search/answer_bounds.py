"""The most that one answer of a variant or a space, and judging it, may take: models, calls, request bytes, dollars.

All of it is known before a model is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from math import ceil, prod
from types import MappingProxyType
from typing import Any

from optimizer.core.base.canonical import table_of
from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.knob import is_number
from optimizer.core.base.values import NONE, Spread
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.judging.rubric import Claims, JudgeCase, asked_again, facts_messages, judge_messages
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import render
from optimizer.core.family.settings import JUDGE_METRIC, JudgeSettings
from optimizer.core.family.variant import FewShot, Variant, varied_knobs
from optimizer.core.models.budget import BYTES_PER_TOKEN, TOKENS_PER_MESSAGE, request_bytes
from optimizer.core.models.language import ModelPrice
from optimizer.core.policy.nearest import nearest_of
from optimizer.core.policy.policy import parse_policy
from optimizer.core.policy.refinement import DEFAULT_RETRIES, JUDGE, RETRIES, SCORER as SCORER_KNOB
from optimizer.core.policy.steps import most_calls
from optimizer.core.policy.tiers import REFUSE, STUDENTS
from optimizer.core.policy.validator import BY_JUDGE, VALIDATE_FACTS, VALIDATE_THEN
from optimizer.core.search.space import instruction_of
from optimizer.core.search.study import Definition

OUTPUT_BYTES_PER_TOKEN = 6  # at most
MEASURED_FROM = 20  # so many examples show by their longest inputs how long a request may become
MARGIN = 1.5  # of the reserve: the longest input seen, and half as much again for rows that nobody has seen
DEFAULT_MAX_CHARS = 4000
DEFAULT_MAX_TOKENS = 256  # of an answer, where neither the variant nor the family sets them
INSTRUCTION_BYTES = 4000  # by which a written instruction may be longer than the champion's
MOST_COMBINED = 10_000  # policies of a space that are looked at for the one of most calls
ASKED_AGAIN_BYTES = 2000  # of the note or the instruction that a policy adds when it asks again


def longest_inputs(family: Family, seen: Sequence[Example]) -> dict[str, str]:
    """Filler inputs as long as the longest that was seen and half as much again, at most as long as the family allows.

    With fewer than 20 examples they are as long as the family allows, at the bytes per character of the examples seen;
    if it sets no limit, 4,000 characters, or the longest seen. The sealed holdout is not seen: a longer row of it is
    asked about while the cap has room, since each call is checked against the cap by itself.
    """
    texts = {name: [str(example.input[name]) for example in seen if name in example.input] for name in family.inputs}
    ratio = max((len(t.encode()) / len(t) for of_one in texts.values() for t in of_one if t), default=1.0)
    inputs = {}
    for name, field in family.inputs.items():
        measured = ceil(MARGIN * max((len(t.encode()) for t in texts[name]), default=0))
        if len(texts[name]) < MEASURED_FROM and field.max_chars is None:
            measured = max(measured, ceil(DEFAULT_MAX_CHARS * ratio))
        elif field.max_chars is not None:
            allowed = ceil(field.max_chars * ratio)
            measured = allowed if len(texts[name]) < MEASURED_FROM else min(measured, allowed)
        inputs[name] = "x" * measured
    return inputs


def longest_of(variant: Variant, inputs: Mapping[str, str]) -> int:
    """Bytes of this variant's request on the longest inputs; nearest examples are as long as they may be."""
    return request_bytes(
        render(variant, inputs, declared=inputs), {"tools": variant.tools, "response_format": variant.response_format}
    ) + longest_nearest(variant, inputs)


def longest_nearest(variant: Variant, inputs: Mapping[str, str]) -> int:
    """Bytes by which the nearest examples of a request may be longer than the variant's own; 0 where it shows none."""
    nearest = nearest_of(variant.policy)
    if nearest is None:
        return 0
    filler = tuple(FewShot(id=f"longest-{i}", input=inputs, output="") for i in range(nearest.k))
    bare, own, longest = (
        request_bytes(render(Variant(messages=variant.messages, examples=shown), inputs, declared=inputs))
        for shown in ((), variant.examples, filler)
    )
    allowed = bare + ceil(nearest.max_tokens * BYTES_PER_TOKEN) + 2 * nearest.k * TOKENS_PER_MESSAGE
    return max(0, min(longest + nearest.k * _output_bytes(variant), allowed) - own)


def longest_allowed(
    champion: Variant,
    inputs: Mapping[str, str],
    definition: Definition,
    space: Mapping[str, Any] = MappingProxyType({}),
    *,
    is_written: bool = False,
) -> int:
    """Bytes of the longest request that a candidate may make.

    That is the champion's messages with the ``max_examples`` longest examples, room for an instruction where one may be
    written, or for the longest that the space lists, and room for the earlier answer where a policy asks again. The
    definition may set it; it is never below what the champion itself needs.
    """
    own = longest_of(champion, inputs)
    again = _output_bytes(champion) + ASKED_AGAIN_BYTES if asks_again(champion, space) else 0
    if definition.max_request_bytes is not None:
        return max(own, definition.max_request_bytes) + again
    filler = tuple(FewShot(id=f"longest-{i}", input=inputs, output="") for i in range(definition.max_examples))
    outputs = definition.max_examples * _output_bytes(champion)
    written = INSTRUCTION_BYTES if is_written else 0
    listed_bytes = max((len(text.encode()) for text in options_of(space, "instruction")), default=0)
    longer = max(0, listed_bytes + TOKENS_PER_MESSAGE - len((instruction_of(champion) or "").encode()))
    return max(own, longest_of(replace(champion, examples=filler), inputs) + outputs) + max(written, longer) + again


def _output_bytes(variant: Variant) -> int:
    return int(variant.model.get("max_tokens") or DEFAULT_MAX_TOKENS) * OUTPUT_BYTES_PER_TOKEN


def longest_answer(champion: Variant, space: Mapping[str, Any]) -> int:
    """The most tokens that an answer of the champion or of the space may have."""
    own = int(champion.model.get("max_tokens") or DEFAULT_MAX_TOKENS)
    return max([own, *map(int, options_of(space, "max_tokens"))])


def usd_of(n_bytes: float, max_tokens: float, price: ModelPrice) -> float:
    """The most that one call costs: every byte is an input token, and every allowed output token is used."""
    return price.of(ceil(n_bytes), ceil(max_tokens))


def models_of(champion: Variant, space: Mapping[str, Any], tiers: Sequence[str] = ()) -> list[str]:
    """The models that a study may ask; none where the champion has no prompt.

    The champion's comes first, then those that the space, the champion's policy or ``tiers`` name.
    """
    if not champion.messages:
        return []
    named = [champion.policy.get(knob) or () for knob in ("tiers", "votes.models")]
    offered = [options for knob in ("tiers", "votes.models") for options in options_of(space, f"policy.{knob}")]
    others = [name for names in (*named, *offered, tiers) for name in names]
    return list(dict.fromkeys([str(champion.model["name"]), *map(str, options_of(space, "model")), *map(str, others)]))


def calls_per_answer(
    champion: Variant, space: Mapping[str, Any], tiers: Sequence[str] = (), *, students: Collection[str] = ()
) -> int:
    """The most calls for one example, whichever variant of the space answers it; 1 without a policy.

    Args:
        tiers: of the cascade whose thresholds are searched.
        students: tiers that answer without a call.
    """
    policy = {**champion.policy, "accept": 1.0, "accept.2": None, "accept.3": None, "students": None, "refuse": None}
    options = _counted(space)
    policy["tiers"] = max(_called_tiers(tiers, students), _called_tiers(policy.get("tiers"), students), key=len) or None
    if "tiers" in options:
        options["tiers"] = [_called_tiers(names, students) or None for names in options["tiers"]]
    return max(
        _calls_of({**policy, **dict(zip(options, chosen, strict=True))}) for chosen in product(*options.values())
    )


def require_countable(space: Mapping[str, Any]) -> None:
    """Raises InvalidInput where a new study's space combines more choices than ``calls_per_answer`` should look at."""
    options = _counted(space)
    if (n := prod(map(len, options.values()))) > MOST_COMBINED:
        raise InvalidInput(
            f"The space cannot be searched: the choices of {', '.join(options)} make {n:,} policies, and the most calls"
            f" of an answer are looked for in {MOST_COMBINED:,} at most. List fewer choices."
        )


def answers_alone(variant: Variant) -> bool:
    """Whether a taught student is asked first and refuses what it is not sure of, so that no model is called."""
    policy = variant.policy
    tiers, students = policy.get("tiers") or [None], policy.get(STUDENTS.name) or ()
    return bool(policy.get(REFUSE.name)) and policy.get("skip") is None and tiers[0] in students


def _called_tiers(tiers: Sequence[str] | None, students: Collection[str]) -> list[str]:
    """The models of a cascade; none where fewer than two are asked."""
    called = [tier for tier in tiers or () if tier not in students]
    return called if len(called) > 1 else []


def asks_again(champion: Variant, space: Mapping[str, Any]) -> bool:
    """Whether a policy may show a model its own earlier answer, or a stronger instruction.

    Such requests are longer than the rendered one.
    """
    return any(
        knob.split(".")[0] in ("refine", "gate", "validate") for knob in (*champion.policy, *varied_knobs(space))
    )


COUNTING = (
    "tiers",
    "refine",
    "confidence",
    "votes.models",
    "validate",
    "validate.then",
    "gate.retries",
    "gate.threshold",
    "gate.scorer",
)


def _counted(space: Mapping[str, Any]) -> dict[str, Sequence[Any]]:
    """Knob -> its options, of those knobs on which the number of calls depends."""
    return {knob: _most_of(entry) for knob, entry in varied_knobs(space).items() if knob in COUNTING}


def _most_of(entry: Mapping[str, Any]) -> Sequence[Any]:
    """The options of a choice that may differ in calls, of numbers the largest; or the upper end of a range."""
    ((form, values),) = entry.items()
    options = values if form == "choices" else values[-1:]
    return [*(one for one in options if not is_number(one)), *sorted(filter(is_number, options))[-1:]]


def _calls_of(policy: Mapping[str, Any]) -> int:
    if policy.get("refine") is not None:
        policy = {**policy, "refine": 0.0}
    if not policy.get("tiers"):
        policy = {name: value for name, value in policy.items() if not name.startswith("accept")}
    try:
        return most_calls(parse_policy(policy))
    except InvalidInput:  # this combination is no policy, so it is no candidate
        return 1


def options_of(space: Mapping[str, Any], name: str) -> list[Any]:
    """Those that the space names; none where it says nothing of it, or something of a wrong type."""
    entry = table_of(space.get(name))
    options = entry.get("choices") or entry.get("int")
    return list(options) if isinstance(options, list | tuple) else []


ASKS = 2  # how often a member is asked about one answer: once more where its reply cannot be read
LONGEST_WHY = "x" * 300  # filler for the sentence on what could not be read


@dataclass(frozen=True, slots=True, kw_only=True)
class JudgingCost:
    """What judging one answer costs.

    ``usd`` is None where a member has no known price. ``most_usd_per_call``: of the dearest single call.
    """

    calls: Spread = NONE
    usd: Spread | None = NONE
    most_usd_per_call: float = 0.0
    members: tuple[str, ...] = ()

    def most_usd(self, n: int) -> float | None:
        """The most that judging ``n`` answers costs; None where a price is unknown."""
        return None if self.usd is None else n * self.usd.high

    def usd_of(self, calls: Spread) -> Spread | None:
        """Dollars of so many judge calls."""
        if self.usd is None:
            return None
        each = self.usd.expected / self.calls.expected if self.calls.expected else 0.0
        return Spread(low=calls.low * each, expected=calls.expected * each, high=calls.high * self.most_usd_per_call)

    @property
    def once_usd(self) -> float | None:
        """The most that an answer's judgements cost where each member's first reply can be read."""
        return None if self.usd is None else self.usd.high / ASKS


NO_JUDGE = JudgingCost()


def judge_of_metrics(family: Family) -> JudgeSettings | None:
    """The judge that scores the family's answers; None where a judge is declared only for other ends, or none is."""
    return family.judge if JUDGE_METRIC in family.metrics else None


def gate_judgements(champion: Variant, space: Mapping[str, Any] = MappingProxyType({})) -> int:
    """The most answers to one input that a gate puts before the judge, whichever variant of the space gives them."""
    if JUDGE not in (champion.policy.get(SCORER_KNOB.name), *options_of(space, f"policy.{SCORER_KNOB.name}")):
        return 0
    retries = varied_knobs(space).get(RETRIES.name) or {"choices": [champion.policy.get(RETRIES.name)]}
    (values,) = retries.values()
    return 1 + max(DEFAULT_RETRIES if value is None else int(value) for value in values)


def fact_checks(champion: Variant, space: Mapping[str, Any] = MappingProxyType({})) -> int:
    """The most answers to one input whose facts a validator puts before the judge."""
    name = VALIDATE_FACTS.name
    if BY_JUDGE not in (champion.policy.get(name), *options_of(space, f"policy.{name}")):
        return 0
    return calls_per_answer(champion, space)


def acts_on_judge(variant: Variant) -> bool:
    """Whether a judge may withhold an answer of the variant."""
    is_followed = variant.policy.get(VALIDATE_THEN.name, VALIDATE_THEN.default) != VALIDATE_THEN.default
    return gate_judgements(variant) > 0 or (is_followed and fact_checks(variant) > 0)


def policy_judgements(champion: Variant, space: Mapping[str, Any] = MappingProxyType({})) -> int:
    """The most judgements that gate and validator need for one input."""
    return gate_judgements(champion, space) + fact_checks(champion, space)


def models_asked(family: Family, variants: Sequence[Variant], *, with_scorer: bool = True) -> list[str]:
    """The models that answer for these variants, and the members of a judge that a policy of theirs asks, or with
    ``with_scorer`` one that scores the answers.
    """
    asking = [variant for variant in variants if variant.messages]
    scoring = judge_of_metrics(family) if with_scorer else None
    judge = family.judge if any(map(policy_judgements, asking)) else scoring
    return sorted({name for one in asking for name in models_of(one, {})} | set(judge.members if judge else ()))


def all_priced(family: Family, variants: Sequence[Variant], price: Callable[[str], ModelPrice | None]) -> bool:
    """Whether what answers of these variants cost is known: the calls of a model without a known price count as
    nothing.
    """
    return all(price(name) is not None for name in models_asked(family, variants, with_scorer=False))


def judge_calls(family: Family, n_gate: int) -> Spread:
    """Calls that judge one answer, by the scorer and ``n_gate`` times by a policy; each asks all members."""
    n_judgements = n_gate + (judge_of_metrics(family) is not None)
    n = n_judgements * len(family.judge.members) if family.judge else 0
    return Spread(low=0, expected=n, high=n * ASKS)


def judging_cost(
    family: Family,
    inputs: Mapping[str, str],
    seen: Sequence[Example],
    max_tokens: int,
    price_of: Callable[[str], ModelPrice | None],
    *,
    n_gate: int = 0,
) -> JudgingCost:
    """What judging one answer costs; NO_JUDGE where neither the scorer nor a gate asks a judge.

    Args:
        inputs: as long as the longest that is asked about.
        seen: examples whose expected outputs say how long a reference may be.
        max_tokens: the most that an answer may have.
        n_gate: the most judgements by a policy (``policy_judgements``).
    """
    calls = judge_calls(family, n_gate)
    judge = family.judge if calls.high else None
    if judge is None:
        return NO_JUDGE
    n_judgements = calls.expected / len(judge.members)
    prices = [price_of(name) for name in judge.members]
    known = [price for price in prices if price is not None]
    if len(known) < len(prices):
        return JudgingCost(calls=calls, usd=None, members=judge.members)
    references = [str(e.expected[family.output.field]) for e in seen if family.output.field in e.expected]
    longest = max(references, key=len, default=None) if judge.reference else None
    answer = "x" * (max_tokens * OUTPUT_BYTES_PER_TOKEN)
    judged = JudgeCase(task=family.description, input=dict(inputs), answer=answer, reference=longest)
    prompts = (judge_messages(judge, judged), facts_messages(Claims(material=dict(inputs), answer=answer)))
    n_bytes = max(request_bytes(asked_again(messages, LONGEST_WHY)) for messages in prompts)
    each = [usd_of(n_bytes, judge.max_tokens, price) for price in known]
    expected = sum(usd_of(n_bytes / BYTES_PER_TOKEN / 2, judge.max_tokens / 2, price) for price in known)
    return JudgingCost(
        calls=calls,
        usd=Spread(low=0, expected=n_judgements * expected, high=n_judgements * ASKS * sum(each)),
        most_usd_per_call=max(each),
        members=judge.members,
    )
