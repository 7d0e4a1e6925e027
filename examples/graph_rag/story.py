"""The whole example, told step by step: extract, verify, repair, ask, search, roll out. Everything is asked over HTTP.

Two commands are typed beside it, since they have no route: the families are added before the service starts, and the
golden scenarios are asked before the rollout.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx

from examples.detent_families import DetentFamilies
from examples.graph_rag.answers import FAMILY, QUESTIONS, ask_all, best_of, search, use_until_decided
from examples.graph_rag.graph import RELATIONS, TYPES, Decide, Say, graph_of, n_right, repair
from examples.graph_rag.home import Home

TEXT = (Path(__file__).parents[1] / "text.md").read_text(encoding="utf-8")


async def tell(home: Home, *, decide: Decide, say: Say, rollout_s: float) -> dict[str, Any]:
    """Runs it on the service of this home; returns the figures."""
    families = DetentFamilies(home.url)
    try:
        say("1/5  Extract: entities of each sentence, relations of each pair")
        extraction = await families.extract(TEXT, types=TYPES, relations=RELATIONS)
        graph = graph_of(extraction)
        n_calls, n_bad = sum(len(one.answers) for one in extraction), sum(one.unreadable for one in extraction)
        right, stated = n_right(graph)
        say(
            f"  {len(graph['entities'])} entities, {len(graph['relations'])} relations from {n_calls} calls;"
            f" {right} of the {stated} relations that the text states; {n_bad} answers could not be read"
        )

        say("2/5  Verify: a model proposes repairs, a person decides each")
        repaired = await repair(families, TEXT, graph, decide=decide, say=say)
        after, _ = n_right(repaired.graph)
        say(
            f"  {repaired.n_proposed} proposed, {repaired.n_approved} approved, {repaired.n_rejected} rejected;"
            f" now {len(repaired.graph['relations'])} relations, {after} of them stated"
        )

        say("3/5  Ask: a query, what it finds in text and graph, an answer, the reader's word on it")
        questions, n_good = await ask_all(families, TEXT, repaired.graph)
        say(f"  {n_good} of {len(QUESTIONS)} answers were right; each correction is an example now")

        say("4/5  Search: one study for better answers")
        study = await search(families)
        say(
            f"  {study['outcome'] or study['status']}: {study['spend']['n_calls']} calls."
            f" {(study['confirmation'] or {}).get('summary', '') or study['error'] or ''}"
        )

        say("5/5  Roll out: half of the readers get the candidate, and what they say decides")
        rollout, served = await _roll_out(home, families, study, questions, say=say, within_s=rollout_s)
        return {
            "n_calls": n_calls,
            "n_unreadable": n_bad,
            "graph": graph,
            "stated": (right, after, stated),
            "proposed": repaired.n_proposed,
            "approved": repaired.n_approved,
            "rejected": repaired.n_rejected,
            "repaired": repaired.graph,
            "right": n_good,
            "study": study["outcome"],
            "rollout": rollout,
            "served": served,
        }
    finally:
        await families.close()


async def _roll_out(
    home: Home, families: DetentFamilies, study: Mapping[str, Any], questions: Any, *, say: Say, within_s: float
) -> tuple[str | None, dict[str, tuple[int, int]]]:
    """How the rollout ended, None where there was none; and per role how many answers were right, of how many."""
    variant = await best_of(families, study)
    if variant is None:
        say("  The study has nothing beside the champion, so there is nothing to roll out.")
        return None, {}
    repairs = json.loads(
        home.detent("family", "evaluate", FAMILY, "--suite", "golden", "--variant", variant, "--json", may_refuse=True)
    )
    missed = [check["name"] for suite in repairs["suites"] for check in suite["checks"] if check["verdict"] != "met"]
    say(f"  golden scenarios: {'not met: ' + ', '.join(missed) if missed else 'all checks are met'}")
    body = {"variant": variant, "study": study["id"]}
    try:
        started = await families.post(f"/v1/families/{FAMILY}/rollouts", body)
    except httpx.HTTPStatusError as refused:
        if refused.response.status_code != 409:
            raise
        say(f"  refused: {refused.response.json()['detail']}\n  A person starts it all the same, so it is FORCED.")
        forced = {**body, "confirm": FAMILY, "reason": "to show the rollout"}
        started = await families.post(f"/v1/families/{FAMILY}/rollouts", forced)
    await families.post(f"/v1/rollouts/{started['id']}/approve", {"reason": "diff reviewed"})
    rollout, right = await use_until_decided(families, started["id"], questions, within_s=within_s)
    served = {role: (sum(ones), len(ones)) for role, ones in right.items()}
    shown = ", ".join(f"{role} {good} of {n} right" for role, (good, n) in served.items())
    if rollout["ended_at"] is None:
        say(f"  {shown}; not decided within {within_s:g} s. Inconclusive never ships: it is rolled back by hand.")
        rollout = await families.post(f"/v1/rollouts/{started['id']}/rollback", {"reason": "the example ends"})
    else:
        say(f"  {shown}: {rollout['outcome']}. {rollout['reason'] or ''}")
    return rollout["outcome"], served
