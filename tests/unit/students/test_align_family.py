"""A scorer made from users' thumbs, judged on later ones, and refused where it does not tell these apart."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from optimizer.adapters.predictors import measures
from optimizer.adapters.text_metrics import build_scorer, read_predictor, write_predictor
from optimizer.core.base.errors import DatasetTooSmall, GateNotMet, InvalidFamily, InvalidInput
from optimizer.core.feedback.events import FeedbackEvent, Interaction
from optimizer.core.predictor.attach import FEATURES, Alignment, alignment_features
from optimizer.jobs.feedback.align_family import align_family
from tests.command_line import detent
from tests.rows.ingestion import Installation
from tests.stores import arm, feedback, interaction, keep_events, temporary_database
from tests.worlds.rated_world import judged_family

WORDS = ["the", "parcel", "was", "late", "because", "snow", "closed", "every", "road", "near", "our", "depot", "today"]
Likes = Callable[[int, int, random.Random], bool]  # (number, words of the answer, chance)


class Place:
    def __init__(self, here: Installation) -> None:
        self.store, self.clock = here.store, here.clock
        self.family = judged_family()

    def report(self, n: int, likes: Likes) -> None:
        """``n`` answers of 5 to 60 words, each with a thumb."""
        rng = random.Random(1)
        of = [arm(family=self.family.name, unit_hmac=f"u{i}") for i in range(n)]
        lengths = [rng.randint(5, 60) for _ in range(n)]
        answers = [" ".join(rng.choice(WORDS) for _ in range(length)) + "." for length in lengths]
        at = [self.clock.now() + timedelta(seconds=i) for i in range(n)]
        rows: list[Interaction | FeedbackEvent] = []
        for i in range(n):
            usual = {"of": of[i], "received_at": at[i], "occurred_at": at[i]}
            asked = interaction(f"in_{i}", input={"document": f"Why was parcel {i} late?"}, output=answers[i], **usual)
            liked = likes(i, lengths[i], rng)
            thumb = feedback(f"fb_{i}", of=of[i], interaction=asked.id, received_at=at[i], success=liked)
            rows += [asked, thumb]
        keep_events(self.store, rows)

    def align(self) -> Alignment:
        return align_family(self.family, store=self.store, clock=self.clock, learn=measures.learn_alignment)


@pytest.fixture
def place() -> Iterator[Place]:
    with temporary_database() as database:
        yield Place(Installation(database))


@pytest.fixture(scope="module")
def liked() -> Iterator[tuple[Place, Alignment]]:
    """A place whose users like what is short, for tests that only read it, and what was learned there."""
    with temporary_database() as database:
        place = Place(Installation(database))
        place.report(200, short)
        yield place, place.align()


def short(i: int, n_words: int, rng: random.Random) -> bool:
    """Users like what is short, nine times in ten."""
    return (n_words < 30) == (rng.random() < 0.9)


def test_what_users_like_is_learned_and_told_on_later_thumbs(liked: tuple[Place, Alignment]) -> None:
    _, found = liked
    assert (found.n_earlier, found.n_later) == (140, 60)
    assert found.area > 0.8
    assert found.low > 0.65
    assert found.length_area > 0.8  # it is the length, and the figure says so
    brief, long = (alignment_features({"document": "Why?"}, " ".join(WORDS[:4] * n)) for n in (2, 14))
    assert found.predictor.predict(brief) > 0.6 > 0.4 > found.predictor.predict(long)


def test_a_liking_that_turned_round_since_is_refused(place: Place) -> None:
    place.report(200, lambda i, n, rng: short(i, n, rng) == (i < 140))
    with pytest.raises(GateNotMet, match="was not aligned: on 60 later thumbs") as refusal:
        place.align()
    assert refusal.value.members["alignment"]["is_enough"] is False


@pytest.mark.parametrize(
    ("n", "likes", "says"),
    [
        pytest.param(99, short, "99 answers with their texts have a user's thumb, and 100", id="too few"),
        pytest.param(200, lambda i, n, rng: i % 12 > 0 or i < 100, r"now 55 and 5\)", id="too few down"),
    ],
)
def test_too_few_thumbs_are_said(place: Place, n: int, likes: Likes, says: str) -> None:
    place.report(n, likes)
    with pytest.raises(DatasetTooSmall, match=says):
        place.align()


def test_only_the_latest_thumb_of_a_user_counts_and_no_other_source(
    place: Place, liked: tuple[Place, Alignment]
) -> None:
    place.report(200, short)
    of, now = arm(family=place.family.name), place.clock.now() + timedelta(hours=1)
    _, found = liked

    def told(source: str) -> None:
        usual = {"of": of, "source": source}
        times = [(i, f"in_{i}", now + timedelta(seconds=i)) for i in range(200)]
        keep_events(
            place.store,
            [
                feedback(f"{source}_{i}", interaction=id, received_at=at, success=i % 2 == 0, **usual)
                for i, id, at in times
            ],
        )

    def rows() -> list[Any]:
        """What is learned from: numbers of each answer, whether it was liked, and by whom."""
        learned: list[Any] = []
        learn: Any = lambda *rows: learned.append(rows[:3]) or found  # noqa: E731
        align_family(place.family, store=place.store, clock=place.clock, learn=learn)
        return [list(each) for each in learned[0]]

    before = rows()
    told("judge")
    assert rows() == before
    told("user")
    numbers, are_liked, _ = rows()
    assert (len(numbers), are_liked) == (200, [i % 2 == 0 for i in range(200)])


def test_a_family_that_keeps_no_texts_is_not_aligned(place: Place) -> None:
    place.family = judged_family(privacy={"store": "metadata"})
    with pytest.raises(InvalidInput, match="no answer is kept"):
        place.align()


def test_every_feature_is_measured_of_any_texts() -> None:
    for input, answer in (({}, ""), ({"a": {"b": [1]}}, "x"), ({"a": "né 漢字"}, "漢字\n\n?")):
        found = alignment_features(input, answer)
        assert tuple(found) == tuple(FEATURES)
        assert all(isinstance(value, float) for value in found.values())


def test_the_scorer_reads_the_file_and_needs_no_expected_output(liked: tuple[Place, Alignment], tmp_path: Path) -> None:
    write_predictor(tmp_path / "aligned.json", liked[1].predictor)
    family = judged_family(judge=None, scorer={"aligned": {"weight": 1.0, "predictor": "aligned.json"}})
    assert family.needs_expected is False
    scorer = build_scorer(family, tmp_path)
    scores = [scorer.score({}, " ".join(WORDS[:4] * n), {"document": "Why was parcel 3 late?"}).value for n in (2, 14)]
    assert scores[0] > scores[1]
    data = json.loads((tmp_path / "aligned.json").read_text(encoding="utf-8"))
    (tmp_path / "aligned.json").write_text(json.dumps({**data, "trained_on": {}, "hash": None} | {}), encoding="utf-8")
    with pytest.raises(InvalidFamily, match="hash"):
        build_scorer(family, tmp_path)
    del data["hash"]
    (tmp_path / "aligned.json").write_text(json.dumps({**data, "trained_on": {}}), encoding="utf-8")
    assert build_scorer(family, tmp_path).version != scorer.version


@pytest.mark.parametrize(
    ("content", "says"),
    [
        pytest.param(None, "there is no learned metric", id="no file"),
        pytest.param("{", "cannot be read as JSON", id="no JSON"),
        pytest.param("[]", "This predictor cannot be used", id="no predictor"),
    ],
)
def test_a_file_that_is_no_scorer_is_a_fault_of_the_family(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / "aligned.json").write_text(content, encoding="utf-8")
    with pytest.raises(InvalidInput, match=says):
        read_predictor(tmp_path / "aligned.json")
    family = judged_family(judge=None, scorer={"aligned": {"weight": 1.0, "predictor": "aligned.json"}})
    with pytest.raises(InvalidFamily, match=says):
        build_scorer(family, tmp_path)


def test_a_scorer_without_its_file_is_refused_by_the_declaration() -> None:
    with pytest.raises(InvalidFamily, match="reads what `detent family align` has learned"):
        judged_family(judge=None, scorer={"aligned": 1.0})


def test_the_command_writes_the_file_and_says_what_to_declare(liked, tmp_path, monkeypatch):
    from optimizer.cli.session import Session

    place, found = liked
    monkeypatch.setattr(measures, "learn_alignment", lambda *rows: found)
    for name, value in (("store", place.store), ("clock", place.clock)):
        monkeypatch.setattr(Session, name, value)
    monkeypatch.setattr(Session, "family", lambda self, name: place.family)
    monkeypatch.setenv("DETENT_HOME", str(tmp_path))
    monkeypatch.setenv("DETENT_MORE_FAMILIES_DIRS", '["shared"]')
    name = place.family.name
    dry = detent("family", "align", name, "--dry-run")
    assert (dry.code, "a liked answer scores above a disliked one 0." in dry.err) == (0, True), dry.err
    assert list(tmp_path.rglob("*.json")) == []
    done = detent("family", "align", name, "--json")
    assert done.json["file"] == f"families/{name}/aligned.json"
    assert f"{{weight: 1.0, predictor: families/{name}/aligned.json}}" in done.err
    assert read_predictor(tmp_path / "families" / name / "aligned.json").answers == "probability"
    beside = tmp_path / "shared" / name
    beside.mkdir(parents=True)
    (beside / "family.yaml").write_text("")
    assert detent("family", "align", "its-former-name", "--json").json["file"] == f"shared/{name}/aligned.json"
    assert read_predictor(beside / "aligned.json").answers == "probability"
