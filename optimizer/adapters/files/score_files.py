"""The file of a learned metric: a predictor as JSON, beside the family's file."""

from __future__ import annotations

import json
from pathlib import Path

from optimizer.core.base.canonical import read_json
from optimizer.core.base.errors import InvalidInput
from optimizer.core.predictor.predictor import Predictor


def write_predictor(file: Path, predictor: Predictor) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(predictor.to_data(), indent=1) + "\n", encoding="utf-8")


def read_predictor(file: Path) -> Predictor:
    """Raises InvalidInput where it is not there, or is no predictor of a probability."""
    try:
        predictor = Predictor.from_data(read_json(file.read_text(encoding="utf-8")))
    except OSError as error:
        raise InvalidInput(
            f"there is no learned metric in {file}: {error.strerror}; make it with detent family align"
        ) from error
    except ValueError as error:
        raise InvalidInput(f"the learned metric {file} cannot be read as JSON: {error}") from error
    if predictor.answers != "probability":
        raise InvalidInput(f"the learned metric {file} answers a {predictor.answers}, not a probability")
    return predictor
