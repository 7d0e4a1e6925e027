"""What a call may cost at most, and whether it still fits: values in, a decision out.

A cap holds because every call is counted at its highest possible price before it is sent, and at its real price after.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from types import MappingProxyType
from typing import Any

from optimizer.core.base.canonical import canonical_json
from optimizer.core.base.errors import BudgetTooSmall, InvalidInput, ModelFailed
from optimizer.core.base.values import Budget, Spend
from optimizer.core.models.language import ModelPrice, ModelRequest
from optimizer.core.models.wire import MESSAGE

MOST_MINUTES = 10 * 366 * 24 * 60
MOST_CALLS = 10**9
BYTES_PER_TOKEN = 4.0  # English text; for expectations only, since reserves count one token per byte
TOKENS_PER_MESSAGE = 16  # what a chat template may add around one message
# Parameters that reach the model as text; templates of some models write the last two into the prompt as they are.
READ_BY_THE_MODEL = ("tools", "tool_choice", "response_format", "reasoning_effort", "verbosity")
_READ_MESSAGE = frozenset(MESSAGE) - {"role"}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldBack:
    """Dollars and calls that the search must not spend."""

    usd: float = 0.0
    n_calls: int = 0
    what_for: str = "the confirmation"


def prompt_bytes(messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any]) -> int:
    """UTF-8 bytes of what the model reads: a byte-level tokenizer never makes more tokens than bytes."""
    texts = sum(_bytes(message[name]) for message in messages for name in _READ_MESSAGE.intersection(message))
    return texts + sum(_bytes(params.get(name)) for name in READ_BY_THE_MODEL)


def request_bytes(messages: Sequence[Mapping[str, Any]], params: Mapping[str, Any] = MappingProxyType({})) -> int:
    """``prompt_bytes``, and 16 per message for its frame: the contract's upper bound of input tokens."""
    return prompt_bytes(messages, params) + TOKENS_PER_MESSAGE * len(messages)


def output_limit(params: Mapping[str, Any], default: int | None) -> int | None:
    """The most tokens of the answer to one request, all its alternatives (``n``) together; None: nothing bounds it."""
    named = [int(params[name]) for name in ("max_tokens", "max_completion_tokens") if params.get(name)]
    limit = max(named) if named else default
    return limit * max(1, *(int(params.get(name) or 1) for name in ("n", "best_of"))) if limit else None


def reservation_usd(request: ModelRequest, price: ModelPrice | None, max_tokens: int | None = None) -> float:
    """The most that this request can cost, in dollars; 0.0 where the price is unknown.

    Only a study without a cap in dollars allows an unknown price.

    Args:
        max_tokens: the limit of the answer; default the request's own.
    """
    if price is None:
        return 0.0
    limit = max_tokens if max_tokens is not None else output_limit(request.params, None)
    return price.of(request_bytes(request.messages, request.params), int(limit or 0))


def checked_budget(budget: Budget) -> Budget:
    """The budget; raises InvalidInput for a cap that holds nothing: below 0, beyond all use or no number."""
    for name, value in asdict(budget).items():
        if value is not None and not 0 <= value < float("inf"):
            raise InvalidInput(
                f"A budget of {value} {name} is no budget; give a number of 0 or more, or leave it out for no cap of"
                " that kind."
            )
    if (budget.minutes or 0) > MOST_MINUTES:
        raise InvalidInput(
            f"A budget of {budget.minutes:g} minutes is longer than ten years; leave it out for no cap of that kind."
        )
    if (budget.calls or 0) > MOST_CALLS:
        raise InvalidInput(f"A budget has at most {MOST_CALLS:,} calls; leave it out for no cap of that kind.")
    return budget


