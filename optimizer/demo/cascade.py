"""Five ways to answer the requests of one family: a bare prompt, searched examples, nearest ones, a student, and a
cascade of the student and the model. Two studies find them; then the gateway answers what users send by each.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import Any

from optimizer.core.base.phrasing import signed, signed_interval, threshold
from optimizer.core.family.family import Family
from optimizer.core.models.language import ModelPrice
from optimizer.core.policy.nearest import NEAREST
from optimizer.core.policy.tiers import REFUSE
from optimizer.core.search.strategy import EXAMPLES
from optimizer.core.search.study import TAUGHT_STUDENTS, Study, ranked
from optimizer.demo.comparison import ComparedVariant, GatewayComparison
from optimizer.demo.place import Place
from optimizer.demo.rollouts import DemoCandidate
from optimizer.demo.screen import Screen
from optimizer.demo.stories import Bar, Story, same_for_less
from optimizer.demo.studies import POLL_S, queue_study, watch_study
from optimizer.ports import Store

N_FIRST_REQUESTS = 3  # a rollout does not start without earlier requests
N_LAST_REQUESTS = 3
DEPLOYED_WITHIN_S = 90.0  # an approved rollout is served with the worker's next tick, some seconds away
ENDED_WITHIN_S = 600.0
WITHOUT_A_MODEL = ("Without a model", "majority answer", "nearest neighbour", "student  ")  # of `detent family worth`


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedPrice:
    """What config/models.yaml says that the family's model costs; ``is_for_show``: in truth it costs nothing."""

    of_model: ModelPrice | None
    is_for_show: bool


