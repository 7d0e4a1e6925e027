"""A policy as people read it. Light, for the command line imports it at its start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

KEPT = ("hash", "trained_on")


def shown_policy(policy: Mapping[str, Any]) -> dict[str, Any]:
    """A policy for people: a predictor's numbers and words are replaced by its hash and what it was trained on."""
    if isinstance(score := policy.get("score"), Mapping) and isinstance(score.get("types"), Mapping):
        types = {name: _shown(entry) if isinstance(entry, Mapping) else entry for name, entry in score["types"].items()}
        policy = {**policy, "score": {**score, "types": types}}
    confidence = policy.get("confidence")
    if not isinstance(confidence, Mapping) or confidence.get("kind") != "predictor":
        return dict(policy)
    return {
        **policy,
        "confidence": {when: _shown(part) if isinstance(part, Mapping) else part for when, part in confidence.items()},
    }


def _shown(by_model: Mapping[str, Any]) -> dict[str, Any]:
    return {
        model: {name: data[name] for name in KEPT if name in data} if isinstance(data, Mapping) else data
        for model, data in by_model.items()
    }
