"""A model is one file: found by lying there, checked against what it is called, and declared without torch."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from annotate.errors import UnknownModel
from annotate.models import MODELS, STUDY, model

ROOT = Path(__file__).resolve().parents[1]

TOY = '''
"""A model of one linear layer."""

from annotate.models.spec import Golden, Model, Part, Request

PARTS = {"denoiser": Part("torch.nn.Linear", {"in_features": 3, "out_features": 4})}


def assemble(parts):
    return parts["denoiser"]


def generate(denoiser, request):
    import torch

    return [denoiser(torch.ones(request.batch, 3)) for _ in range(request.steps)][-1]


MODELS = (
    Model(
        name="NAME",
        title="Toy",
        full=PARTS,
        tiny=PARTS,
        assemble=assemble,
        generate=generate,
        requests={"full": Request(steps=2), "tiny": Request(steps=2)},
        parameters={"denoiser": 3 * 4 + 4},
        # Two steps; a linear of 3 by 4 is 2 * 3 * 4 FLOPs.
        golden=Golden(steps=2, ranges={"linear": 2}, lengths=set(), teraflops={"denoiser": 24e-12}),
        source="written for this test",
    ),
)
'''

BEFORE = "import annotate.models, sys; annotate.models.__path__.append(sys.argv[1])\n"


def python(code: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run code in a process of its own, whose models lie in `folder`, too."""
    command = [sys.executable, "-W", "ignore", "-c", BEFORE + code, str(folder)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


def test_file_in_the_folder_of_models_is_a_model_and_declaring_it_imports_no_torch(tmp_path: Path) -> None:
    (tmp_path / "toy_net.py").write_text(TOY.replace("NAME", "toy-net"))
    done = python(
        "from annotate.models import MODELS, model\n"
        "print(len(MODELS), model('toy-net').request('tiny', steps=3).steps, model('toy-net').golden.steps)\n"
        "print(sorted(sys.modules.keys() & {'torch', 'diffusers', 'transformers', 'numpy'}))\n",
        tmp_path,
    )
    assert (done.stdout, done.stderr) == (f"{len(MODELS) + 1} 3 2\n[]\n", "")


@pytest.mark.slow(3)
def test_file_in_the_folder_of_models_is_listed_described_and_runs(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    (tmp_path / "toy.py").write_text(TOY.replace("NAME", "toy-2x"))
    run = "from annotate.run import command; command.main([*sys.argv[2:], '--device', 'cpu'], standalone_mode=False)\n"
    listed = python(run.replace("*sys.argv[2:]", "'--list'"), tmp_path)
    assert [line.split()[:3] for line in listed.stdout.splitlines() if line.startswith("toy")] == [
        ["toy-2x", "0.00", "B"]
    ]
    done = python(run.replace("*sys.argv[2:]", "'--model', 'toy-2x', '--size', 'tiny', '--warmup', '0'"), tmp_path)
    assert "run 1: " in done.stdout, done.stderr
    assert "2 steps" in done.stdout
    wrong = python("from annotate.models import model; model('toy')\n", tmp_path)
    assert wrong.stderr.splitlines()[-1].endswith("no model toy: toy.py declares toy-2x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TOY.replace("NAME", "other"), "toy.py declares the model other: call it toy or toy-SIZE, or rename the file"),
        ("", "toy.py declares no model: give it MODELS, a tuple of Model"),
        (
            TOY.replace("NAME", "toy").replace("title=", 'study="Toy", title='),
            f"toy.py: study='Toy' is not a model of the study: there are {', '.join(STUDY)}",
        ),
    ],
)
def test_file_whose_model_is_not_named_after_it_is_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "toy.py").write_text(text)
    done = python("from annotate.models import model; model('sdxl')\n", tmp_path)
    assert done.stderr.splitlines()[-1] == f"ValueError: {tmp_path}/{said}"


def test_models_of_the_study_come_first_in_its_order() -> None:
    rows = [found.study for found in MODELS.values() if found.study]
    assert list(dict.fromkeys(rows)) == list(STUDY)
    assert list(MODELS)[: len(STUDY) + 2] == [
        "stable-diffusion", "imagen", "muse", "parti", "parti-3b", "sdxl", "make-a-video", "phenaki", "llama2-7b",
        "llama2-70b",
    ]  # fmt: skip


def test_golden_numbers_lie_beside_every_model() -> None:
    for name, found in MODELS.items():
        assert found.golden.steps >= 2, name
        assert sum(found.golden.ranges.values()) > 100, name
        assert {role for role, _, _ in found.golden.lengths} <= found.golden.ranges.keys(), name
        assert found.golden.teraflops.keys() <= found.parameters.keys(), name
    counted = {name for name, found in MODELS.items() if found.golden.teraflops}
    assert counted >= {"stable-diffusion", "make-a-video", "imagen"}


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("stable-difusion", "no model stable-difusion: did you mean stable-diffusion? There are stable-diffusion, "),
        ("nothing-like-it", "no model nothing-like-it: there are stable-diffusion, imagen, "),
        ("wan", "no model wan: wan.py declares wan-1.3b and wan-14b"),
        ("Stable_Diffusion", "no model Stable_Diffusion: did you mean stable-diffusion? There are "),
    ],
)
def test_unknown_model_gets_the_nearest_name_and_the_list(name: str, said: str) -> None:
    with pytest.raises(UnknownModel) as raised:
        model(name)
    assert str(raised.value).startswith(said)
