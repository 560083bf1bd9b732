"""Words that several errors share."""

from __future__ import annotations

import pytest

from parsers.errors import did_you_mean


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("layer", " (did you mean 'layers'?)"),
        ("LAYERS", " (did you mean 'layers'?)"),
        ("roofline", " (did you mean 'roofline'?)"),
        ("xyzzy", ""),
        ("", ""),
    ],
)
def test_near_name_is_suggested_and_a_far_one_is_not(name: str, ending: str) -> None:
    assert did_you_mean(name, ["layers", "roofline"]) == ending


def test_suggestion_does_not_depend_on_the_order_of_the_names() -> None:
    names = ["part_a", "part_b", "part_c"]
    assert did_you_mean("part_d", names) == did_you_mean("part_d", reversed(names)) == did_you_mean("part_d", {*names})


def test_nothing_is_suggested_where_there_is_nothing() -> None:
    assert did_you_mean("layers", []) == ""
