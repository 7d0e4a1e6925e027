"""A Variant's policy as typed parts: what the gateway executes. Every knob of a prompt family stands in ``KNOBS``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from optimizer.core.base.errors import Fault, InvalidInput, pointer_of
from optimizer.core.base.knob import Knob
from optimizer.core.policy import context, refinement, tiers, validator, votes
from optimizer.core.policy.context import PolicyContext, read_context
from optimizer.core.policy.refinement import Refinement, read_gate
from optimizer.core.policy.shown_examples import EXAMPLES, read_examples
from optimizer.core.policy.signals import Signal, read_signal
from optimizer.core.policy.tiers import Tiers, read_tiers
from optimizer.core.policy.validator import Validator, read_validator
from optimizer.core.policy.votes import Votes, read_votes

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
    DEADLINE,
)
_BY_NAME = {knob.name: knob for knob in KNOBS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """None where a part is absent. ``signal`` names the source of confidence, with or without tiers."""

    cascade: Tiers | None = None
    gate: Refinement | None = None
    votes: Votes | None = None
    validator: Validator | None = None
    context: PolicyContext | None = None
    examples: Mapping[str, int] = field(default_factory=dict)  # model > how many it is shown
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
        """Answers to one request that the gate puts before the family's judge at most."""
        return 1 + self.gate.retries if self.gate is not None and self.is_judged else 0

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
            faults.append(Fault(pointer=pointer_of([name]), detail=_unknown(str(name))))
        elif value is not None:
            fault = knob.fault(value)
            if fault is None:
                values[name] = value
            else:
                faults.append(Fault(pointer=pointer_of([name]), detail=fault))
    signal = read_signal(values["confidence"], faults) if "confidence" in values else Signal()
    cascade, votes_ = read_tiers(values, signal, faults), read_votes(values, faults)
    models = (cascade.models if cascade else ()) + (votes_.models if votes_ else ())
    parsed = Policy(
        cascade=cascade,
        gate=read_gate(values, faults),
        votes=votes_,
        validator=read_validator(values, faults),
        context=read_context(values),
        examples=read_examples(values, models, faults),
        signal=signal,
        deadline_s=float(values.get("deadline_s", DEFAULT_DEADLINE_S)),
    )
    if faults:
        many = "one fault" if len(faults) == 1 else f"{len(faults)} faults"
        raise InvalidInput(
            f"The policy has {many}: " + "; ".join(f"{f.pointer} {f.detail}" for f in faults) + ".", faults
        )
    return parsed


def _unknown(name: str) -> str:
    close = difflib.get_close_matches(name, _BY_NAME, n=1, cutoff=0.5)
    return f"there is no knob {name!r}; " + (
        f"did you mean {close[0]!r}?" if close else f"known are {', '.join(_BY_NAME)}"
    )
