"""What a decision about an item was worth, once it is known how good the item was."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optimizer.core.base.errors import InvalidInput
from optimizer.core.base.knob import is_share
from optimizer.core.family.metrics import metric

WORTH = 0.5  # of an item that is not processed in full, as of a middling one


@metric(parsers=("json",))
def processed_quality(example: Mapping[str, Any], decision: Any) -> float:
    """The quality of an item that is processed in full, .5 of any other.

    So leaving out a worse item gains, and leaving out a better one loses.

    Args:
        example: ``{"input", "expected"}``; ``expected.quality`` in [0, 1] is what the item turned out to be worth.
    Raises:
        InvalidInput: the quality is not known, or is no number from 0 to 1.
    """
    quality = example["expected"].get("quality")
    if not is_share(quality):
        raise InvalidInput(
            "What the item turned out to be worth is needed as expected.quality, a number from 0 to 1, not"
            f" {quality!r}."
        )
    return float(quality) if decision["processing_type"] == "full" else WORTH
