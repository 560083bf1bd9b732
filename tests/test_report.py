"""The page: everything from a trace is text in it, it fetches nothing, and its parts work in a real browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from click.testing import CliRunner

import ttinsys
from tests.browser import needs_chromium, opened
from tests.build import TraceBuilder
from tests.labelled import Labelled
from tests.shared import each_capture
from ttinsys.cli import main
from ttinsys.pages.findings import findings
from ttinsys.pages.gather import gathered
from ttinsys.pages.report import report_page
from ttinsys.pages.sections import SECTIONS

SAMPLE = Path(__file__).resolve().parents[1] / "sample_traces" / "simulated-stable-diffusion-h200_pqtdir"

HOSTILE = (
    "</script><script>document.body.id='pwned'</script>",
    "<img src=x onerror=\"document.body.id='pwned'\">",
    "<svg/onload=document.body.id='pwned'>",
    "']}; document.body.id='pwned'; //",
    "</style><script>document.body.id='pwned'</script>",
    '" onmouseover="document.body.id=\'pwned\'" x="',
    "--><script>document.body.id='pwned'</script>",
    "\u2028\u2029\x00\x1b[31m &amp; ünï",
    "</title></details></table>",
)


def hostile() -> TraceBuilder:
    """A trace in which every name is an attack."""
    t = Labelled(
        {"model": HOSTILE[0], "request": {HOSTILE[1]: 3, "height": 512}, "attention": HOSTILE[2]}, SIMULATED=HOSTILE[3]
    )
    t.gpu(name=HOSTILE[0])
    for number, name in enumerate(HOSTILE):
        at = 1000 * number
        t.module(name, "spatial_attention", HOSTILE[0], component=HOSTILE[1], attention="spatial_attention")
        t.call("step", at, at + 900, step=number)
        t.call(
            f"{name}.core",
            at + 10,
            at + 500,
            q_len=4,
            kv_len=4,
            flops=100,
            bytes=10,
            gpu=[(name, at + 20, at + 400), (f"sgemm{name}", at + 410, at + 430)],
        )
        t.range(t.main, name, at + 600, at + 700)
        t.kernel(t.main, name, launch=(at + 610, at + 611), gpu=(at + 620, at + 640))
        t.thread(10, 20 + number, name)
    return t  # fmt: skip


class Elements(HTMLParser):
    """Collects the elements of a page, and their attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def elements(text: str) -> list[tuple[str, dict[str, str | None]]]:
    parser = Elements()
    parser.feed(text)
    return parser.found


