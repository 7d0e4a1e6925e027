"""A cascade between a short and a long prompt of one model:
a study finds from when on the short one is sure enough, the gateway serves it.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import httpx

from optimizer.core.base.phrasing import signed, signed_interval, threshold
from optimizer.core.base.values import ExampleResult
from optimizer.core.dataset.examples import Example
from optimizer.core.evaluation.comparison import bootstrap_interval
from optimizer.core.family.family import Family
from optimizer.core.family.rendering import few_shot
from optimizer.core.models.language import ModelPrice
from optimizer.core.search.study import Study
from optimizer.demo.place import Addresses, Place
from optimizer.demo.rollouts import DemoCandidate
from optimizer.demo.screen import Screen
from optimizer.demo.stories import Bar, Story, same_for_less
from optimizer.demo.studies import POLL_S, queue_study, watch_study
from optimizer.ports import Store

N_EXAMPLES = 24  # in the prompt that is to become cheaper: labels in turn, no two of one parameter name
LONGEST_SHOWN = 160  # characters of an example
N_FIRST_REQUESTS = 3  # a rollout does not start without earlier requests
N_LAST_REQUESTS = 3
DEPLOYED_WITHIN_S = 90.0  # an approved rollout is served with the worker's next tick, some seconds away
ENDED_WITHIN_S = 600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StatedPrice:
    """What config/models.yaml says that the family's model costs; ``is_for_show``: in truth it costs nothing."""

    of_model: ModelPrice | None
    is_for_show: bool


