"""Strings found, kept out and allowed, compared with plain searching."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.matching import NO_TEXT, Matcher, Pieces, banned, encode, only, table_of

texts = st.text("abé", max_size=30)
strings = st.lists(st.text("abé", min_size=1, max_size=4), min_size=1, max_size=5, unique=True)


@settings(deadline=None)
@given(strings, texts)
def test_matcher_finds_what_ends_at_each_byte(strings, text):
    coded, data = [encode(s) for s in strings], encode(text)
    matcher, state = Matcher(coded), 0
    for end, byte in enumerate(data, 1):
        state = matcher.step(state, byte)
        ending = [i for i, s in enumerate(coded) if data[:end].endswith(s)]
        assert list(matcher.found[state]) == sorted(ending, key=lambda i: -len(coded[i]))
        depth = max(n for n in range(end + 1) if any(s.startswith(data[end - n : end]) for s in coded))
        assert matcher.depth[state] == depth


def test_aab_is_found_in_aaab():
    matcher, state = Matcher([b"aab"]), 0
    for byte in b"aaab":
        state = matcher.step(state, byte)
    assert matcher.found[state] == (0,)


@settings(deadline=None)
@given(strings, texts)
def test_banned_allows_what_completes_none(strings, text):
    _, objected = banned(Matcher([encode(s) for s in strings])).run([encode(text)])
    assert objected != (not any(s in text for s in strings))


@settings(deadline=None)
@given(st.text("abcé☃", min_size=1, max_size=4), st.text("abcé☃", max_size=10))
def test_only_allows_whole_characters_of_the_alphabet(alphabet, text):
    state, objected = only(alphabet).run([encode(text)])
    assert objected == (not set(text) <= set(alphabet))
    assert state == 0 or objected


def test_only_wants_characters_finished():
    rule = only("é☃")
    state, objected = rule.run([encode("☃")[:2]])
    assert not objected
    assert [rule.run([piece], state)[1] for piece in (encode("é"), NO_TEXT, encode("☃")[2:])] == [True, True, False]
    assert rule.run([NO_TEXT]) == (0, False)


def test_tables_tell_which_symbols_a_rule_allows_and_where_they_lead():
    table = table_of(banned(Matcher([b"ab"])), Pieces([b"a", b"b", b"ab", b"ba", NO_TEXT]))
    assert table.mask(0).tolist() == [True, True, False, True, True]
    after_a = table.after(0, 0)
    assert table.mask(after_a).tolist() == [True, False, False, False, True]
    assert table.after(after_a, 4) == 0
    assert table.after(after_a, 1) == table.after(0, 2)  # what was in the prompt may be what is banned


@settings(deadline=None)
@given(strings, st.lists(st.text("abé", min_size=1, max_size=3), min_size=1, max_size=6, unique=True), st.data())
def test_tables_follow_the_bytes(strings, pieces, data):
    """Over any symbols, in any order of asking, as the automaton does over their bytes."""
    automaton = banned(Matcher([encode(s) for s in strings]))
    table, state, expected = table_of(automaton, Pieces([encode(p) for p in pieces])), 0, 0
    for id in data.draw(st.lists(st.integers(0, len(pieces) - 1), max_size=12)):
        expected, objected = automaton.run([encode(pieces[id])], expected)
        assert (table.mask(state)[id], table.after(state, id)) == (not objected, expected)
        state = table.after(state, id)
