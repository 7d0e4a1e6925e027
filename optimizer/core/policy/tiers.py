"""A cascade as it is executed: which models are asked in turn, and which confidence lets an answer go out.

``core/search/cascade`` replays the same knobs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from optimizer.core.base.errors import Fault, pointer_of
from optimizer.core.base.knob import Knob, model_names
from optimizer.core.policy.attempts import Signal

DEFAULT_ACCEPT = 0.95
DEFAULT_AUDIT_SHARE = 0.02
MOST_TIERS = 4

TIERS = Knob(
    name="tiers",
    kind="list",
    meaning=(
        "Models asked in turn, cheapest first, at most four; each further one makes hard requests better, dearer and"
        " slower."
    ),
)
ACCEPT = Knob(
    name="accept",
    kind="share",
    default=DEFAULT_ACCEPT,
    meaning=(
        "Confidence from which a tier's answer is taken; raising it sends more to the tiers behind it: dearer, slower,"
        " and better where they are."
    ),
)
_ACCEPT_OF = tuple(
    Knob(
        name=f"accept.{n}",
        kind="share",
        meaning=(
            f"The same for the {word} tier where it differs from accept; raising it sends more to the tiers behind it:"
            " dearer, and better where they are."
        ),
    )
    for n, word in ((2, "second"), (3, "third"))
)
REFINE = Knob(
    name="refine",
    kind="share",
    meaning=(
        "Confidence from which a tier below accept is asked once more to improve its answer, and the better of its two"
        " is taken; raising it sends more to the tiers behind it instead: dearer, and better where they are. At most"
        " accept; absent: no refining."
    ),
)
SKIP = Knob(
    name="skip",
    kind="share",
    meaning=(
        "Confidence predicted before a call below which its tier is not asked; raising it spares cheap calls that come"
        " to nothing and sends more to the tiers behind it: quicker, mostly dearer. Needs a predictor; absent: no tier"
        " is left out."
    ),
)
CONFIDENCE = Knob(
    name="confidence",
    kind="data",
    default={"kind": "log_probability"},
    meaning=(
        "Where confidence comes from: {kind: log_probability}, {kind: agreement, temperature: 0.7} or {kind: predictor,"
        " before, after}. It has no direction of its own; thresholds found for one signal mean nothing for another."
    ),
)
STUDENTS = Knob(
    name="students",
    kind="data",
    meaning=(
        "Which student answers as a tier, by the tier's name: the hash of what a study taught it. A tier whose model is"
        " a student and that is not named here is passed over."
    ),
)
REFUSE = Knob(
    name="refuse",
    kind="flag",
    default=False,
    meaning=(
        "What becomes of a request of which a student is not sure; true: no tier is asked, and the answer says that it"
        " is refused: cheaper, fewer answers, and the tiers behind it are asked for audits and where it is passed over;"
        " false: they answer."
    ),
)
FALL_BACK = Knob(
    name="fall_back",
    kind="flag",
    default=True,
    meaning=(
        "Whether the best answer so far goes out when all stronger tiers fail; true: fewer errors, some weaker answers;"
        " false: the request fails."
    ),
)
AUDIT_SHARE = Knob(
    name="audit_share",
    kind="share",
    default=DEFAULT_AUDIT_SHARE,
    meaning=(
        "Share of requests that ask all tiers once the answer is out, for records without bias; raising it costs more"
        " money and lets thresholds be searched sooner; users wait no longer."
    ),
)
KNOBS = (TIERS, ACCEPT, *_ACCEPT_OF, REFINE, SKIP, CONFIDENCE, STUDENTS, REFUSE, FALL_BACK, AUDIT_SHARE)


def has_student(policy: Mapping[str, Any]) -> bool:
    """Whether one of its tiers is a student."""
    return bool(policy.get(STUDENTS.name))


@dataclass(frozen=True, slots=True, kw_only=True)
class Tiers:
    """``accept`` holds one threshold for each model but the last, whose answer is always taken.

    ``students``: by tier the hash of the student that answers as it. ``refuse``: what a student is not sure of is
    refused; no tier behind it answers.
    """

    models: tuple[str, ...]
    accept: tuple[float, ...]
    refine: float | None = None
    skip: float | None = None
    fall_back: bool = True
    audit_share: float = DEFAULT_AUDIT_SHARE
    students: Mapping[str, str] = field(default_factory=dict)
    refuse: bool = False


def stands(confidence: float | None, accept: float) -> bool:
    """Whether a tier's answer is taken. Without a confidence it never is, whatever ``accept``."""
    return confidence is not None and confidence >= accept


