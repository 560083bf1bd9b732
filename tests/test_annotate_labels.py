"""What ranges say comes back as it was written, whatever else a trace says; reading it needs nothing heavy."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from annotate.labels import FIELDS, ModuleLabel, module_text, parse_field, parse_module, parse_run, run_text, version_of
from annotate.models import MODELS

ROOT = Path(__file__).resolve().parents[1]
NAMES = st.text(max_size=20)


@given(
    st.builds(
        ModuleLabel,
        name=NAMES.filter(bool),
        role=NAMES.filter(bool),
        cls=NAMES,
        component=st.none() | NAMES.filter(bool),
        attention=st.none() | NAMES.filter(bool),
        parameters=st.integers(0, 2**63),
        level=NAMES.filter(bool),
        told=NAMES,
    )
)
def test_labels_come_back_as_they_were_written(label: ModuleLabel) -> None:
    assert parse_module(module_text(label)) == label


@given(st.dictionaries(st.text(), st.none() | st.booleans() | st.integers() | st.text()))
def test_runs_come_back_as_they_were_written(run: dict[str, Any]) -> None:
    assert parse_run(run_text(run)) == run


HOSTILE = ("", "{}", "[1]", "null", '{"name":3}', '{"name":', "[" * 100_000, '{"name":"x","parameters":"many"}', "NaN")


@given(
    st.sampled_from(["", "ttinsys/1 module ", "ttinsys/2 module ", "ttinsys/2 run ", "ttinsys/3 module ", "ttinsys/"]),
    st.text(),
)
def test_no_text_makes_a_reader_fail(prefix: str, text: str) -> None:
    for said in (prefix + text, *(prefix + hostile for hostile in HOSTILE)):
        label, run, field, version = parse_module(said), parse_run(said), parse_field(said), version_of(said)
        assert label is None or (
            said.startswith(("ttinsys/1 module ", "ttinsys/2 module ")) and isinstance(label.parameters, int)
        )
        assert run is None or said.startswith("ttinsys/2 run ")
        assert field is None or field in FIELDS or field.startswith("shape.")
        assert version is None or said.startswith("ttinsys/")


@pytest.mark.parametrize(
    ("text", "version"),
    [("ttinsys/1 q_len", 1), ("ttinsys/12 call", 12), ("ttinsys/ x", None), ("other/1 x", None), ("ttinsys/²", None)],
)
def test_version_of_a_text(text: str, version: int | None) -> None:
    assert version_of(text) == version


def python(code: str, **environment: str) -> str:
    inherited = {key: value for key, value in os.environ.items() if key != "NVTX_INJECTION64_PATH"}
    command = [sys.executable, "-W", "ignore", "-c", code]
    done = subprocess.run(
        command, cwd=ROOT, env={**inherited, **environment}, capture_output=True, text=True, check=True
    )
    return done.stdout


def test_declaring_models_needs_no_torch() -> None:
    code = "import sys; from annotate.models import MODELS, model; found = [model(n).request('full') for n in MODELS];"
    code += "print(len(found), sorted(sys.modules.keys() & {'torch', 'diffusers', 'transformers', 'nvtx', 'numpy'}))"
    assert python(code) == f"{len(MODELS)} []\n"


def test_labels_need_the_standard_library_alone() -> None:
    code = "import sys; before = set(sys.modules); import annotate.labels;"
    code += "new = {name.partition('.')[0] for name in set(sys.modules) - before};"
    code += "print(sorted(new - sys.stdlib_module_names))"
    assert python(code) == "['annotate']\n"


@pytest.mark.slow(2)
def test_nothing_is_attached_where_no_tool_listens() -> None:
    pytest.importorskip("nvtx")
    pytest.importorskip("torch")
    code = "from torch import nn; from annotate.hooks import annotate, nvtx; module = nn.Linear(1, 1)\n"
    code += "with annotate(module): print(nvtx().active, 'forward' in vars(module))"
    assert python(code) == "False False\n"