class CascadeDemo:
    """``prepare`` makes a dear prompt the champion, ``begin`` queues the study,
    which works while other things are shown, ``show`` waits for it.
    """

    def __init__(
        self,
        *,
        screen: Screen,
        place: Place,
        family: Family,
        price: StatedPrice,
        store: Store,
        rows: Sequence[Example],
        addresses: Addresses,
    ) -> None:
        self._screen, self._place, self._family, self._price, self._store = screen, place, family, price, store
        self._rows = rows  # what users send
        self._api = httpx.Client(base_url=addresses.api, timeout=30.0, trust_env=False)
        self._gateway = httpx.Client(base_url=addresses.gateway, timeout=120.0, trust_env=False)
        self._study: str | None = None
        self.winner: str | None = None  # once the study has ended

    def prepare(self) -> None:
        """A prompt with many examples becomes the champion, by a person's decision."""
        name, say = self._family.name, self._screen.say
        say(f"Meanwhile the second family, {name}: its prompt has {N_EXAMPLES} examples, and it is dear. No user")
        say("depends on it yet, so a person promotes it past the gates, which is recorded as forced:")
        for n in range(N_FIRST_REQUESTS):
            self._ask(self._rows[n], user=f"user-{n}")
        # The champion's prompt with `N_EXAMPLES` released training examples, stored by the route that people use.
        labels = self._family.output.labels or ()
        field = self._family.output.field
        by_label: dict[Any, list[Example]] = {label: [] for label in labels}
        names: set[str] = set()
        with self._store.read() as tx:
            train = self._store.examples.of_split(tx, self._family.name, split="train")
        for example in sorted(train, key=lambda example: example.id):
            is_short = len(str(example.input["parameter"])) <= LONGEST_SHOWN
            if example.released and is_short and example.group not in names:
                names.add(example.group)
                by_label[example.expected[field]].append(example)
        examples = [
            few_shot(self._family, by_label[label][n]) for n in range(N_EXAMPLES // len(labels)) for label in labels
        ]
        served = self._api.get(f"/v1/families/{self._family.name}").raise_for_status().json()
        body = {
            "from": served["champion"]["variant"],
            "examples": [{"id": e.id, "input": dict(e.input), "output": e.output} for e in examples],
            "note": f"{N_EXAMPLES} examples",
        }
        answer = self._api.post(f"/v1/families/{self._family.name}/variants", json=body)
        variant = str(answer.raise_for_status().json()["variant"])
        quiet = {"show": lambda line: "champion (" in line}
        self._screen.command(
            "rollout", "start", name, variant, "--confirm", name, "--reason", "the prompt that was there", **quiet
        )
        self._screen.command("rollout", "approve", name, "--reason", "diff reviewed", **quiet)
        self._wait_for_deployment()
        forced = ("--confirm", name, "--reason", "no user depends on it yet")
        self._screen.command("rollout", "promote", name, *forced, **quiet)

    def begin(self) -> None:
        """The second search, of when the short prompt is sure enough."""
        short, long = self._family.model.tiers
        n_short = self._family.variant().policy["examples"][short]
        self._screen.say(
            f"The second search: may {n_short} of the {N_EXAMPLES} examples of {self._family.name} do for most"
            f" requests? The same model twice: {short} is shown {n_short}, {long} all."
        )
        self._study = queue_study(
            self._screen, self._family.name, self._place.cascade_definition, self._place.settings.home
        )

    def careless_edit(self) -> DemoCandidate:
        """The champion without its examples."""
        name = self._family.name
        self._screen.say("A colleague saves the money at once, and drops the examples. It is rolled out later.")
        answer = self._screen.command(
            "variant",
            "create",
            name,
            "--from",
            "champion",
            "--without-examples",
            "--note",
            "cheaper",
            "--json",
            show=lambda line: False,
        )
        return DemoCandidate(family=name, variant=str(json.loads(answer)["variant"]), is_nominated=False)

    def show(self) -> Story:
        """The study's end, in figures; what it found is executed."""
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
        n = len((study.dataset or {}).get("train", ()))
        say(
            f"  {(study.outcome or study.status).replace('_', ' ')} after {study.spend.n_calls} calls. The search, on"
            f" {n} training examples:"
        )
        say(f"    {study.spend.remark or 'it said nothing'}")
        if study.outcome != "nominated" or study.winner is None:
            summary = (study.confirmation or {}).get("summary")
            say(f"    {summary or 'The sealed examples were not looked at.'}")
            say(
                "  So nothing is proposed here, and every request goes on to the long prompt. Inconclusive never ships."
            )
            return same_for_less(study)
        self.winner = study.winner
        figures = study.confirmation or {}
        say, price = self._screen.say, self._price.of_model
        bars = sealed_bars(study, ("the long prompt alone", "the cascade that was found"), store=self._store)
        if price is not None:
            stated, end = (
                ("one declared for showing", " The model here costs nothing.")
                if self._price.is_for_show
                else ("the one", "")
            )
            per_million = f"${price.input_usd_per_mtok:g} and ${price.output_usd_per_mtok:g} per million"
            say(f"  Dollars: tokens are measured; the price is {stated} in config/models.yaml ({per_million}).{end}")
        say(f"  On {figures['n']} sealed examples{'':24}$ per 1,000 calls   right answers (95 % interval)")
        for bar in bars:
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
        self._execute(study.winner)
        return same_for_less(study, bars=bars)

    def close(self) -> None:
        self._api.close()
        self._gateway.close()

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
        """Runs rows that were held out of the import: the holdout stays sealed."""
        say = self._screen.say
        with self._store.read() as tx:
            record = self._store.variants.get(tx, self._family.name, winner)
        assert record is not None
        policy = record.variant.policy
        say(
            f"  {winner}: tiers {' > '.join(policy['tiers'])}, accept {threshold(policy['accept'])}. A rollout would"
            " take it from here; executed now by name:"
        )
        say(
            '$ POST /v1/chat/completions {"model": "'
            + self._family.name
            + '", "detent": {"variant": "'
            + winner
            + '", "variables": {...}}}',
            "bold cyan",
        )
        for example in self._rows[:N_LAST_REQUESTS]:
            answer = self._ask(example, variant=winner)
            detent = answer["detent"]
            text = str(example.input["parameter"])
            say(f"  {text[:70] + (' …' if len(text) > 70 else '')}")
            say(
                f"    {answer['choices'][0]['message']['content']!r} by {' > '.join(detent['tiers'])}; {detent['why']};"
                f" ${1000 * detent['cost_usd']:.4f} per 1,000 such calls"
            )

    def _ask(self, example: Example, *, user: str | None = None, variant: str | None = None) -> dict[str, Any]:
        """The gateway's answer. It may take a moment to hear of a new variant."""
        detent: dict[str, Any] = {"variables": dict(example.input)} | (
            {"variant": variant} if variant is not None else {}
        )
        body: dict[str, Any] = {"model": self._family.name, "messages": [], "detent": detent} | (
            {"user": user} if user is not None else {}
        )
        answered: dict[str, Any] = self._gateway.post("/v1/chat/completions", json=body).raise_for_status().json()
        return answered


def sealed_bars(study: Study, names: tuple[str, str], *, store: Store) -> tuple[Bar, ...]:
    """Champion and winner on the sealed examples, each with the 95 % interval over other examples of the kind;
    none without a confirmation.
    """
    with store.read() as tx:
        results = store.studies.results(tx, study.id, "confirmation")
    arms = [results.get(study.champion, []), results.get(str(study.winner), [])]
    return tuple(bar_of(name, arm, seed=study.seed) for name, arm in zip(names, arms, strict=True)) if all(arms) else ()


def bar_of(name: str, results: Sequence[ExampleResult], *, seed: int) -> Bar:
    """Mean score, its 95 % interval, and dollars per 1,000 requests (None where nothing was paid)."""
    scores = [result.score for result in results if result.score is not None]
    interval = bootstrap_interval(scores, seed=seed)
    usd = 1000 * sum(result.cost_usd for result in results) / len(results)
    return Bar(name=name, score=sum(scores) / len(scores), low=interval.lower, high=interval.upper, usd=usd or None)
