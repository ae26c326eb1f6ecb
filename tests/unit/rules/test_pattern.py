"""Patterns: useful ones are compiled, those that could run for ever are refused."""

from __future__ import annotations

import pytest

from rules.pattern import MAXIMUM_SUBJECT, compile_pattern, matches

USEFUL = (
    "(?i).*liver.*",
    "CT (abdomen|thorax) [0-9]+ mm",
    "(portal )?venous",
    r"\(a+\)+",
    "[(a+)*]+x",
    "ab{3}c*?",
    "[]a+]*",
    "(?P<name>abc)+",
)
COSTLY = (
    "(a+)+",
    "(a*)*b",
    "(a|a)*",
    "(?:a{1,9}){9}",
    "((ab?))+",
    "(?P<n>a+)*",
    "(?i:a+)+",
    "(?=a+)*",
    ".*.*.*.*.*x",
    "a?" * 20,
    "(?mx)(a+) +",
)


@pytest.mark.parametrize("text", USEFUL)
def test_a_useful_pattern_is_compiled(text: str) -> None:
    assert compile_pattern(text).pattern == text


@pytest.mark.parametrize("text", COSTLY)
def test_a_pattern_that_could_run_for_ever_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="expected"):
        compile_pattern(text)


def test_a_pattern_that_is_none_or_too_long_is_refused() -> None:
    with pytest.raises(ValueError, match="expected a regular expression"):
        compile_pattern("(")
    with pytest.raises(ValueError, match="at most 200 characters, got 201"):
        compile_pattern("a" * 201)


def test_the_whole_text_must_match_and_a_very_long_text_never_does() -> None:
    pattern = compile_pattern("a+")
    assert matches(pattern, "a" * MAXIMUM_SUBJECT)
    assert not matches(pattern, "a" * (MAXIMUM_SUBJECT + 1))
    assert not matches(pattern, "ab")