@pytest.fixture(scope="module")
def hostile_page(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("hostile")
    return report_page({HOSTILE[0]: hostile().load(folder), HOSTILE[1]: hostile().load(folder)})


@pytest.mark.slow(1)
def test_names_of_a_hostile_trace_are_text_and_nothing_else(hostile_page: str) -> None:
    found = elements(hostile_page)
    assert [tag for tag, _ in found if tag in {"img", "iframe", "object", "embed", "base", "form"}] == []
    scripts = [attributes for tag, attributes in found if tag == "script"]
    assert [a for a in scripts if a.get("type") != "application/json"] == [{}], "our own script, alone"
    assert [a for _, a in found if any(name.startswith("on") for name in a)] == []
    assert "&lt;/script&gt;" in hostile_page


@pytest.mark.slow(1)
def test_page_fetches_nothing(hostile_page: str) -> None:
    for tag, attributes in elements(hostile_page):
        assert "src" not in attributes, tag
        href = attributes.get("href") or attributes.get("xlink:href") or "#"
        assert href.startswith(("#", "data:")), (tag, href)
    assert "@import" not in hostile_page
    assert "default-src &#x27;none&#x27;" in hostile_page


@needs_chromium
@pytest.mark.slow(2)
def test_browser_shows_the_hostile_page_without_running_or_complaining(hostile_page: str, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text(hostile_page)
    document, said = opened(file)
    assert said == []
    assert 'id="pwned"' not in document
    assert '<div class="icicle" style="height:' in document, "our own script ran"


@needs_chromium
@pytest.mark.slow(1)
def test_browser_would_tell_of_a_script_that_runs(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("<body><script>document.body.id='pwned'; console.error('told')</script></body>")
    document, said = opened(file)
    assert 'id="pwned"' in document
    assert "told" in said[0]


@needs_chromium
@pytest.mark.slow(3)
def test_tables_sort_and_search_and_the_tree_is_walked_through(tmp_path: Path) -> None:
    # A page with a script of the test's own, which the policy of a real one would not let run.
    text = re.sub(r'<meta http-equiv="Content-Security-Policy"[^>]*>', "", report_page({"sd": ttinsys.load(SAMPLE)}))
    drive = """
      const said = {};
      const boxes = [...document.querySelectorAll("details.table")];
      const box = boxes.find(b => [...b.querySelectorAll("th")].some(h => h.textContent === "kernel"));
      const head = [...box.querySelectorAll("th")].find(h => h.textContent.startsWith("instances"));
      const column = head.cellIndex;
      const rows = () => [...box.querySelectorAll("tbody tr")];
      const values = () => rows().map(r => Number(r.cells[column].textContent.replaceAll(",", "")));
      head.click();
      said.descending = values().every((v, i, all) => i === 0 || all[i - 1] >= v);
      head.click();
      said.ascending = values().every((v, i, all) => i === 0 || all[i - 1] <= v);
      const input = box.querySelector("input");
      input.value = "FLASH fwd";
      input.dispatchEvent(new Event("input"));
      said.matching = [...box.querySelectorAll("tbody tr:not([hidden])")].every(r => /flash.*fwd/i.test(r.textContent));
      said.hidden = box.querySelectorAll("tbody tr[hidden]").length > 0;
      const tree = document.querySelector(".tree");
      const named = (name) => [...tree.querySelectorAll("button")].find(b => b.textContent === name);
      const before = Number.parseFloat(named("vae.decode").style.width);
      named("vae.decode").click();
      said.wider = before < 99 && Number.parseFloat(named("vae.decode").style.width) === 100;
      said.told = tree.querySelector(".said").textContent;
      named("vae.decode").click();
      said.back = Number.parseFloat(named("vae.decode").style.width) === before;
      document.body.dataset.said = JSON.stringify(said);
    """
    file = tmp_path / "page.html"
    file.write_text(text.replace("</body>", f"<script>{drive}</script></body>"))
    document, said = opened(file)
    assert said == []
    (found,) = re.findall(r'data-said="(.*?)"', document)
    assert found.count("true") == 6, found
    assert "StableDiffusionPipeline / vae.decode" in found


@pytest.mark.slow(1)
def test_page_has_every_section_and_its_findings() -> None:
    text = report_page({"sd": ttinsys.load(SAMPLE)})
    for section in SECTIONS:
        assert (f'id="{section.id}"' in text) is not section.compares
    assert "No machine ran this" in text
    assert "convolution 49.99%" in text
    assert "100.00% attributed" in text


def test_long_kernel_name_keeps_both_its_ends_in_a_sentence(tmp_path: Path) -> None:
    t = TraceBuilder()
    t.kernel(t.thread(), "cutlass_" + "a" * 100 + "_bf16_tn", launch=(1, 2), gpu=(10, 20))
    traces = gathered({"run": t.load(tmp_path)})
    (sentence,) = (sentence for sentence in findings(traces, "run") if "slowest kernel" in sentence)
    # 90 characters: 60 of the front, the ellipsis, 29 of the end.
    name = f"cutlass_{'a' * 52}…{'a' * 21}_bf16_tn"
    assert sentence == f"The slowest kernel is {name}: 0.000 ms in 1 execution, 100.00% of the GPU time."


@pytest.mark.slow(1)
def test_several_traces_are_set_side_by_side(tmp_path: Path) -> None:
    eager, fused = Labelled(), Labelled()
    for t, ns in ((eager, 300), (fused, 100)):
        t.module("unet", "linear")
        t.call("unet", 0, 100, gpu=[("sgemm", 1000, 1000 + ns)])
    text = report_page({"eager": eager.load(tmp_path), "fused": fused.load(tmp_path)})
    assert 'id="comparison"' in text
    assert re.search(r"fused is 3\.00 times as fast", text)


@pytest.mark.slow(1)
def test_trace_without_gpu_work_says_so_and_shows_what_there_is(tmp_path: Path) -> None:
    t = Labelled()
    t.module("unet.core", "spatial_attention")
    t.call("unet.core", 0, 100, q_len=64, kv_len=64, flops=10, bytes=10)
    text = report_page({"cpu": t.load(tmp_path)})
    assert "No GPU activity" in text
    assert "profile on a machine with a GPU" in text


@pytest.mark.slow(1)
@each_capture
def test_every_capture_makes_a_page(capture: Path) -> None:
    text = report_page({capture.name: ttinsys.load(capture)})
    assert len(text) < 5_000_000
    assert "<h2>Findings</h2><ul" in text


@pytest.mark.slow(1)
def test_command_writes_the_page_and_replaces_none(tmp_path: Path) -> None:
    file = tmp_path / "report.html"
    done = CliRunner().invoke(main, ["report", str(SAMPLE), "-o", str(file)])
    assert done.exit_code == 0, done.output
    assert file.read_text().startswith("<!DOCTYPE html>")
    again = CliRunner().invoke(main, ["report", str(SAMPLE), "-o", str(file)])
    assert again.exit_code == 2
    assert "--force" in again.output