class CascadeDemo:
    """``search_prompts`` queues a study, of which ``prepare`` makes the best fixed examples the champion; ``begin``
    queues the study of the cascade, which works while other things are shown, and ``show`` waits for it.
    """

    def __init__(
        self,
        *,
        screen: Screen,
        place: Place,
        family: Family,
        price: StatedPrice,
        store: Store,
        comparison: GatewayComparison,
    ) -> None:
        self._screen, self._place, self._family, self._price, self._store = screen, place, family, price, store
        self._comparison = comparison
        self._study: str | None = None
        self._prompts: list[ComparedVariant] = []
        self.winner: str | None = None  # once the study has ended

    def search_prompts(self) -> None:
        """The short search of the second family, before that of the first."""
        name, definition = self._family.name, self._place.examples_definition
        self._screen.say(f"First a short search for the second family, {name}. It tries sets of examples that every")
        self._screen.say("request is shown, then the 6, 4, 2 and 1 examples that are most like each request:")
        self._study = queue_study(self._screen, name, definition, self._place.settings.home)

    def prepare(self) -> None:
        """The best fixed examples become the champion, by a person's decision."""
        assert self._study is not None
        name, say = self._family.name, self._screen.say
        search = watch_study(self._screen, self._study, self._place.examples_definition, store=self._store)
        fixed, nearest = (
            next((trial for trial in ranked(search.trials) if trial.proposer == proposer), None)
            for proposer in (EXAMPLES, NEAREST)
        )
        if fixed is None:
            raise RuntimeError(f"the search found no examples for {name}. See `detent study show {search.study.id}`.")
        k = nearest.params["k"] if nearest is not None else 0
        self._prompts = [
            ComparedVariant(name="bare prompt", variant=search.study.champion),
            ComparedVariant(name=f"searched: the same {fixed.params['n_examples']} examples", variant=fixed.variant),
            ComparedVariant(
                name=f"nearest: the {k} most like the request" if nearest is not None else "nearest examples",
                variant=nearest.variant if nearest is not None else None,
                why=search.study.spend.remark or "",
            ),
        ]
        say(f"  The best on {fixed.n} dev examples, which are too few for a figure:")
        for one in self._prompts[1:]:
            say(f"    {one.name}: {one.variant or one.why}")
        say("These users fetch the prompt and fill it in themselves, so the one with the same examples for all serves.")
        say("No user depends on it yet: a person promotes it past the gates, which is recorded as forced.")
        for n in range(N_FIRST_REQUESTS):
            self._comparison.ask(self._comparison.rows[n], user=f"user-{n}")
        quiet = {"show": lambda line: "champion (" in line}
        why = ("--confirm", name, "--reason", "the prompt that was found")
        self._screen.command("rollout", "start", name, fixed.variant, *why, **quiet)
        self._screen.command("rollout", "approve", name, "--reason", "diff reviewed", **quiet)
        self._wait_for_deployment()
        forced = ("--confirm", name, "--reason", "no user depends on it yet")
        self._screen.command("rollout", "promote", name, *forced, **quiet)

    def begin(self) -> None:
        """The search for the requests that need no model."""
        name, say = self._family.name, self._screen.say
        say(f"Does {name} need a model? What its examples say, before anything is asked:")
        self._screen.command(
            "family", "worth", name, show=lambda line: line.startswith(WITHOUT_A_MODEL) or line.endswith("groups:")
        )
        student, model = self._family.model.tiers
        say(f"The second search: a {student} learns from released training examples. From when on is it sure enough to")
        say(f"answer in the place of {model}?")
        self._study = queue_study(self._screen, name, self._place.cascade_definition, self._place.settings.home)

    def careless_edit(self) -> DemoCandidate:
        """The champion without its examples."""
        name = self._family.name
        self._screen.say("A colleague saves money, and drops the examples. That is rolled out later.")
        options = ("--from", "champion", "--without-examples", "--note", "cheaper", "--json")
        answer = self._screen.command("variant", "create", name, *options, show=lambda line: False)
        return DemoCandidate(family=name, variant=str(json.loads(answer)["variant"]), is_nominated=False)

    def show(self) -> Story:
        """The study's end, in figures; then each way to answer on what users send."""
        assert self._study is not None
        study = watch_study(
            self._screen, self._study, self._place.cascade_definition, store=self._store, within_s=ENDED_WITHIN_S
        ).study
        say = self._screen.say
        if study.status != "finished":
            say(
                f"  It has not ended within {ENDED_WITHIN_S / 60:g} minutes. `detent serve --profile demo` goes on with"
                " it, and asks nothing twice."
            )
            return same_for_less(study)
        is_nominated = study.outcome == "nominated" and study.winner is not None
        say(
            f"  {(study.outcome or study.status).replace('_', ' ')} after {study.spend.n_calls} calls. The search says:"
        )
        say(f"    {study.spend.remark or 'nothing'}")
        price = self._price.of_model
        if price is not None:
            stated, end = (
                ("one declared for showing", " The model here costs nothing.")
                if self._price.is_for_show
                else ("the one", "")
            )
            per_million = f"${price.input_usd_per_mtok:g} and ${price.output_usd_per_mtok:g} per million"
            say(f"  Dollars: tokens are measured; the price is {stated} in config/models.yaml ({per_million}).{end}")
        if is_nominated:
            self.winner = study.winner
            self._say_confirmed(study)
        else:
            summary = (study.confirmation or {}).get("summary")
            say(f"    {summary or 'The sealed examples were not looked at.'}")
            say("  So nothing is proposed here, and every request goes to the model. Inconclusive never ships.")
        bars = self._comparison.compare(self._screen, [*self._prompts, *self._without_a_prompt(study)])
        say("  Where two intervals overlap, so few rows may not tell the two apart.")
        if self.winner is not None:
            self._execute(self.winner)
        return same_for_less(study, bars=bars)

    def _say_confirmed(self, study: Study) -> None:
        say, figures = self._screen.say, study.confirmation or {}
        say(f"  On {figures['n']} sealed examples{'':24}$ per 1,000 calls   right answers (95 % interval)")
        for bar in sealed_bars(study, ("the model with the searched prompt", "the cascade"), store=self._store):
            say(f"    {bar.name:<40}{bar.usd or 0.0:>15.4f}   {bar.score:.2f} ({bar.low:.2f} to {bar.high:.2f})")
        say(
            f"    saved{'':35}{figures['saving']:>14.0%}    difference {signed(figures['lift'], 2)}"
            f" ({signed_interval(figures['lift_low'], figures['lift_high'], digits=2)})"
        )
        say(
            f"    Verdict: nominated. Not worse by the margin of {figures['margin']:g} (p {figures['quality_p']:.2g}),"
            f" cheaper (p {figures['saving_p']:.2g}); every gate passed, and every gate is the product's."
        )
        say(
            "    The margin is this demo's own, wider than the default of at most 0.05: so few examples would seldom"
            " rule out that. More would."
        )

    def _without_a_prompt(self, study: Study) -> list[ComparedVariant]:
        """The student alone, which refuses what it knows no word of, and the cascade that was confirmed."""
        training: Any = (study.findings or {}).get(TAUGHT_STUDENTS) or {}
        students, why = training.get("students") or {}, " ".join((training.get("untaught") or {}).values())
        alone = None
        if students:
            policy = {"tiers": self._family.model.tiers, "students": students, "accept": 0, REFUSE.name: True}
            knobs = [part for name, value in policy.items() for part in ("--policy", f"{name}={json.dumps(value)}")]
            options = ("--from", study.champion, *knobs, "--note", "the student alone", "--json")
            answer = self._screen.command("variant", "create", self._family.name, *options, show=lambda line: False)
            alone = str(json.loads(answer)["variant"])
        return [
            ComparedVariant(name="student alone, which may refuse", variant=alone, why=why),
            ComparedVariant(
                name=f"cascade: {' > '.join(self._family.model.tiers)}", variant=self.winner, why="None was confirmed."
            ),
        ]

    def _wait_for_deployment(self) -> None:
        """Waits until the worker's tick has taken up the approved rollout: before that it cannot be promoted."""
        deadline = time.monotonic() + DEPLOYED_WITHIN_S
        while time.monotonic() < deadline:
            with self._store.read() as tx:
                rollout = self._store.rollouts.active(tx, self._family.name)
            if rollout is None or rollout.status != "approved":
                return
            time.sleep(POLL_S)
        raise RuntimeError(
            f"the worker did not take up the rollout of {self._family.name} within {DEPLOYED_WITHIN_S:g} seconds. See"
            " `detent status`."
        )

    def _execute(self, winner: str) -> None:
        """Shows what the gateway says of each of some requests of users."""
        say = self._screen.say
        with self._store.read() as tx:
            record = self._store.variants.get(tx, self._family.name, winner)
        assert record is not None
        policy = record.variant.policy
        say(
            f"  {winner}: tiers {' > '.join(policy['tiers'])}, accept {threshold(policy['accept'])}. A rollout would"
            " take it from here; executed now by name:"
        )
        extension = f'"detent": {{"variant": "{winner}", "variables": {{...}}}}'
        say(f'$ POST /v1/chat/completions {{"model": "{self._family.name}", {extension}}}', "bold cyan")
        for example in self._comparison.rows[:N_LAST_REQUESTS]:
            answer = self._comparison.ask(example, variant=winner)
            detent = answer["detent"]
            text = str(example.input["parameter"])
            others = "".join(
                f" (${1000 * other['cost_usd']:.4f} by {other['tier']})"
                for other in detent["others"]  # what each tier that was not asked would have cost
                if not other["asked"] and other["cost_usd"] is not None
            )
            say(f"  {text[:70] + (' …' if len(text) > 70 else '')}")
            say(
                f"    {answer['choices'][0]['message']['content']!r} by {detent['tier']}; {detent['why']};"
                f" ${1000 * detent['cost_usd']:.4f} per 1,000 such calls{others}"
            )


def sealed_bars(study: Study, names: tuple[str, str], *, store: Store) -> tuple[Bar, ...]:
    """Champion and winner on the sealed examples; none without a confirmation."""
    with store.read() as tx:
        results = store.studies.results(tx, study.id, "confirmation")
    arms = [results.get(study.champion, []), results.get(str(study.winner), [])]
    return tuple(Bar.of(name, arm) for name, arm in zip(names, arms, strict=True)) if all(arms) else ()
