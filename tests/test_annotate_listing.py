"""The models in words, and what they compute at published size, on the meta device."""

from __future__ import annotations

import re
import warnings

import pytest

from annotate.listing import costs_by_component, description, listing
from annotate.models import MODELS, model

pytest.importorskip("torch")
pytest.importorskip("diffusers")

with warnings.catch_warnings():  # of libraries as they are imported: nothing of ours
    warnings.simplefilter("ignore")
    from tests.tiny import quiet

pytestmark = quiet


def test_list_has_every_model_in_a_line_that_fits() -> None:
    lines = listing().splitlines()
    assert [line.split()[0] for line in lines[2:]] == list(MODELS)
    assert max(map(len, lines)) < 140


@pytest.mark.parametrize(
    ("name", "part", "teraflops"),
    [(name, part, count) for name in MODELS for part, count in model(name).golden.teraflops.items()],
)
@pytest.mark.slow(3)
def test_operations_of_a_forward_at_published_size(name: str, part: str, teraflops: float) -> None:
    calls, flops, batch = costs_by_component(model(name))[part]
    assert flops / calls / max(batch, 1) / 1e12 == pytest.approx(teraflops, rel=1e-3)


@pytest.mark.slow(1)
def test_description_has_a_row_per_component_and_their_sum() -> None:
    text = description("llama2-7b")
    (count,) = re.findall(r"^all +([\d,]+) ", text, re.MULTILINE)
    assert int(count.replace(",", "")) == sum(model("llama2-7b").parameters.values())
    assert model("llama2-7b").source in text