def require_bounded(model: str, price: ModelPrice | None, max_tokens: int | None, budget: Budget) -> None:
    """Raises BudgetTooSmall under a dollar cap when nothing bounds what one call may cost."""
    if budget.usd is None:
        return
    if price is None:
        raise BudgetTooSmall(
            f"Model {model!r} has no known price, so a cap of ${budget.usd:g} could not be held. Give it a price in"
            " config/models.yaml (price: {input_usd_per_mtok, output_usd_per_mtok}), or set a budget in calls"
            " instead.",
            model=model,
        )
    if price.output_usd_per_mtok > 0 and not max_tokens:
        raise BudgetTooSmall(
            f"Calls of model {model!r} have no output limit, so a cap of ${budget.usd:g} could not be held. "
            "Set model.max_tokens in the family, or max_output_tokens in config/models.yaml.",
            model=model,
        )


def require_a_proposal(proposer: str, price: ModelPrice | None, max_tokens: int, rest: Budget) -> None:
    """Raises BudgetTooSmall where a study that has instructions written could not pay for one of them.

    Args:
        max_tokens: the limit of a proposal.
        rest: for the search, the confirmation set aside.
    """
    if rest.usd is None or price is None:
        return
    least = price.of(0, max_tokens)
    if _dollars(least) > _dollars(rest.usd):
        raise BudgetTooSmall(
            f"The budget cannot pay for one instruction: model {proposer!r} writes them, each reserves ${least:.4f} and"
            f" more, and ${rest.usd:.4f} is left for the search. Give more, name a cheaper proposer, or a strategy that"
            " has nothing written.",
            required_usd=least,
            left_usd=rest.usd,
        )


def denial_of(budget: Budget, spend: Spend, reserve_usd: float, held: HeldBack) -> str | None:
    """Why one more call would pass a cap of calls or dollars, as a sentence for the study's page; None: it fits.

    Minutes are the study's own to keep.

    Args:
        spend: used so far; calls in flight or lost count at their reserved price.
        reserve_usd: the most that the call can cost.
        held: what must be left over afterwards.
    """
    if budget.calls is not None and spend.n_calls + 1 + held.n_calls > budget.calls:
        return (
            f"The next call would pass the cap of {budget.calls} calls: {spend.n_calls} are"
            f" used{_held_back_text(held.n_calls, 'calls', held)}."
        )
    if budget.usd is not None and _dollars(spend.usd + reserve_usd + held.usd) > _dollars(budget.usd):
        return (
            f"The next call may cost up to ${reserve_usd:.6f} and could pass the cap of ${budget.usd:g}: "
            f"${spend.usd:.6f} is used or reserved{_held_back_text(round(held.usd, 6), 'dollars', held)}."
        )
    return None


def charge_after_failure(
    error: BaseException, most_usd: float, *, was_sent: bool = True, n_bytes: int = 0, of_service: bool = False
) -> float:
    """What an attempt without a whole answer counts as: nothing when the provider cannot have billed it, else the most
    that it may.

    Args:
        error: how it ended; any but a ModelFailed is an interrupt or a fault of ours, or its client has gone.
        was_sent: whether the request had left by then; a ModelFailed says so itself.
        n_bytes: of pieces that had come, which are billed whatever ended them.
        of_service: the limit is an hour's or a key's, which a provider's outage must not use up: a 5xx counts nothing.
            A study's cap holds even where one was billed.
    """
    is_refused = False
    if isinstance(error, ModelFailed):
        was_sent, status = error.members.get("sent") is not False, error.members.get("status_of_model")
        is_refused = error.kind == "rate_limit" or (status is not None and 400 <= status < (600 if of_service else 500))
    return most_usd if n_bytes or (was_sent and not is_refused) else 0.0


def worth_a_retry(kind: str, status: int | None) -> bool:
    """Whether the same request may succeed a moment later."""
    return kind in ("timeout", "rate_limit", "unreachable") or (kind == "http" and status is not None and status >= 500)


def _bytes(value: Any) -> int:
    if value is None:
        return 0
    return len(value.encode("utf-8", "surrogatepass")) if isinstance(value, str) else len(canonical_json(value))


def _dollars(amount: float) -> float:
    return round(amount, 12)  # sums of floats: 0.1 + 0.2 fits under 0.3


def _held_back_text(amount: float, unit: str, held: HeldBack) -> str:
    return f", and {amount} {unit} are held back for {held.what_for}" if amount else ""
