"""Strings found, kept out and allowed, compared with plain searching."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from rhapsode.matching import NO_TEXT, Allowed, Banned, Matcher, Only, encode

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
    _, allowed = Banned(Matcher([encode(s) for s in strings])).walk(0, encode(text))
    assert allowed == (not any(s in text for s in strings))


@settings(deadline=None)
@given(st.text("abcé☃", min_size=1, max_size=4), st.text("abcé☃", max_size=10))
def test_only_allows_whole_characters_of_the_alphabet(alphabet, text):
    state, allowed = Only(alphabet).walk(0, encode(text))
    assert allowed == (set(text) <= set(alphabet))
    assert state == 0 or not allowed


def test_only_wants_characters_finished():
    rule = Only("é☃")
    state, allowed = rule.walk(0, encode("☃")[:2])
    assert allowed
    assert [rule.walk(state, piece)[1] for piece in (encode("é"), NO_TEXT, encode("☃")[2:])] == [False, False, True]
    assert rule.walk(0, NO_TEXT) == (0, True)


def test_masks_tell_which_symbols_a_rule_allows():
    pieces = [b"a", b"b", b"ab", b"ba", NO_TEXT]
    banned = Allowed(Banned(Matcher([b"ab"])), pieces)
    assert banned.mask(0).tolist() == [True, True, False, True, True]
    after_a = banned.after(0, 0)
    assert banned.mask(after_a).tolist() == [True, False, False, False, True]
    assert banned.after(after_a, 4) == 0
