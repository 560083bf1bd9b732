"""The study from a folder: what it has the data for is made, with hand-computed numbers; the rest is told."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import polars as pl
import pytest
from click.testing import CliRunner, Result

from tests.browser import needs_chromium, opened
from tests.build import TraceBuilder
from tests.labelled import Labelled
from ttinsys.cli import main
from ttinsys.study.captures import captures_in
from ttinsys.study.claims import CLAIMS
from ttinsys.study.items import ITEMS
from ttinsys.study.measures import MEASURES, figure_11
from ttinsys.study.reproduction import reproduced

ATTENTION = "spatial_attention"


def picture(attention: str, height: int, core_ns: int) -> Labelled:
    """One step of a Stable Diffusion: an attention of some length of time, and a convolution of 100 ns."""
    request = {"steps": 1, "height": height, "width": height, "batch": 1, "seed": 0}
    t = Labelled({"model": "stable-diffusion", "size": "full", "request": request, "attention": attention})
    for name, role in (("step", "other"), ("unet.attn.core", ATTENTION), ("unet.conv", "spatial_conv")):
        t.module(name, role, attention=ATTENTION if role == ATTENTION else None)
    t.call("step", 0, 100, step=0)
    length = (height // 8) ** 2
    t.call(
        "unet.attn.core", 10, 20, q_len=length, kv_len=length, flops=4000, bytes=10,
        gpu=[("fmha_cutlassF_f16_aligned", 1000, 1000 + core_ns)],
    )  # fmt: skip
    conv = ("implicit_convolve_sgemm", 1000 + core_ns, 1100 + core_ns)
    t.call("unet.conv", 30, 40, flops=8000, bytes=10, gpu=[conv])
    return t


def sweep_in(place: Path) -> Path:
    """A sweep over two sizes and both kinds of attention, with a point that failed."""
    sweep = place / "sweep"
    sweep.mkdir()
    points: list[dict[str, object]] = []
    for height, eager, fused in ((512, 200, 100), (1024, 1600, 200)):
        for attention, ns in (("eager", eager), ("sdpa", fused)):
            name = f"sd-{height}-{attention}.sqlite"
            picture(attention, height, ns).write(sweep / name)
            point = {"model": "stable-diffusion", "height": str(height), "attention": attention}
            run = {"wall_s": 1.5, "steps": 1, "peak_bytes": 7}
            points.append({"point": point, "status": "done", "trace": name, "ranges": 3, "runs": [run]})
    failed = {"model": "flux", "height": "512", "attention": "eager"}
    points.append({"point": failed, "status": "failed", "error": "flux does not fit into the memory of cuda"})
    (sweep / "sweep.json").write_text(json.dumps({"format": 1, "points": points}))
    return sweep


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The sweep, in a folder of the test's own."""
    return sweep_in(tmp_path)


@pytest.fixture(scope="module")
def reproduction(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Result]:
    """The folder of a reproduction of the sweep, which no test changes, and how the command ended."""
    place = tmp_path_factory.mktemp("reproduction")
    return place / "out", run(sweep_in(place), "-o", place / "out")


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str | None]:
    """What the sweep measures beside each claim, by the id of the claim."""
    _, beside = reproduced(captures_in(sweep_in(tmp_path_factory.mktemp("measured"))))
    return {each.claim.id: each.measured for each in beside}


def run(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["reproduce", *map(str, arguments)])


@pytest.mark.slow(2)
def test_claims_are_set_beside_what_was_measured(measured: dict[str, str | None]) -> None:
    # At 512 pixels: 300 ns eager, 200 ns fused, nothing idle; the convolution is half of the latter.
    assert measured["table-2/speedup/stable-diffusion"] == "1.50 (of busy time 1.50)"
    assert measured["table-2/speedup/imagen"] is None
    assert measured["figure-6/convolution-share"] == "50% (stable-diffusion)"
    assert measured["table-3/phase/stable-diffusion"] == "prefill (up to 4,096 queries)"
    # Four times the pixels: eager attention takes 8 times as long (exponent 1.5), fused twice (0.5).
    grows = "figure-9/faster-growing"
    assert measured[f"{grows}/eager"] == "attention (attention as pixels^1.50, convolution as pixels^0.00)"
    assert measured[f"{grows}/fused"] == "attention (attention as pixels^0.50, convolution as pixels^0.00)"


