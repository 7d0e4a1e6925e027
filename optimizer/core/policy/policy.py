"""A Variant's policy as typed parts: what the gateway executes. ``KNOBS`` has every knob of a prompt family.

The request of each call is made from the rendered one, in the same way wherever a policy runs, so what is searched is
what is served. A policy also says how many of a Variant's examples each model is shown (the same model with a short and
with a long prompt is a cheap and a dear tier). Presets are named settings that belong together: how sure an answer must
be, and how much is tried for it.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.base.knob import Knob, is_whole
from optimizer.core.base.phrasing import did_you_mean
from optimizer.core.family.variant import Message, Variant
from optimizer.core.models.language import ModelRequest
from optimizer.core.policy import context, nearest, refinement, tiers, validator, votes
from optimizer.core.policy.attempts import Call, Signal, read_signal
from optimizer.core.policy.context import with_tool_results
from optimizer.core.policy.nearest import NEAREST, NearestExamples, ShownExamples, read_nearest
from optimizer.core.policy.refinement import Refinement, read_gate
from optimizer.core.policy.tiers import Tiers, read_tiers
from optimizer.core.policy.validator import Validator, read_validator
from optimizer.core.policy.votes import Votes, read_votes

EXAMPLES = Knob(
    name="examples",
    kind="data",
    meaning=(
        "How many of the prompt's few-shot examples a model is shown, the first ones, by its name; raising one makes"
        " this model dearer, slower and mostly better. A model that is not named is shown all. Under nearest: how many"
        " examples of examples.index, those most like the request, are shown in place of the prompt's own."
    ),
)


def messages_of_fewer(
    examples: Mapping[str, int], shown: ShownExamples, rendered: Callable[[Variant], Sequence[Message]]
) -> dict[str, Sequence[Message]]:
    """Model > what it is sent, for those that are shown fewer examples than this request has.

    All others are sent it whole.

    Args:
        rendered: a Variant's messages for this request: the one way in which it is rendered whole, too.
    Raises:
        What ``rendered`` raises.
    """
    return {
        model: rendered(replace(shown.variant, examples=shown.fewer(n)))
        for model, n in examples.items()
        if n < len(shown.variant.examples)
    }


DEFAULT_DEADLINE_S = 120.0

DEADLINE = Knob(
    name="deadline_s",
    kind="number",
    low=0.1,
    high=3600,
    default=DEFAULT_DEADLINE_S,
    meaning=(
        "Seconds after which nothing more is asked for a request and its best answer so far goes out; raising it:"
        " slower, better."
    ),
)
KNOBS: tuple[Knob, ...] = (
    *tiers.KNOBS,
    *votes.KNOBS,
    *refinement.KNOBS,
    *validator.KNOBS,
    *context.KNOBS,
    EXAMPLES,
    *nearest.KNOBS,
    DEADLINE,
)
_BY_NAME = {knob.name: knob for knob in KNOBS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """A part is None where the policy lacks it. ``signal`` names the source of confidence, with or without tiers.

    ``nearest`` says what is rendered, so that a policy of this alone still is one call.
    """

    cascade: Tiers | None = None
    gate: Refinement | None = None
    votes: Votes | None = None
    validator: Validator | None = None
    context: bool = False  # whether the results of tools are said again at the end
    examples: Mapping[str, int] = field(default_factory=dict)  # model > how many it is shown
    nearest: NearestExamples | None = None
    signal: Signal = field(default_factory=Signal)
    deadline_s: float = DEFAULT_DEADLINE_S

    @property
    def is_plain(self) -> bool:
        """Whether a request is one call of one model, as without a policy."""
        return not (self.cascade or self.gate or self.votes or self.validator or self.context or self.examples)

    @property
    def models(self) -> frozenset[str]:
        """All that it names."""
        return frozenset((self.cascade.models if self.cascade else ()) + (self.votes.models if self.votes else ()))

    @property
    def own_scorer(self) -> str | None:
        """Dotted path of the user's function that the gate scores with; None where it has none."""
        return self.gate.scorer if self.gate is not None and self.gate.scorer not in refinement.SCORERS else None

    @property
    def is_judged(self) -> bool:
        """Whether the gate asks the family's judge."""
        return self.gate is not None and self.gate.scorer == refinement.JUDGE

    @property
    def asks_judge(self) -> bool:
        """Whether gate or validator do."""
        return self.is_judged or (self.validator is not None and self.validator.asks_judge)

    @property
    def most_judgements(self) -> int:
        """The most answers to one request that the gate puts before the family's judge."""
        return 1 + self.gate.retries if self.gate is not None and self.is_judged else 0

    def is_student(self, model: str) -> bool:
        """Whether a student that a study taught answers as this tier."""
        return self.cascade is not None and model in self.cascade.students

    @property
    def needs_confidence(self) -> bool:
        return self.cascade is not None or (self.gate is not None and self.gate.scorer == "confidence")


