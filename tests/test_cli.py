"""The command line: every command documented, data on standard output and words on standard error, exact filters."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import click.testing
import polars as pl
import pytest
from click.testing import CliRunner
from polars.testing import assert_frame_equal

import ttinsys
from tests.build import TraceBuilder
from tests.shared import NSYS, needs_nsys
from ttinsys import __version__
from ttinsys.cli import main
from ttinsys.commands.questions import SHORT_NAMES
from ttinsys.runner.run import analyse
from ttinsys.stats import REPORT_NAMES

SAMPLE = Path(__file__).resolve().parents[1] / "sample_traces" / "synthetic-stable-diffusion.sqlite"
GROUP = click.Context(main)
COMMANDS = main.list_commands(GROUP)
ANALYSES = ("kernels", "layers", "ranges")
every_command = pytest.mark.parametrize("name", COMMANDS)


def run(*arguments: str | Path) -> click.testing.Result:
    """Run in this process; what is neither an answer nor an exit status is raised here."""
    done = CliRunner().invoke(main, [*map(str, arguments)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done


def command_called(name: str) -> click.Command:
    found = main.get_command(GROUP, name)
    assert found is not None
    return found


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout


# Help


def test_there_are_the_commands_that_this_file_knows() -> None:
    assert sorted({*COMMANDS, "attribute", "info", "stats", *ANALYSES}) == COMMANDS


@every_command
def test_help_has_an_indented_example_that_the_command_accepts(name: str) -> None:
    done = run(name, "--help")
    assert (done.exit_code, done.stderr) == (0, "")
    examples = [line for line in done.stdout.splitlines() if line.strip().startswith("ttinsys ")]
    assert examples
    for line in examples:
        assert line.startswith(f"      ttinsys {name} ")
        assert len(line) <= 80


OPTIONS = {
    "model": {"--format", "--output", "--force", "--nsys", "--plot"},
    "reproduce": {"--output", "--force", "--nsys"},
    "taxonomy": {"--format", "--output", "--force", "--plot"},
}
"""Of the commands that take a folder, or no trace."""


@every_command
def test_every_option_says_what_it_does(name: str) -> None:
    command = command_called(name)
    options = [option for option in command.params if isinstance(option, click.Option)]
    expected = OPTIONS.get(name, {"--format", "--output", "--force", "--nsys", "--time"})
    assert expected <= {flag for option in options for flag in option.opts}
    for option in options:
        assert option.help, option.opts
        assert option.help.endswith("."), option.opts
    shown = run(name, "--help").stdout
    assert all(flag in shown for option in options for flag in option.opts)


@every_command
def test_first_line_of_help_stands_in_the_list_of_commands(name: str) -> None:
    first_line = (command_called(name).help or "").partition("\n")[0]
    shown = run("--help").stdout
    assert f"\n  {name} " in shown
    assert f" {name} {first_line.rstrip('.')}" in " ".join(shown.split())


@pytest.mark.parametrize("name", ANALYSES)
def test_help_of_an_analysis_lists_its_columns_with_their_units(name: str) -> None:
    header = run(name, SAMPLE, "--format", "csv").stdout.splitlines()[0].split(",")
    shown = run(name, "--help").stdout
    for column in header:
        assert f"\n  {column} [ns] " in shown if column.endswith("_ns") else f"\n  {column} " in shown
    assert shown.index("Options:") < shown.index("Columns, ")


def test_no_arguments_is_help_and_a_usage_error() -> None:
    done = run()
    assert done.exit_code == 2
    assert "Where does the time go:" in done.output
    assert run("--help").exit_code == run("-h").exit_code == 0


def test_version_is_told() -> None:
    assert run("--version").stdout.split()[-1] == __version__


@pytest.mark.parametrize("argument", ["--help", "--version"])
def test_help_imports_neither_polars_nor_torch(argument: str) -> None:
    code = f"""if True:
        import sys, ttinsys.cli
        assert not {{"polars", "torch", "rich", "parsers"}} & sys.modules.keys()
        try: ttinsys.cli.main([{argument!r}])
        except SystemExit: pass
        print({{"polars", "torch", "rich", "adbc_driver_sqlite"}} & sys.modules.keys())
    """
    assert python(code).endswith("set()\n")


@pytest.mark.slow(1)
def test_analysing_imports_no_torch() -> None:
    code = f"""if True:
        import sys, ttinsys.cli
        try: ttinsys.cli.main(["layers", {str(SAMPLE)!r}, "-o", "/dev/null/x"])
        except SystemExit: pass
        ttinsys.cli.main(["kernels", {str(SAMPLE)!r}], standalone_mode=False)
        print({{"torch", "numpy", "pyarrow", "pandas"}} & sys.modules.keys())
    """
    assert python(code).endswith("set()\n")


# Exit status


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["no-such-command", "x"], "no command 'no-such-command': `ttinsys --help` lists all"),
        (["brekdown", SAMPLE], "no command 'brekdown' (did you mean 'breakdown'?)"),
        ([SAMPLE, "layers", "--rows", "3"], f"the command comes first: ttinsys layers {SAMPLE} --rows 3"),
        ([SAMPLE], "is a trace: say what to do with it, as in `ttinsys breakdown "),
        (["gaps", SAMPLE, "--by", "steps"], "'steps' (did you mean 'step'?): it takes trace, component, step"),
        (["layers"], "Missing argument 'TRACE...'"),
        (["layers", SAMPLE, "--no-such-option"], click.NoSuchOption("--no-such-option").message.rstrip(".")),
        (["layers", "no.sqlite", "--format", "yaml"], "'yaml' is not one of"),
        (["stats", SAMPLE], "Missing option '-r' / '--report'"),
        (["stats", SAMPLE, "-r", "cuda_gpu_sum"], "'cuda_gpu_sum' is not one of"),
        (["layers", "no.sqlite", "--rows", "-1"], "-1 is not in the range"),
        (["layers", "no.sqlite", "--depth", "x"], "'x' is not a valid integer"),
        (["layers", "no.sqlite", "--device", "first"], "'first' is not a valid integer"),
        (["info", SAMPLE, "-o", "x.csv"], "x.csv: there is no csv of this: give --format table|json"),
        (
            ["stats", SAMPLE, "-r", REPORT_NAMES[0], "-o", "x.parquet"],
            "there is no parquet of this: give --format table|csv|json",
        ),
    ],
    ids=lambda value: " ".join(Path(part).name for part in value) if isinstance(value, list) else "",
)
def test_wrong_use_is_status_2_with_a_word_on_what_is_wrong(arguments: list[str | Path], problem: str) -> None:
    done = run(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert problem in done.stderr


def test_trace_that_cannot_be_read_is_status_3() -> None:
    done = run("layers", SAMPLE, "no.sqlite")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr.startswith("Error: no.sqlite: No such file or directory: ")


# Data and words


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    """Kernels of 5, 10, 20, 40 and 80 ns, on two devices and three streams, in and outside ranges of two domains."""
    t = TraceBuilder()
    main_thread = t.thread(10, 11)
    t.domain(10, 1, "lib", 0)
    t.range(main_thread, "unet", 0, 1_000_000)
    t.range(main_thread, "unet.attn", 100, 300)
    t.range(main_thread, "call", 400, 500, domain=1)
    t.kernel(main_thread, "k5", launch=(10, 20), gpu=(1_000, 1_005))
    t.kernel(main_thread, "k10", launch=(110, 120), gpu=(2_000, 2_010), stream=8)
    t.kernel(main_thread, "k20", launch=(410, 420), gpu=(3_000, 3_020), device=1)
    t.kernel(main_thread, "k40", launch=(1_000_010, 1_000_020), gpu=(2_000_000, 2_000_040), stream=8, device=1)
    t.kernel(main_thread, "k80", launch=(1_000_030, 1_000_040), gpu=(3_000_000_000, 3_000_000_080), stream=9)
    return t.write(tmp_path / "t.sqlite")


def kept(trace: Path, *options: str) -> set[str]:
    """Names of the kernels that filters leave."""
    return set(frame("kernels", trace, *options)["kernel"])


def frame(name: str, *arguments: str | Path) -> pl.DataFrame:
    done = run(name, *arguments, "--format", "csv")
    assert done.exit_code == 0, done.stderr
    return pl.read_csv(done.stdout.encode())


READ: dict[str, Callable[[io.BytesIO], pl.DataFrame]] = {
    "csv": pl.read_csv,
    "json": pl.read_json,
    "parquet": pl.read_parquet,
}


@pytest.mark.parametrize("name", ["attribute", *ANALYSES])
@pytest.mark.slow(1)
def test_machine_formats_hold_the_same_rows(name: str, trace: Path, tmp_path: Path) -> None:
    for format in READ:
        to_file = run(name, trace, "-o", tmp_path / f"o.{format}")
        to_stdout = run(name, trace, "--format", format, "--rows", "1")
        assert (to_file.exit_code, to_file.stdout) == (to_stdout.exit_code, "") == (0, "")
        assert (tmp_path / f"o.{format}").read_bytes() == to_stdout.stdout_bytes
    expected = READ["parquet"](io.BytesIO((tmp_path / "o.parquet").read_bytes()))
    assert not expected.is_empty()
    for format in ("csv", "json"):
        found = READ[format](io.BytesIO((tmp_path / f"o.{format}").read_bytes()))
        # Text has no types: what is null throughout has none to give back.
        assert found.columns == expected.columns or (format == "json" and {*found.columns} == {*expected.columns})
        assert_frame_equal(found.select(pl.col(name).cast(dtype) for name, dtype in expected.schema.items()), expected)


@pytest.mark.parametrize("name", ["attribute", *ANALYSES])
def test_command_writes_what_the_library_returns(name: str, trace: Path, tmp_path: Path) -> None:
    loaded = ttinsys.load(trace)
    if name == "attribute":
        expected = ttinsys.attribute(loaded).collect()
    else:
        expected = analyse(SHORT_NAMES.get(name, name), loaded)
    run(name, trace, "-o", tmp_path / "o.parquet")
    assert_frame_equal(pl.read_parquet(tmp_path / "o.parquet"), expected)


@pytest.mark.slow(1)
@pytest.mark.parametrize("name", ["attribute", *ANALYSES])
def test_words_go_to_standard_error_and_data_to_standard_output(name: str, trace: Path) -> None:
    words = f"{trace}: 5 GPU operations, 0.000 ms: 22.58% attributed to a range; no_range_open 77.42% (2 operations)\n"
    for format in ("csv", "json", "table"):
        done = run(name, trace, "--format", format)
        # 35 of 155 ns.
        assert done.stderr == words
        assert "attributed to a range" not in done.stdout


def test_info_is_json_with_raw_numbers(trace: Path) -> None:
    done = run("info", trace, "--format", "json")
    assert done.stderr == ""
    (seen,) = json.loads(done.stdout)
    assert (seen["path"], seen["format"]) == (str(trace), "sqlite")
    assert (seen["start_ns"], seen["end_ns"]) == (0, 3_000_000_080)
    assert seen["operations"] == [
        {"kind": "kernel", "device": 0, "gpu": 0, "streams": 3, "ops": 3, "sum_ns": 95},
        {"kind": "kernel", "device": 1, "gpu": 1, "streams": 2, "ops": 2, "sum_ns": 60},
    ]
    assert {row["domain"] for row in seen["ranges"]} == {None, "lib"}


@pytest.mark.parametrize(
    ("output", "start"),
    [
        ("o.csv", b"name,"),
        ("o.CSV", b"name,"),
        ("o.json", b"[{"),
        ("o.parquet", b"PAR1"),
        ("o.txt", b"instances"),
        ("o", b"i"),
    ],
)
def test_suffix_of_the_output_is_its_format(tmp_path: Path, output: str, start: bytes) -> None:
    assert run("layers", SAMPLE, "-o", tmp_path / output).exit_code == 0
    assert (tmp_path / output).read_bytes().startswith(start)


def test_format_that_is_given_wins_over_the_suffix(tmp_path: Path) -> None:
    assert run("layers", SAMPLE, "-o", tmp_path / "o.csv", "--format", "json").exit_code == 0
    assert json.loads((tmp_path / "o.csv").read_text())[0]["name"] == "pipeline"


@pytest.mark.slow(1)
@pytest.mark.parametrize("name", ["attribute", *ANALYSES])
def test_several_traces_are_told_apart_by_a_first_column(name: str, trace: Path) -> None:
    one, two = frame(name, trace), frame(name, trace, SAMPLE)
    assert two.columns == ["trace", *one.columns]
    assert two["trace"].unique(maintain_order=True).to_list() == [str(trace), str(SAMPLE)]
    assert_frame_equal(two.filter(pl.col("trace") == str(trace)).drop("trace"), one, check_dtypes=False)
    done = run(name, trace, SAMPLE)
    assert [line.split(":")[0] for line in done.stderr.splitlines()] == [str(trace), str(SAMPLE)]


def test_reports_of_several_traces_are_told_apart_too(trace: Path) -> None:
    done = run("stats", "-r", "cuda_gpu_kern_sum", "--format", "csv", trace, SAMPLE)
    found = pl.read_csv(done.stdout.encode())
    assert found.columns[:2] == ["trace", "Time (%)"]
    assert found.filter(pl.col("trace") == str(trace))["Total Time (ns)"].to_list() == [80, 40, 20, 10, 5]


@pytest.mark.slow(1)
def test_rows_limit_tables_and_no_other_format(trace: Path) -> None:
    table = run("attribute", trace, "--rows", "2").stdout.splitlines()
    assert table[4:] == ["3 more rows: --rows 0 shows all, --format csv|json|parquet holds all"]
    assert len(run("attribute", trace, "--rows", "0").stdout.splitlines()) == 2 + 5
    assert len(run("attribute", trace, "--rows", "2", "--format", "csv").stdout.splitlines()) == 1 + 5


# Filters


@pytest.mark.parametrize(
    ("window", "names"),
    [
        ("/", {"k5", "k10", "k20", "k40", "k80"}),
        ("2000/", {"k10", "k20", "k40", "k80"}),
        ("2001/", {"k20", "k40", "k80"}),
        ("/3000", {"k5", "k10"}),
        ("/3001", {"k5", "k10", "k20"}),
        ("2us/3us", {"k10"}),
        ("0.002ms/0.003001ms", {"k10", "k20"}),
        ("1500 ns / 2.5us", {"k10"}),
        ("2ms/3s", {"k40"}),
        ("3s/", {"k80"}),
        ("-1s/1us", set()),
        ("-1s/1001ns", {"k5"}),
    ],
)
def test_time_keeps_operations_that_start_within_it(trace: Path, window: str, names: set[str]) -> None:
    assert kept(trace, "--time", window) == names


@pytest.mark.parametrize(
    ("window", "problem"),
    [
        ("1s", "has no slash: give START/END, such as 1.5s/2s or /300ms"),
        ("1s/1s", "ends no later than it starts"),
        ("2ms/1us", "ends no later than it starts"),
        ("one/", "'one' is not a time: give a number with ns, us, ms or s"),
        ("1m/", "'1m' is not a time"),
        ("1h/2h", "'1h' is not a time"),
        ("1/2/3", "'2/3' is not a time"),
        ("1e9/", "'1e9' is not a time"),
        (".5s/", "'.5s' is not a time"),
        ("9223372037s/", "'9223372037s' is longer than any capture"),
    ],
)
def test_time_that_cannot_be_meant_is_a_usage_error(window: str, problem: str) -> None:
    done = run("layers", "no.sqlite", "--time", window)
    assert (done.exit_code, done.stdout) == (2, "")
    assert problem in done.stderr


def test_moments_are_exact_to_the_nanosecond(tmp_path: Path) -> None:
    t = TraceBuilder()
    main_thread = t.thread()
    for number in (-1, 0, 1):
        start = 123_456_789_123_456_789 + number
        t.kernel(main_thread, f"k{number}", launch=(1, 2), gpu=(start, start + 1))
    path = t.write(tmp_path / "t.sqlite")
    assert kept(path, "--time", "123456789.123456789s/123456789123456790") == {"k0"}


@pytest.mark.parametrize(
    ("options", "names"),
    [
        (["--device", "1"], ["k20", "k40"]),
        (["--device", "0", "--device", "1"], ["k5", "k10", "k20", "k40", "k80"]),
        (["--stream", "8"], ["k10", "k40"]),
        (["--stream", "7", "--stream", "9"], ["k5", "k20", "k80"]),
        (["--stream", "8", "--device", "1"], ["k40"]),
        (["--range", "unet.attn"], ["k10"]),
        (["--range", "unet"], ["k5", "k10", "k20"]),
        (["--range", "u*t.a??n"], ["k10"]),
        (["--range", "UNET"], []),
        (["--range", "[uc]*", "--device", "1"], ["k20"]),
        (["--range", "call", "--domain", "lib"], ["k20"]),
        (["--range", "call", "--domain", "default"], []),
        (["--device", "99999999999999999999"], []),
    ],
    ids=" ".join,
)
def test_filters_keep_what_they_say(trace: Path, options: list[str], names: list[str]) -> None:
    assert kept(trace, *options) == set(names)


def test_filters_that_leave_nothing_say_so(trace: Path) -> None:
    done = run("layers", trace, "--stream", "99")
    there_is = "no GPU operation is on stream 99: there are streams 7, 8 and 9"
    assert (done.exit_code, done.stderr) == (0, f"{trace}: {there_is}\n")


@pytest.mark.parametrize(
    ("domains", "names"),
    [(["default"], {"unet", "unet.attn"}), (["lib"], {"call"}), (["lib", "default"], {"unet", "unet.attn", "call"})],
)
def test_domain_keeps_its_ranges_and_default_is_the_nameless_one(
    trace: Path, domains: list[str], names: set[str]
) -> None:
    found = frame("ranges", trace, *(option for name in domains for option in ("--domain", name)))
    assert {name for name in found["range"] if not name.startswith("(")} == names
    # Whatever ranges are looked at, all 155 ns of the GPU are accounted for.
    assert found["self_ns"].sum() == 155


def test_domain_that_is_not_there_is_told_with_those_that_are(trace: Path) -> None:
    done = run("layers", trace, "--domain", "NCCL")
    assert (done.exit_code, done.stdout) == (3, "")
    assert done.stderr == f"Error: {trace} has no range in the domain NCCL: it has default, lib\n"


def test_depth_cuts_the_tree_of_layers(trace: Path) -> None:
    assert set(frame("layers", trace, "--depth", "0")["name"]) == {"unet", "(no_range_open)"}
    assert set(frame("layers", trace, "--depth", "1")["name"]) == {"unet", "attn", "call", "(no_range_open)"}


# The reports of nsys


def test_report_in_a_table_has_the_shape_that_nsys_gives_it(trace: Path) -> None:
    lines = run("stats", "-r", "cuda_gpu_kern_sum", trace).stdout.splitlines()
    title = ["", " ** CUDA GPU Kernel Summary (cuda_gpu_kern_sum):", ""]
    assert lines[:3] + lines[-1:] == [*title, ""]
    assert lines[4].startswith("| Time (%) | Total Time (ns) | Instances | Avg (ns) |")
    assert lines[6] == (
        "|     51.6 |              80 |         1 |     80.0 |     80.0 |       80 |       80 |         0.0 | k80  |"
    )
    assert len(lines) == 3 + 3 + 5 + 2
    assert len({len(line) for line in lines[3:-1]}) == 1


def test_report_in_json_has_an_empty_string_for_null(tmp_path: Path) -> None:
    t = TraceBuilder()
    # It starts on the GPU before its call has returned: it never waited.
    t.kernel(t.thread(10, 11), "k", launch=(0, 30), gpu=(20, 50))
    done = run("stats", "-r", "cuda_kern_exec_trace", "--format", "json", t.write(tmp_path / "t.sqlite"))
    (row,) = json.loads(done.stdout)
    assert (row["API Start (ns)"], row["Queue Start (ns)"], row["Queue Dur (ns)"]) == (0, "", "")
    assert (row["Kernel Dur (ns)"], row["Total Dur (ns)"], row["GridXYZ"]) == (30, 50, "   1    1    1")


def test_report_takes_the_filters(trace: Path) -> None:
    report = run("stats", "-r", "cuda_gpu_kern_sum", trace, "--stream", "8", "--format", "json")
    assert [row["Name"] for row in json.loads(report.stdout)] == ["k40", "k10"]


def test_report_that_has_nothing_to_say_says_why(trace: Path) -> None:
    done = run("stats", "-r", "cuda_gpu_kern_sum", trace, "--device", "9")
    assert (done.exit_code, done.stdout) == (0, "")
    assert done.stderr == f"{trace}: cuda_gpu_kern_sum has nothing to say: no row is left after the filters\n"


def by_nsys(report: str, format: str, path: Path) -> str:
    """What nsys prints, without the line that says which file it reads."""
    command = [NSYS or "nsys", "stats", "-r", report, "-f", format, "--force-export=false", str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.partition("\n")[2]


@needs_nsys
@pytest.mark.nsys
@pytest.mark.parametrize("report", REPORT_NAMES)
@pytest.mark.slow(1)
def test_tables_are_those_of_nsys_to_the_letter(trace: Path, report: str) -> None:
    # nsys has its own order of rows that it does not say.
    ours, theirs = run("stats", "-r", report, trace).stdout, by_nsys(report, "table", trace)
    assert ours.splitlines()[:6] == theirs.splitlines()[:6]
    assert sorted(ours.splitlines()) == sorted(theirs.splitlines())


@needs_nsys
@pytest.mark.nsys
@pytest.mark.parametrize("report", REPORT_NAMES)
@pytest.mark.slow(1)
def test_json_and_csv_are_those_of_nsys(trace: Path, report: str) -> None:
    ours = json.loads(run("stats", "-r", report, trace, "--format", "json").stdout)
    theirs = json.loads(by_nsys(report, "json", trace))
    assert [list(row) for row in ours] == [list(row) for row in theirs]
    assert sorted(map(json.dumps, ours)) == sorted(map(json.dumps, theirs))
    header, *lines = run("stats", "-r", report, trace, "--format", "csv").stdout.splitlines()
    nsys_header, *nsys_lines = by_nsys(report, "csv", trace).strip().splitlines()
    assert (header, sorted(lines)) == (nsys_header, sorted(nsys_lines))


@needs_nsys
@pytest.mark.nsys
@pytest.mark.slow(1)
def test_names_are_cut_where_nsys_cuts_them(tmp_path: Path) -> None:
    t = TraceBuilder()
    for number, name in enumerate(["a" * 300, "b" * 100, "c" * 101, "d" * 99]):
        t.kernel(t.thread(), name, launch=(number, number + 1), gpu=(10 * number, 10 * number + 4 - number))
    path = t.write(tmp_path / "t.sqlite")
    assert run("stats", "-r", "cuda_gpu_kern_sum", path).stdout == by_nsys("cuda_gpu_kern_sum", "table", path)
