"""A unit's prompt as it is sent: one shape for prompt, render and snapshot, prepared except for the token."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from json.encoder import encode_basestring
from typing import Any

from api.http.bodies import QUICK_BYTES
from optimizer.content.core.policy.flags import REASON, Flags
from optimizer.content.core.policy.learned_knob import READ_BY_SCORE
from optimizer.content.core.policy.pipeline import ItemDecision, Pipeline, parse_pipeline
from optimizer.core.base.answers import etag_of
from optimizer.core.family.family import Family
from optimizer.core.family.masking import Masker
from optimizer.core.family.rendering import MAX_CHARS, fill, variables_in
from optimizer.core.family.variant import VARIABLE, Message, Variant
from optimizer.core.serving.assignment import (
    DEFAULT_COHORT_MINUTES,
    ArmKey,
    Assignment,
    Choice,
    Serving,
    TokenForm,
    TokenKeys,
    choose,
    cohort_start,
)
from optimizer.core.views.prompt import prompt_members


@dataclass(frozen=True, slots=True, kw_only=True)
class Prebuilt:
    """JSON of a prompt up to the token: ``head + token + '"}'``. The tag covers everything but the token."""

    head: bytes
    etag: str

    def with_token(self, token: bytes) -> bytes:
        return b'%b%b"}' % (self.head, token)

    def without_token(self) -> bytes:
        return self.head.removesuffix(b',"assignment":"') + b"}"


@dataclass(frozen=True, slots=True, kw_only=True)
class PromptTemplate:
    """JSON of a filled-in prompt but for its messages and its token, and the messages that are to be filled in.

    ``parts`` is that JSON as ``fill`` makes it of texts, up to the token; each text, escaped, goes to its ``places``.
    """

    messages: Sequence[Message]
    before: bytes
    after: bytes
    known: frozenset[str]  # names of variables that may be given
    parts: Sequence[bytes] = ()
    places: Sequence[tuple[int, str]] = ()  # in ``parts``, with the name of the variable

    @classmethod
    def of(cls, shape: Mapping[str, Any], declared: Iterable[str]) -> PromptTemplate:
        names = list(shape)
        at = names.index("messages")
        before, after = ({name: shape[name] for name in some} for some in (names[:at], names[at + 1 :]))
        head, tail = to_json(before)[:-1] + b',"messages":', b"," + to_json(after)[1:-1] + b',"assignment":"'
        messages: Sequence[Message] = shape["messages"]
        used = variables_in(messages)
        known, plain = frozenset((*used, *declared)), to_json(messages).decode()
        sign = next((sign for sign in map(chr, range(0xE000, 0xF900)) if sign not in plain), None)
        n_places = sum(len(VARIABLE.findall(message.get("content") or "")) for message in messages)
        if sign is None or len(plain) + n_places * QUICK_BYTES > MAX_CHARS:
            return cls(messages=messages, before=head, after=tail, known=known)
        marked = fill(messages, {name: f"{sign}{n}{sign}" for n, name in enumerate(used)})
        pieces = to_json(marked).decode().split(sign)  # texts and numbers of variables in turn
        parts = [piece.encode() for piece in pieces]
        parts[0] = head + parts[0]
        parts[-1] += tail  # which may be the same
        places = [(at, used[int(pieces[at])]) for at in range(1, len(pieces), 2)]
        return cls(messages=messages, before=head, after=tail, known=known, parts=parts, places=places)

    def filled_with(self, texts: Mapping[str, Any], token: bytes, more: Mapping[str, Any]) -> bytes | None:
        """The same bytes as ``filled`` gives for these variables once ``fill`` has filled them in.

        None where the variables are not those that the prompt needs, or are no texts of whole characters. Together they
        have at most QUICK_BYTES, so that nothing becomes too long.
        """
        if not self.parts or not self.known.issuperset(texts):
            return None
        parts = list(self.parts)
        for at, name in self.places:
            text = texts.get(name)
            if type(text) is not str:
                return None
            try:
                parts[at] = encode_basestring(text)[1:-1].encode()
            except UnicodeEncodeError:  # half a pair of surrogates
                return None
        parts += (token, _end(more))
        return b"".join(parts)

    def filled(self, messages: Sequence[Message], token: bytes, more: Mapping[str, Any]) -> bytes:
        """``more``: members behind the token."""
        return b"".join((self.before, to_json(messages), self.after, token, _end(more)))


def _end(more: Mapping[str, Any]) -> bytes:
    return b'",%b' % to_json(more)[1:] if more else b'"}'


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentOverride:
    """A content pipeline's champion as the environment's flags change it; it is served to every user and in no arm."""

    variant: Variant
    flags: Flags


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedFamily(Serving):
    """All that serving one family from memory needs.

    ``definition`` is None where its file cannot be read and never could be.
    """

    definition: Family | None
    variants: Mapping[str, Variant]  # champion, candidate, the one held back, and those of overrides
    ever_champion: frozenset[str]  # every variant that ever was champion
    environment: EnvironmentOverride | None = None
    compares_student: bool = False  # in its rollout or holdback; a student answers in chats alone
    _pipelines: dict[str, Pipeline] = field(default_factory=dict, compare=False)
    _prebuilt: dict[ArmKey, Prebuilt] = field(default_factory=dict, compare=False)
    _unfilled: dict[ArmKey, PromptTemplate] = field(default_factory=dict, compare=False)
    _forms: dict[ArmKey, tuple[Any, TokenForm]] = field(default_factory=dict, compare=False)  # with their seconds

    def choose(self, unit: str | None, unit_hmac: str | None, now: datetime, *, by_chat: bool = False) -> Choice:
        """What a unit is served; who calls the model itself stands in no arm where a student is compared."""
        if self.environment is not None:
            return self.champion_choice()
        choice = choose(self, unit, unit_hmac, now)
        is_outside = self.compares_student and not by_chat and choice.rollout is not None
        return self.champion_choice() if is_outside else choice

    def champion_choice(self) -> Choice:
        """The champion outside of any arm, as the environment leaves it."""
        if self.environment is None:
            return Choice(variant=self.champion.variant, role="champion")
        id = self.environment.variant.id
        return Choice(variant=id, role="champion" if id == self.champion.variant else "candidate", counted=False)

    def lease_of(self, choice: Choice) -> datetime | None:
        return self.rollout.lease_expires_at if choice.rollout is not None and self.rollout is not None else None

    def shape(self, choice: Choice) -> dict[str, Any]:
        """The contract's object without its assignment."""
        variant = self.variants[choice.variant]
        overridden = self.environment.flags.view(self.champion.variant) if self.environment is not None else None
        return {
            "family": self.name,
            "variant": choice.variant,
            "role": choice.role,
            "rollout": choice.rollout,
            "stage": choice.stage,
            "lease_expires_at": time_text(self.lease_of(choice)),
            **prompt_members(variant, self.definition),
            **({"reason": REASON, "overridden": asdict(overridden)} if overridden is not None else {}),
        }

    def pipeline(self, choice: Choice) -> Pipeline:
        """The policy of a family of kind policy, read once: a learned score is large."""
        pipeline = self._pipelines.get(choice.variant)
        if pipeline is None:
            pipeline = self._pipelines[choice.variant] = parse_pipeline(self.variants[choice.variant].policy)
        return pipeline

    def decide(self, choice: Choice, record: Mapping[str, Any], at: str) -> ItemDecision:
        """What the policy does with a record.

        A score reads masked texts, as an import keeps them, so that it equals the study's.

        Raises:
            InvalidInput: a value of the record is of the wrong kind,
                or the family's own mask takes too long for a text.
        """
        pipeline = self.pipeline(choice)
        if pipeline.score is not None and self.definition is not None and self.definition.privacy.rules:
            masker = Masker(self.definition.privacy.rules)
            record = {name: masker.mask(value) if name in READ_BY_SCORE else value for name, value in record.items()}
        return pipeline.decide(record, at=at)

    def prebuilt(self, choice: Choice) -> Prebuilt:
        prebuilt = self._prebuilt.get(choice.arm)
        if prebuilt is None:
            body = to_json(self.shape(choice))
            prebuilt = self._prebuilt[choice.arm] = Prebuilt(head=body[:-1] + b',"assignment":"', etag=etag_of(body))
        return prebuilt

    def unfilled(self, choice: Choice) -> PromptTemplate:
        """The open prompt of a family whose variants have messages."""
        template = self._unfilled.get(choice.arm)
        if template is None:
            declared = self.definition.inputs if self.definition is not None else ()
            template = self._unfilled[choice.arm] = PromptTemplate.of(self.shape(choice), declared)
        return template

    def token(
        self, choice: Choice, unit_hmac: str | None, *, now: datetime, rollout_now: datetime, keys: TokenKeys
    ) -> str:
        arm, second = choice.arm, (int(now.timestamp()), int(rollout_now.timestamp()), keys)
        form = self._forms.get(arm)
        if form is None or form[0] != second:
            cohort = cohort_start(rollout_now, self._cohort_minutes()) if choice.rollout is not None else None
            assignment = Assignment(
                family=self.name,
                variant=choice.variant,
                role=choice.role,
                rollout=choice.rollout,
                stage=choice.stage,
                issued_at=now,
                cohort_start=cohort,
            )
            form = self._forms[arm] = second, TokenForm.of(assignment, keys)
        return form[1].signed(unit_hmac)

    def _cohort_minutes(self) -> Any:
        if self.holdback is not None:
            return self.holdback.cohort_minutes
        frozen = self.rollout.settings.get("cohort_minutes") if self.rollout is not None else None
        return frozen or (
            self.definition.rollout.cohort_minutes if self.definition is not None else DEFAULT_COHORT_MINUTES
        )


def to_json(value: Any) -> bytes:
    """Compact UTF-8 JSON with keys in the order given."""
    return _ENCODER.encode(value).encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, Sequence | frozenset | set):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), allow_nan=False, default=_plain)


def time_text(at: datetime | None) -> str | None:
    return at.isoformat().replace("+00:00", "Z") if at is not None else None