def knob_of(name: str) -> Knob | None:
    """The knob of a prompt family's policy that has this name."""
    return _BY_NAME.get(name)


def parse_policy(policy: Mapping[str, Any]) -> Policy:
    """The typed parts; a knob that is null counts as absent.

    Raises:
        InvalidInput: carries every fault at once, each with a JSON pointer into the policy.
    """
    faults: list[Fault] = []
    values: dict[str, Any] = {}
    for name, value in policy.items():
        knob = _BY_NAME.get(name)
        if knob is None:
            close = difflib.get_close_matches(str(name), _BY_NAME, n=1, cutoff=0.5)
            faults.append(
                Fault(
                    pointer=pointer_of([name]),
                    detail=(
                        f"there is no knob {str(name)!r}; "
                        + (f"did you mean {close[0]!r}?" if close else f"known are {', '.join(_BY_NAME)}")
                    ),
                )
            )
        elif value is not None:
            fault = knob.fault(value)
            if fault is None:
                values[name] = value
            else:
                faults.append(Fault(pointer=pointer_of([name]), detail=fault))
    signal = read_signal(values["confidence"], faults) if "confidence" in values else Signal()
    cascade, votes_ = read_tiers(values, signal, faults), read_votes(values, faults)
    # Model > number of examples.
    models = (cascade.models if cascade else ()) + (votes_.models if votes_ else ())
    named: dict[str, int] = {}
    for model, n in values.get(EXAMPLES.name, {}).items():
        if model == NEAREST:
            continue
        at = pointer_of([EXAMPLES.name, model])
        if not is_whole(n) or n < 0:
            faults.append(Fault(pointer=at, detail=f"a model is shown 0 examples or more, not {n!r}"))
        elif models and model not in models:
            faults.append(
                Fault(
                    pointer=at,
                    detail=(
                        f"this policy asks no model {model!r}; it asks {', '.join(sorted(models))}. Name one of these."
                    ),
                )
            )
        else:
            named[str(model)] = n
    parsed = Policy(
        cascade=cascade,
        gate=read_gate(values, faults),
        votes=votes_,
        validator=read_validator(values, faults),
        context=bool(values.get("context.tool_results")),
        examples=named,
        nearest=read_nearest(values, faults),
        signal=signal,
        deadline_s=float(values.get("deadline_s", DEFAULT_DEADLINE_S)),
    )
    if faults:
        many = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise InvalidInput(
            f"The policy has {many}: " + "; ".join(f"{f.pointer} {f.detail}" for f in faults) + ".", faults
        )
    return parsed


