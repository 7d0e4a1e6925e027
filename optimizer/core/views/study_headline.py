"""A Study as people and programs see it, and what came of it in sentences: the first one of its report, the lift beside
what selection promised, the cost, what comes next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

from optimizer.core.base.answers import members_of
from optimizer.core.base.phrasing import count, dollars, signed, signed_interval
from optimizer.core.base.values import Aim, Spend
from optimizer.core.evaluation.gates import IMPROVED, LOW_BASE, confidence_of, improvement_of, missed_gates
from optimizer.core.evaluation.judging.calibration import GATE as JUDGE_GATE
from optimizer.core.search.move import HEADINGS
from optimizer.core.search.run_off import chosen_on, read_frozen
from optimizer.core.search.strategy import REPLAY
from optimizer.core.search.study import UNFINISHED, UNPRICED, Study, Trial, points_in_words, ranked, study_view
from optimizer.core.views.variant import variant_name


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyView(Study):
    """``is_interrupted``: it says that it runs, and no process is there to run it: that one was stopped or killed.
    ``findings`` of one that ended: ``trivial_baselines`` (what needs no model and scores how much; for read-texts),
    ``leaks`` (refused proposals), ``run_off``. ``trigger``: why it started by itself, None where a person asked for it.
    """

    is_interrupted: bool = False

    @property
    def state(self) -> str:
        if self.is_interrupted:
            return f"{self.status}: interrupted"
        return self.status + (f": {self.outcome}" if self.outcome else "")

    @property
    def choice(self) -> str:
        """How the winner was chosen, where others score higher on dev."""
        if self.aim == "quality":
            return "It gained most over the champion on the examples that all leaders answered."
        steps = (self.confirmation or {}).get("sequence", ())
        if not steps and read_frozen(self.findings) is None:
            if self.findings is None and REPLAY in self.strategy:  # a key that reads no texts is told of no sequence
                return ""
            return (
                f"The study was for {self.aim}: of the leaders that are not worse than the champion by more than the"
                f" margin on the dev rows that they all answered, this is the {_MOST[self.aim]}."
            )
        place = "last that passed" if any(step["passed"] for step in steps) else "safest"
        return (
            "The study was for cost: the proposals were chosen by predictions on rows to which they were not fitted,"
            f" and not by these scores. The holdout tests them safest first, up to one that does not pass; this is the"
            f" {place}."
        )

    @property
    def then(self) -> str:
        """The next command."""
        if self.is_interrupted:
            resume = f"detent study resume {self.id}, or with `detent serve`"
            return f"no process runs it; what was answered is kept. Go on: {resume}"
        return next_step(self)


def view_of_study(study: Study, *, is_worker_running: bool = True) -> StudyView:
    return StudyView(
        **members_of(study_view(study)),
        is_interrupted=study.status in ("running", "confirming") and not is_worker_running,
    )


SAME = 0.05  # costs and times that differ by less are not told apart
_BETTER: Mapping[Aim, str] = {"quality": "improved on", "cost": "is cheaper than", "latency": "is quicker than"}
CALLED: Mapping[Aim, str] = {"quality": "improved", "cost": "cheaper", "latency": "quicker"}
_MOST: Mapping[Aim, str] = {"cost": "cheapest", "latency": "quickest"}
_BEAT: Mapping[Aim, str] = {
    "quality": "beat",
    "cost": "was cheaper, and not worse, than",
    "latency": "was quicker, and not worse, than",
}


def headline(study: Study, trials: Sequence[Trial], versions: Mapping[str, str] | None = None) -> str:
    """One sentence: what became of the search, or how it stands; of one that ended also how much of its space it
    tried.

    ``versions``: variant > its name in the family's file.
    """
    sentence = _outcome(study, trials, versions or {})
    points = points_in_words(study) if study.status == "finished" else None
    return sentence if points is None else f"{sentence.removesuffix('.')}; {points}."


def _outcome(study: Study, trials: Sequence[Trial], versions: Mapping[str, str]) -> str:
    family, winner = study.family, variant_name(study.winner, versions) if study.winner else None
    candidates = [t for t in trials if t.n and t.variant != study.champion]
    tried, where = count(len(candidates), "candidate"), chosen_on(study)
    if study.status == "failed":
        return f"The study of {family} failed: {(study.error or 'no reason was kept').rstrip('.')}."
    if study.move_to is not None and study.status == "finished":
        return _move(study, winner, tried)
    if study.mode == "confirm" and study.outcome in (None, "not_confirmed"):
        what = f"{winner}, nominated for {study.aim},"
        if study.status in UNFINISHED:
            return f"{what} is being confirmed on the sealed holdout of {study.family}."
        if study.status == "cancelled":
            return f"The confirmation of {winner} for {study.family} was cancelled."
        if study.confirmation is None:
            return f"{what} was not confirmed: the sealed holdout of {study.family} was not looked at."
        return f"{what} was not confirmed by the sealed holdout of {study.family}.{_missed(study)}"
    if study.status == "cancelled":
        return f"The study of {family} was cancelled after {tried}; {_best(study, trials, versions)}."
    if study.status == "confirming":
        how = f"{winner}, the best of {tried} on dev," if where == "dev" else f"what was proposed, from {winner} on,"
        return f"The search of {family} is over; {how} is being confirmed on the sealed holdout."
    if study.status == "queued" and not trials:
        return f"The study of {family} is queued."
    if study.status in UNFINISHED:
        return f"The study of {family} is {study.status}, {tried} compared so far; {_best(study, trials, versions)}."
    if study.outcome == "nominated":
        if float((study.confirmation or {}).get("confidence") or 0.0) < IMPROVED:
            return f"{winner} was nominated for {family}; {_not_yet_called(study)}."
        return f"{winner} {_BETTER[study.aim]} the champion of {family} and was nominated{_at_what(study, trials)}."
    if study.outcome == "not_confirmed" and study.confirmation is None:
        return (
            f"{winner}, the best of {tried}, beats the champion of {family} on {where}; the sealed holdout was not"
            " looked at."
        )
    if study.outcome == "not_confirmed":
        what = f"was the best of {tried} on dev" if where == "dev" else f"of {tried} went as far as any"
        return f"{winner} {what}, but the sealed holdout did not confirm it.{_missed(study)}"
    if study.outcome == "budget_exhausted":
        what = f"{winner} could be confirmed" if winner else "a candidate could be compared"
        return f"The budget of the study of {family} ended before {what}."
    if where != "dev" and not candidates:
        return (
            f"No improvement: nothing was proposed that is cheaper, and not worse, than the champion of {family}, so"
            " the holdout was not looked at."
        )
    return (
        f"No improvement: none of {tried} {_BEAT[study.aim]} the champion of {family} on {where}, so the holdout was"
        " not looked at."
    )


def _not_yet_called(study: Study) -> str:
    """Of a saving also which of its two tests is not sure enough."""
    figures: Mapping[str, Any] = study.confirmation or {}
    word = f"not yet called {CALLED[study.aim]}, for which {IMPROVED:g} is needed"
    if "saving_p" not in figures or "wished" in figures:
        return f"with a confidence of {_floored(float(figures.get('confidence') or 0.0))} it is {word}"
    claims = {f"it is {CALLED[study.aim]}": "saving_p", "its quality is not lower": "quality_p"}
    sure = {claim: confidence_of(figures[p], figures["looks"]) for claim, p in claims.items()}
    unsure = [f"that {claim} has a confidence of {_floored(x)}" for claim, x in sure.items() if x < IMPROVED]
    enough = [f"; that {claim} has {_floored(x)}, which is enough" for claim, x in sure.items() if x >= IMPROVED]
    return f"it is {word}: {' and '.join(unsure)}{''.join(enough)}"


def _floored(confidence: float) -> str:
    return f"{floor(1000 * confidence) / 1000:.3f}"


def _move(study: Study, winner: str | None, tried: str) -> str:
    """Of a study that looked for a way to another model, and has ended."""
    family, model = study.family, study.move_to
    move = (study.confirmation or {}).get("move")
    if move is not None:
        text = f"{HEADINGS[move['verdict']]} {family} from {move['from_model']} to {model} with {winner}"
        return f"{text}.{_missed(study)}"
    if study.outcome == "budget_exhausted":
        return f"The budget of the study of {family} ended before a variant with {model} was confirmed."
    if study.winner is None:
        return (
            f"None of {tried} with {model} answered every example that the champion of {family} answers, so the holdout"
            " was not looked at."
        )
    if study.confirmation is None:
        return f"{winner} is the best of {tried} for {family} with {model}; the sealed holdout was not looked at."
    return f"The sealed holdout could not tell whether to switch {family} to {model}.{_missed(study)}"


def _at_what(study: Study, trials: Sequence[Trial]) -> str:
    """What a better score costs beside the champion, in dollars and time of a call, where both were measured and
    differ: by the confirmation, which asked both anew, and by the search where that has no figure.
    """
    by_variant = {t.variant: t for t in trials}
    champion, winner = by_variant.get(study.champion), by_variant.get(study.winner or "")
    if study.aim != "quality" or champion is None or winner is None:
        return ""
    asked_anew: Mapping[str, Any] = study.confirmation or {}
    is_priced = UNPRICED not in (study.findings or {})  # what has no known price is not free
    on_dev = {
        "cost_usd": (winner.usd_per_example if is_priced else None, champion.usd_per_example),
        "p95_ms": (winner.p95_ms, champion.p95_ms),
    }
    words = {"cost_usd": "the time" if study.is_replayed else "the cost", "p95_ms": "the p95 latency"}
    parts = []
    for name, what in words.items():
        mine, theirs = (asked_anew.get(f"{arm}_{name}") for arm in ("winner", "champion"))
        is_anew = mine is not None and theirs is not None
        mine, theirs = (mine, theirs) if is_anew else on_dev[name]
        if mine is not None and theirs and abs(mine / theirs - 1) > SAME:
            parts.append(f"{_times(mine / theirs)} {what}{'' if is_anew else ' on dev'}")
    return f", at {' and '.join(parts)}" if parts else ""


def _times(ratio: float) -> str:
    if ratio < 0.01:
        return "less than a hundredth of" if ratio else "none of"
    return f"{ratio:,.0f} times" if ratio >= 10 else f"{ratio:.2g} times"


def _missed(study: Study) -> str:
    names = _names_missed(study)
    return f" Not met: {', '.join(names)}." if names else ""


def _names_missed(study: Study) -> list[str]:
    return [g["name"] for g in missed_gates((study.confirmation or {}).get("gates", ()))]


def lift_text(study: Study, looks_now: int | None) -> str | None:
    """The lift on the sealed holdout with its interval, the selection lift beside it, and the looks;
    None without a confirmation.

    Args:
        looks_now: how many studies have looked at these holdout examples by now.
    """
    figures: Mapping[str, Any] = study.confirmation or {}
    if figures.get("lift") is None or study.aim != "quality" or "move" in figures:
        return str(figures["summary"]) if figures.get("summary") else None
    on = count(int(figures["n"]), "sealed holdout example")
    sentence = (
        f"Holdout lift {signed(figures['lift'])}, 95 % interval"
        f" {signed_interval(figures['lift_low'], figures['lift_high'])},"
        f" p {figures['p']:.3g}: {figures['champion_mean']:.3f} to {figures['winner_mean']:.3f} on {on}."
    )
    if (selection := figures.get("selection_lift")) is not None:
        sentence += (
            f" On dev, where it was chosen for being best, it led by {signed(selection)}, a figure that flatters on"
            " average."
        )
    looks = figures.get("looks")
    if looks is not None:
        confidence = f"confidence 1 − {looks} p = {confidence_of(figures['p'], looks):.3f}"
        times = (
            "This was the first look at these examples"
            if looks == 1
            else f"This was look {looks} at these examples, hence {confidence}"
        )
        later = f"; by now there have been {looks_now}" if looks_now is not None and looks_now > looks else ""
        sentence += f" {times}{later}."
    return sentence


def cost_text(study: Study, spent: Spend) -> str:
    """Calls and dollars of everything, against the caps."""
    calls = spent.n_calls
    of_calls = f" of {study.budget.calls:,}" if study.budget.calls is not None else ""
    of_usd = f" of {dollars(study.budget.usd)}" if study.budget.usd is not None else ""
    free = f", {study.spend.n_from_journal:,} more answered from the journal" if study.spend.n_from_journal else ""
    took = "So far it took" if study.status in UNFINISHED else "It took"
    return (
        f"{took} {calls:,}{of_calls} {'call' if calls == 1 and not of_calls else 'calls'} and"
        f" {dollars(spent.usd)}{of_usd}{free}."
    )


def next_step(study: Study) -> str:
    """The command that goes on from here."""
    family = study.family
    if study.status in UNFINISHED:
        return f"detent study show {study.id} (again), or: detent study cancel {study.id}"
    if study.status in ("cancelled", "failed"):
        return f"detent study resume {study.id}"
    if study.outcome == "nominated" and study.winner:
        return f"detent variant diff {family} {study.winner}; then detent rollout start {family} {study.winner}"
    if study.outcome == "not_confirmed" and study.winner and study.confirmation is None:
        return f"what a look at the sealed holdout costs: {_another_look(study)}"
    if study.move_to is not None and study.outcome in ("not_confirmed", "no_improvement"):
        again = f"detent study run {family} --move-to {study.move_to}"
        verdict = (study.confirmation or {}).get("move", {}).get("verdict")
        if verdict != "cannot_tell":
            return f"another search, such as {again} --strategy joint, or another model"
        forced = f"detent rollout start {family} {study.winner} --confirm {family}"
        return (
            f"import more examples (detent import FILE --family {family}) and ask again: {again}; or a person starts it"
            f" as forced, and users' outcomes tell: {forced}"
        )
    if study.outcome == "not_confirmed" and study.winner and _names_missed(study) == ["n"]:
        forced = f"detent rollout start {family} {study.winner} --confirm {family}"
        return (
            "only the number of holdout examples falls short: import more, where there are too few, and look again"
            f" ({_another_look(study)}); or a person starts it as forced: {forced}"
        )
    if study.outcome == "not_confirmed" and study.winner and _names_missed(study) == [JUDGE_GATE]:
        return (
            f"it starts on evidence once people vouch for its judge (detent judge show {family} says whether they do):"
            f" detent rollout start {family} {study.winner}"
        )
    if study.outcome == "not_confirmed" and study.winner and not has_decided(study):
        return f"the look could not tell; what another one costs: {_another_look(study)}"
    if study.outcome == "not_confirmed" and study.winner and (saved := _saved_instead(study)) is not None:
        return f"it costs {saved:.0%} less: detent study nominate {study.id} {study.winner} --aim cost --dry-run"
    if study.outcome == "not_confirmed" and study.winner:
        return (
            f"the winner was not confirmed on the holdout; look at it all the same: detent variant diff {family}"
            f" {study.winner}"
        )
    if study.outcome == "budget_exhausted" and study.winner:
        return f"what a look at the sealed holdout costs: {_another_look(study)}"
    if study.outcome == "budget_exhausted":
        return f"the same search with more to spend: detent study run {family} --dry-run says how much it takes"
    if study.aim != "quality":
        return (
            f"on dev nothing {CALLED[study.aim]} was within the margin; what a look at a point of the front on the"
            f" sealed holdout costs: detent study nominate {study.id} VARIANT --aim {study.aim} --dry-run"
        )
    return f"nothing was better; another search: detent study run {family} --dry-run"


def has_decided(study: Study) -> bool:
    """Whether its look at the holdout stands. One that could not measure, or scored fewer examples than the gates ask
    for, may be taken again. The judge's gate is read anew each time.
    """
    gates = [g for g in missed_gates((study.confirmation or {}).get("gates", ())) if g["name"] != JUDGE_GATE]
    is_told = any(g["verdict"] == "fail" for g in gates) and all(g["name"] != "n" for g in gates)
    return study.outcome == "nominated" or not gates or is_told


def _another_look(study: Study) -> str:
    aim = "" if study.aim == "quality" else f" --aim {study.aim}"
    return f"detent study confirm {study.family} {study.winner}{aim} --dry-run"


def _saved_instead(study: Study) -> float | None:
    """The share of the champion's dollars a call that a winner saves which was not confirmed as better; None where the
    family's gates would not take it for the aim cost either, or its study does not say what they ask of a saving.
    """
    figures: Mapping[str, Any] = study.confirmation or {}
    gates = {gate["name"]: gate for gate in missed_gates(figures.get("gates", ()))}
    champion, winner = figures.get("champion_cost_usd"), figures.get("winner_cost_usd")
    if study.aim != "quality" or study.is_replayed or not {"improvement"} <= {*gates} <= {"improvement", "confidence"}:
        return None
    if champion is None or winner is None or figures["lift"] <= -figures["margin"]:
        return None
    if figures["champion_mean"] < LOW_BASE:  # the gate asked for a gain in points there
        return None
    saved = improvement_of("cost", champion, winner)
    return saved if saved is not None and saved >= (gates["improvement"]["required"] or 0.0) else None


def _best(study: Study, trials: Sequence[Trial], versions: Mapping[str, str]) -> str:
    if study.winner:
        return f"best on dev so far: {variant_name(study.winner, versions)}, not confirmed"
    measured = ranked(trials)
    if not measured:
        return "none has met every dev example" if any(t.n for t in trials) else "nothing has been measured"
    if measured[0].variant == study.champion:
        return "nothing leads the champion on dev"
    return f"{variant_name(measured[0].variant, versions)} leads on dev, not confirmed"
