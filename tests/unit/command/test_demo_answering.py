"""What the demo says of the models that answer is what config/models.yaml says."""

from __future__ import annotations

from pathlib import Path

from optimizer.core.family.family import Family
from optimizer.demo.ending import read_answering
from optimizer.demo.place import FAMILIES
from optimizer.host.config import load_settings
from optimizer.runtime import wiring

ROOT = Path(__file__).parents[3]


def families() -> list[Family]:
    known = wiring.load_families(load_settings("demo", home=ROOT)).families
    return [known[name] for name in FAMILIES]


def test_with_the_models_that_come_along_it_is_a_real_small_model_of_this_machine() -> None:
    answering = read_answering(load_settings("demo", home=ROOT), families())
    assert answering.is_embedded
    assert answering.words == "a real and very small language model on this machine"


def test_a_model_from_elsewhere_is_named_and_not_called_small_or_of_this_machine(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "models.yaml").write_text(
        "embedded: {litellm: openai/gpt-4o-mini}\n"
        "embedded-priced: {openai_compatible: 'http://me:secret@127.0.0.1:9/v1', model: llama3.2}\n"
    )
    answering = read_answering(load_settings("demo", home=tmp_path), families())
    assert not answering.is_embedded
    assert answering.words == "models of config/models.yaml: embedded (openai/gpt-4o-mini), embedded-priced (llama3.2)"