@dataclass(frozen=True, slots=True, kw_only=True)
class Preset:
    """``accept``: of a cascade; ``threshold`` and ``retries``: of its quality gate."""

    accept: float
    threshold: float
    retries: int
    meaning: str

    def policy(self, present: Mapping[str, Any]) -> dict[str, Any]:
        """The knobs to lay over a policy; those of a cascade only where it is one."""
        knobs: dict[str, Any] = {"gate.threshold": self.threshold, "gate.retries": self.retries}
        if present.get("tiers"):
            knobs["accept"] = self.accept
            if isinstance(refine := present.get("refine"), int | float) and refine > self.accept:
                knobs["refine"] = self.accept  # which may not lie above
        return knobs


PRESETS: Mapping[str, Preset] = {
    "quick": Preset(accept=0.70, threshold=0.85, retries=2, meaning="fewer calls, some weaker answers"),
    "thorough": Preset(accept=0.90, threshold=0.95, retries=5, meaning="better answers, dearer and slower"),
}


def preset_named(name: str) -> Preset:
    """Raises InvalidInput for an unknown one."""
    preset = PRESETS.get(name)
    if preset is None:
        known = did_you_mean(name, PRESETS) or f"; known: {', '.join(PRESETS)}"
        detail = f"there is no preset {name!r:.80}{known}"
        raise InvalidInput(f"This is no servable variant: {detail}.", [Fault(pointer="/preset", detail=detail)])
    return preset


REFINE_NOTE = (
    "Look at your answer again. Correct what is wrong or missing and give the improved answer only, in the form asked"
    " for first."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bases:
    """What the calls of a policy start from: ``whole``, and ``fewer`` for the models with fewer examples, by name."""

    whole: ModelRequest
    fewer: Mapping[str, ModelRequest] = field(default_factory=dict)

    def of(self, model: str) -> ModelRequest:
        return self.fewer.get(model, self.whole)


def request_of_policy(policy: Policy, rendered: ModelRequest) -> ModelRequest:
    """What every call of the policy starts from.

    Tool results are put back, and log-probabilities are requested where confidence comes from them.
    """
    messages = with_tool_results(rendered.messages) if policy.context else rendered.messages
    params = dict(rendered.params)
    if policy.needs_confidence and policy.signal.needs_log_probabilities:
        params["logprobs"] = True
    return replace(rendered, messages=messages, params=params)


def request_of_call(
    policy: Policy, base: ModelRequest, call: Call, *, revision: str, model: str | None = None
) -> ModelRequest:
    """``base`` (the call's own of ``Bases``) as this call sends it.

    Args:
        revision: of the model that is asked.
        model: the model asked in the call's place, a fallback of it; None: the call's own.
    """
    messages: list[dict[str, Any]] = [dict(message) for message in base.messages]
    if call.instruction is not None:
        messages = _with_instruction(messages, call.instruction)
    if call.note is not None:
        shown = [{"role": "assistant", "content": call.earlier}] if call.earlier else []
        messages += [*shown, {"role": "user", "content": call.note}]
    request = replace(base, model=model or call.model, revision=revision, messages=messages)
    # At temperature 0 it repeats its answer, which the journal gives for free.
    if call.draw and request.params.get("temperature") != 0:
        request = replace(request, sample=f"{request.sample}:again-{call.draw}")
    if call.purpose != "sample":
        return request
    # A draw of its own: at temperature 0 it would repeat its answer.
    temperature = request.params.get("temperature") or policy.signal.sample_temperature
    return replace(request, params={**request.params, "temperature": temperature}, sample=f"{request.sample}:second")


def _with_instruction(messages: Sequence[Mapping[str, Any]], instruction: str) -> list[dict[str, Any]]:
    """The instruction goes behind the first system message, since many models take only one; without any,
    to the front.
    """
    at = next(
        (i for i, m in enumerate(messages) if m.get("role") == "system" and isinstance(m.get("content"), str)), None
    )
    if at is None:
        return [{"role": "system", "content": instruction}, *(dict(m) for m in messages)]
    return [
        {**m, "content": f"{m['content']}\n\n{instruction}"} if i == at else dict(m) for i, m in enumerate(messages)
    ]