@pytest.mark.slow(2)
def test_what_is_missing_is_told_with_the_command_that_captures_it(reproduction: tuple[Path, Result]) -> None:
    out, done = reproduction
    assert done.exit_code == 0, done.output
    assert "Figure 11: temporal against spatial attention needs captures: python -m annotate.sweep" in done.stderr
    assert "does not fit into the memory" in done.stderr
    assert "Table II: speedup of fused attention" in done.stdout
    page = (out / "index.html").read_text()
    assert "does not fit into the memory" in page
    assert "--frames 8,16,32" in page


@pytest.mark.slow(2)
def test_tables_and_figures_are_beside_the_page(reproduction: tuple[Path, Result]) -> None:
    out, _ = reproduction
    tables = {path.name: pl.read_csv(path) for path in (out / "tables").iterdir()}
    (name,) = [name for name in tables if name.startswith("table-2")]
    whole = tables[name].filter(pl.col("part") == "sum")
    assert whole.select("before_ns", "after_ns", "speedup").rows() == [(300, 200, 1.5)]
    figures = [path.read_text() for path in (out / "figures").iterdir()]
    assert figures
    assert all(text.startswith("<svg") for text in figures)


@pytest.mark.slow(2)
def test_reproduction_that_is_there_is_kept_unless_forced_and_other_folders_always(
    reproduction: tuple[Path, Result], folder: Path, tmp_path: Path
) -> None:
    out = Path(shutil.copytree(reproduction[0], tmp_path / "out"))
    again = run(folder, "-o", out)
    assert (again.exit_code, "--force" in again.stderr) == (3, True)
    assert run(folder, "-o", out, "--force").exit_code == 0
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "thesis.tex").write_text("years of work")
    assert run(folder, "-o", mine, "--force").exit_code == 3
    assert (mine / "thesis.tex").read_text() == "years of work"
    assert not list(tmp_path.glob(".ttinsys*"))
    # A file of somebody's beside ours: nothing is replaced.
    (out / "notes.txt").write_text("mine")
    refused = run(folder, "-o", out, "--force")
    assert (refused.exit_code, "notes.txt" in refused.stderr) == (3, True)
    assert (out / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("output", ["site", ".", "site/captures"])
def test_folder_that_holds_the_captures_is_never_replaced(
    folder: Path, tmp_path: Path, output: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = tmp_path / "site"
    site.mkdir()
    captures = folder.rename(site / "captures")
    for page in (site / "index.html", tmp_path / "index.html"):
        page.write_text("somebody's page")
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    refused = run(captures.relative_to(tmp_path), "-o", output, "--force")
    assert refused.exit_code == 3
    assert "which is read" in refused.stderr.splitlines()[-1]
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize(
    ("manifest", "said"),
    [
        ("{", "not a manifest of annotate.sweep"),
        ('{"format": 9, "points": []}', "has format 9, and this ttinsys reads 1"),
        ('{"format": 1, "points": [{"point": 3}]}', "not a manifest of annotate.sweep"),
        ('{"format": 1, "points": []}', "holds no trace"),
    ],
)
def test_damaged_manifest_is_one_line(tmp_path: Path, manifest: str, said: str) -> None:
    (tmp_path / "sweep.json").write_text(manifest)
    for command in (["reproduce", str(tmp_path), "-o", str(tmp_path / "out")], ["breakdown", str(tmp_path)]):
        done = CliRunner().invoke(main, command)
        assert done.exit_code == 3
        assert len(done.stderr.splitlines()) == 1
        assert said in done.stderr or "holds no capture" in done.stderr


def test_captures_that_no_figure_has_a_use_for_make_no_page(tmp_path: Path) -> None:
    (tmp_path / "captures").mkdir()
    TraceBuilder().write(tmp_path / "captures" / "empty.sqlite")
    (tmp_path / "captures" / "loop").symlink_to(tmp_path)
    done = run(tmp_path / "captures", "-o", tmp_path / "out")
    assert (done.exit_code, len(done.stderr.splitlines())) == (3, 1)
    assert "none of the 1 captures says which model it ran" in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.slow(2)
def test_reproduction_within_the_folder_is_no_capture(folder: Path) -> None:
    assert run(folder, "-o", folder / "out").exit_code == 0
    found = captures_in(folder)
    assert (len(found.traces), found.profiles) == (4, ())


@pytest.mark.slow(1)
def test_sweeps_folder_stands_for_its_captures_in_every_command(folder: Path) -> None:
    done = CliRunner().invoke(main, ["breakdown", str(folder), "--format", "csv"])
    assert done.exit_code == 0, done.output
    assert done.stdout.count("spatial_conv") == 4


@pytest.mark.slow(1)
def test_attribute_of_a_sweep_names_each_of_its_captures(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "ops.parquet"
    done = CliRunner().invoke(main, ["attribute", str(folder), "-o", str(out)])
    assert done.exit_code == 0, done.output
    written = pl.read_parquet(out)
    traces = written["trace"].unique(maintain_order=True).to_list()
    assert len(traces) == 4
    assert all(name.startswith(str(folder)) for name in traces)
    first, *rest = done.stderr.splitlines()
    assert first == f"wrote {out} (8 rows)"
    assert [line.split(": ")[0] for line in rest] == traces


def test_attribute_of_one_trace_twice_gives_it_two_names(folder: Path, tmp_path: Path) -> None:
    trace, out = str(captures_in(folder).traces["sd-512-sdpa.sqlite"].path), tmp_path / "ops.parquet"
    assert CliRunner().invoke(main, ["attribute", trace, trace, "-o", str(out)]).exit_code == 0
    assert pl.read_parquet(out)["trace"].unique(maintain_order=True).to_list() == [trace, f"{trace} (2)"]


def test_manifest_names_files_of_its_own_folder_alone(folder: Path) -> None:
    said = json.loads((folder / "sweep.json").read_text())
    said["points"][0]["trace"] = "../../../etc/passwd"
    (folder / "sweep.json").write_text(json.dumps(said))
    assert any("passwd" in sentence and "etc" not in sentence for sentence in captures_in(folder).failed)


def test_every_claim_belongs_to_an_item_and_every_measure_to_a_claim() -> None:
    ids = {item.id for item in ITEMS}
    assert {claim.item for claim in CLAIMS} <= ids
    assert {*MEASURES} <= ids
    assert {*MEASURES} <= {claim.item for claim in CLAIMS}
    for item in ITEMS:
        assert "python -m annotate." in item.capture


def test_claims_have_ids_that_are_unique_and_begin_with_their_item() -> None:
    claims = {claim.id: claim for claim in CLAIMS}
    assert len(claims) == len(CLAIMS)
    assert all(id.startswith(f"{claim.item}/") for id, claim in claims.items())


@pytest.mark.slow(1)
def test_measures_of_the_folder_are_those_of_claims(measured: dict[str, str | None]) -> None:
    assert {claim for claim, value in measured.items() if value is not None} == {
        "table-2/speedup/stable-diffusion", "table-3/phase/stable-diffusion", "figure-6/convolution-share",
        "figure-9/faster-growing/eager", "figure-9/faster-growing/fused",
    }  # fmt: skip


def test_attention_whose_spatial_core_launched_nothing_has_no_time_to_compare() -> None:
    spatial = {"component": "denoiser", "role": "spatial_attention", "total_ns": 100, "core_ns": 0}
    temporal = {**spatial, "role": "temporal_attention", "core_ns": 50}
    unknown = {"core_time_ratio": None, "core_flops_ratio": 0.5, "flops_ratio": 0.25}
    frame = pl.DataFrame([{**spatial, **unknown, "time_ratio": 1.0}, {**temporal, **unknown, "time_ratio": 1.0}])
    # FLOPs are annotated whether a kernel ran or not: 1 / 0.5 in the core, 1 / 0.25 with projections.
    measured = dict(figure_11({"make-a-video": frame}))
    assert measured == {"figure-11/flops-ratio": "2.0 in the core, 4.0 with projections"}


@needs_chromium
@pytest.mark.slow(3)
def test_page_opens_in_a_browser_without_a_complaint(reproduction: tuple[Path, Result]) -> None:
    document, said = opened(reproduction[0] / "index.html")
    assert said == []
    assert "Measured beside published" in document


@pytest.mark.slow(20)
def test_full_size_values_of_the_study_come_out_of_simulated_runs(tmp_path: Path) -> None:
    pytest.importorskip("diffusers")
    from tests.simulated import simulated

    for name in ("stable-diffusion", "make-a-video"):
        for attention in ("eager", "sdpa"):
            (tmp_path / f"{name}-{attention}_pqtdir").symlink_to(simulated(name, attention))
    _, beside = reproduced(captures_in(tmp_path))
    measured = {each.claim.id: each.measured for each in beside if each.measured}
    # Computed from the definition of the models: 64 to 4,096 positions, and N/F over levels of 16 frames.
    assert measured["figure-7/length-ratio/stable-diffusion"].startswith("64 times")
    assert measured["figure-11/flops-ratio"].startswith("17.5 in the core")