def read_tiers(values: Mapping[str, Any], signal: Signal, faults: list[Fault]) -> Tiers | None:
    """The cascade of well-typed knobs; None without tiers or with one. What is wrong goes to ``faults``."""
    models = model_names("tiers", values, faults)
    if len(models) > MOST_TIERS:
        faults.append(
            Fault(
                pointer="/tiers",
                detail=f"a cascade has at most {MOST_TIERS} tiers, and these are {len(models)}; leave some out",
            )
        )
    accept = tuple(
        float(values.get(name, values.get("accept", DEFAULT_ACCEPT))) for name in ("accept", "accept.2", "accept.3")
    )
    refine, skip = values.get("refine"), values.get("skip")
    limits = accept[: max(1, len(models) - 1)]
    if refine is not None and refine > min(limits):
        faults.append(
            Fault(
                pointer="/refine",
                detail=(
                    f"refine is {refine:g} and accept {min(limits):g}, so it could never apply; lower refine to accept"
                ),
            )
        )
    if skip is not None and signal.kind != "predictor":
        faults.append(
            Fault(
                pointer="/skip",
                detail=(
                    "skip compares a confidence predicted before the call, and the confidence here is of kind"
                    f" {signal.kind}; use a predictor, or leave skip out"
                ),
            )
        )
    students = _read_students(models, values, faults)
    if values.get(REFUSE.name) and not students:
        detail = "refuse is of a student, and students names none; leave refuse out"
        faults.append(Fault(pointer=pointer_of([REFUSE.name]), detail=detail))
    if len(models) < 2:
        return None
    return Tiers(
        models=models,
        accept=accept[: len(models) - 1],
        refine=refine,
        skip=skip,
        fall_back=values.get("fall_back", True),
        audit_share=float(values.get("audit_share", DEFAULT_AUDIT_SHARE)),
        students=students,
        refuse=values.get(REFUSE.name, False),
    )


def _read_students(models: Sequence[str], values: Mapping[str, Any], faults: list[Fault]) -> dict[str, str]:
    students: dict[str, str] = {}
    for tier, id in values.get(STUDENTS.name, {}).items():
        at = pointer_of([STUDENTS.name, tier])
        if not isinstance(id, str) or not id:
            faults.append(Fault(pointer=at, detail=f"a student is named by its hash, as a study gives it, not {id!r}"))
        elif tier not in models[:-1]:
            detail = f"{tier!r} is no tier that another stands behind; name one of the tiers but the last"
            faults.append(Fault(pointer=at, detail=detail))
        else:
            students[str(tier)] = id
    if students and (knob := student_fault(values)) is not None:
        faults.append(Fault(pointer=pointer_of([knob]), detail=f"{NO_SECOND_ANSWER}; leave {knob} out"))
    return students


NO_SECOND_ANSWER = (
    "a student gives the same answer however often it is asked, so nothing may ask it again or let it vote"
)


def student_fault(policy: Mapping[str, Any]) -> str | None:
    """The first knob of a policy beside which no student can be a tier; None where there is none."""
    return next(
        (
            name
            for name, value in policy.items()
            if value is not None and (name == REFINE.name or name.split(".")[0] in ("gate", "votes"))
        ),
        None,
    )
