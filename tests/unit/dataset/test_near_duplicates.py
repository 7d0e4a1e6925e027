"""Which inputs say nearly the same: the definition, and that bands let none of them escape."""

from __future__ import annotations

import random

import pytest

from optimizer.core.dataset.near_duplicates import are_near_duplicates, bands_of, shingles_of

WORDS = [f"word{i}" for i in range(3000)]
POLICY = " ".join(WORDS[:300])
LETTER = "my parcel of last week has not come yet and the courier says that it was never sent can you look"
PARCEL = "私の荷物はまだ届いていませんので調べてください"


def alike(one: dict[str, object], other: dict[str, object]) -> bool:
    return are_near_duplicates(shingles_of(one), shingles_of(other))


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ({"text": LETTER}, {"text": LETTER.upper().replace(" ", ",  ")}, True),
        ({"text": LETTER}, {"text": LETTER.replace("parcel", "package")}, True),
        ({"text": LETTER}, {"text": " ".join(LETTER.split()[::-1])}, False),
        ({"text": "where is my parcel"}, {"text": "where is my invoice"}, False),
        ({"text": "thank you"}, {"text": "thank you"}, False),
        ({"policy": POLICY, "text": LETTER}, {"policy": POLICY, "text": "please close my account and say so"}, False),
        ({"policy": POLICY, "text": LETTER}, {"policy": POLICY, "text": f"hello {LETTER}"}, True),
        ({"name": "Ada", "text": LETTER}, {"name": "Grace", "text": LETTER}, False),
        ({"policy": POLICY, "text": "refund possible?"}, {"policy": POLICY, "text": "opening hours?"}, False),
        ({"policy": POLICY, "text": "refund possible?"}, {"policy": POLICY, "text": "Refund possible?"}, True),
        ({"text": LETTER}, {"body": LETTER}, False),
        ({"text": PARCEL}, {"text": PARCEL[:-1]}, True),
        ({"text": PARCEL}, {"text": "口座を閉じる方法を教えていただけますでしょうか"}, False),
    ],
    ids=[
        *("case and signs", "one word of twenty", "the same words in another order", "one word of four"),
        *("too short to tell", "a long text that all bring along", "the same beside it", "another short field beside"),
        *("short questions beside a long text", "the same short question beside it", "other fields"),
        *("without spaces", "without spaces, another"),
    ],
)
def test_inputs_are_near_duplicates_where_every_longer_field_is(one, other, expected):
    assert alike(one, other) is expected
    assert alike(other, one) is expected


def test_near_duplicates_share_a_band_and_other_texts_hardly_ever_do() -> None:
    draw, n_near, n_shared = random.Random(3), 0, 0
    for _ in range(60):
        words = draw.choices(WORDS, k=60)
        near, other = [*words], draw.choices(WORDS, k=60)
        for place in draw.sample(range(60), 3):
            near[place] = draw.choice(WORDS)
        one, two, far = (shingles_of({"text": " ".join(some)}) for some in (words, near, other))
        bands = set(bands_of(one))
        if are_near_duplicates(one, two):
            n_near += 1
            assert bands & set(bands_of(two))
        n_shared += bool(bands & set(bands_of(far)))
    assert n_near > 30
    assert n_shared == 0


def test_a_text_without_pairs_has_no_bands_and_bands_are_the_same_for_ever() -> None:
    assert bands_of(shingles_of({"text": "thank you"})) == []
    assert bands_of(shingles_of({"text": "one two one two one two"}))[:2] == ["acfd7d08661a1c0c", "d3e53abf22cba077"]
