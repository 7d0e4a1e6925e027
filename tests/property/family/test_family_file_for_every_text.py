"""What `detent family create` writes is read again as what was meant."""

from __future__ import annotations

from hypothesis import example, given, strategies as st

from optimizer.adapters.files.family_positions import read_yaml
from optimizer.jobs.families.create_family import as_yaml

# Line ends and characters that do not print, often: in a text of all characters they are rare.
TEXTS = st.text(
    st.one_of(
        st.sampled_from("ab: -#|>\"'\\\t\n\r\x0b\x0c\x1b\x7f\x85\xa0\u2028\ufeff\ufffe😀"), st.characters(codec="utf-8")
    )
)


@given(st.lists(TEXTS.filter(lambda text: "\0" not in text), min_size=1))
@example(["First.\nName\u2028the topic.\n"])
@example(["word " * 500 + "\x1b" + " word" * 500])
def test_every_text_is_read_from_the_file_as_it_was_given(texts):
    data = {"labels": texts, "prompt": {"content": texts}}
    source = read_yaml(as_yaml(data))
    assert (source.faults, source.data) == ((), data)
