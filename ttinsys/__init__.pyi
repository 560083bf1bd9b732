"""Attribute every GPU kernel to the model layer that launched it. Made by `python -m tests.generated`."""

from typing import Literal

import polars as pl

from parsers import Trace as Trace
from parsers import TraceError as TraceError
from parsers import load as load
from ttinsys.attribution.attribute import OPS as OPS
from ttinsys.attribution.attribute import attribute as attribute
from ttinsys.attribution.dialects import add_dialect as add_dialect
from ttinsys.attribution.nvtx import RANGES as RANGES
from ttinsys.attribution.nvtx import ranges as ranges
from ttinsys.attribution.select import select as select
from ttinsys.pages.plot import plot as plot
from ttinsys.pages.report import report as report

__version__: str

def attention(
    *traces: Trace,
) -> pl.DataFrame:
    """Divide attention time by role, and into core, projections and copies.

    The ratios compare each role with the spatial attention of its component,
    once for the core alone and once with projections and copies. They may
    differ by several times.

    Args:
        *traces: Traces that `ttinsys.load` opened.

    Returns:
        A `polars.DataFrame`, one row per component and role of attention, the longest total first:
            component: Part of the pipeline, such as `denoiser`; null for the pipeline as a whole.
            role: Role of the attention, such as `spatial_attention`.
            calls: Number of calls of attention cores; each replay of a CUDA graph counts.
            total_ns (ns): Sum of durations in the core, projections, layout, rearrange and other parts.
            share (ratio): `total_ns` divided by that of all attention in the trace.
            core_ns (ns): Sum of durations in the core: QK, softmax and AV, or the fused kernel for
                them.
            projections_ns (ns): Sum of durations in the linear layers of queries, keys, values and
                output.
            layout_ns (ns): Sum of durations of copies within the attention.
            rearrange_ns (ns): Sum of durations of copies around the attention that serve no other role.
            other_ns (ns): Sum of durations of other operations within the attention, such as norms and
                rotary embeddings.
            share_of_component (ratio): `total_ns` divided by that of all attention in the component.
            q_len_min: Least number of queries of a call; null where no call is annotated.
            q_len_max: Greatest number of queries of a call; null where no call is annotated.
            kv_len_min: Least number of keys of a call; null where no call is annotated.
            kv_len_max: Greatest number of keys of a call; null where no call is annotated.
            core_flops (FLOP): FLOPs of the cores; null where they are not annotated.
            core_flops_per_s (FLOP/s): `core_flops` divided by `core_ns`; null where either is missing.
            projections_flops (FLOP): FLOPs of the projections; null where they are not annotated.
            core_time_ratio (ratio): `core_ns` divided by that of the component's spatial attention;
                null where there is none.
            time_ratio (ratio): `total_ns` divided by that of the component's spatial attention; null
                where there is none.
            flops_ratio (ratio): FLOPs of core and projections, divided by those of the component's
                spatial attention; null where either is not annotated.
            core_flops_ratio (ratio): `core_flops` divided by that of the component's spatial attention;
                null where either is not annotated.
    """

def breakdown(
    *traces: Trace,
    by: Literal['role', 'operator', 'variant', 'precision', 'component', 'step', 'phase', 'direction', 'part'] | tuple[Literal['role', 'operator', 'variant', 'precision', 'component', 'step', 'phase', 'direction', 'part'], ...] = (),
    projections: Literal['linear', 'attention'] = 'linear',
    steps_from: Literal['annotation', 'structure'] = 'annotation',
) -> pl.DataFrame:
    """Divide GPU time by role, operator, precision, component, step, phase or part of attention.

    Args:
        *traces: Traces that `ttinsys.load` opened.
        by: Divide GPU time by this column; give two to cross them. The default is role, or operator
            where the role of most time is unknown.
        projections: Count projections of queries, keys, values and output as linear layers, or as their
            attention.
        steps_from: Take steps from the annotation, or from the iterations found in the sequence of
            kernels.

    Returns:
        A `polars.DataFrame`, one row per trace and per value of the chosen columns; the columns that
            were not chosen are null:
            trace: Name of the trace; the first one is the baseline.
            role: What the layer does, such as `linear`; `(not annotated)` in a range without
                annotation, `(reason)` without a range.
            operator: What the kernel computes, such as `gemm`, read from its name.
            variant: The operator, or its variant where the name tells one, such as `sparse_attention`.
            precision: Precision of the kernel's operands, such as `bf16`, read from its name; `(not in
                the name)` where it is not, `(no kernel)` for other operations.
            component: Part of the pipeline, such as `denoiser`; `(pipeline)` for the pipeline as a
                whole, `(not annotated)` in a range without annotation, `(reason)` without a range.
            step: Number of the denoising step or token, from 0; null outside steps.
            phase: Phase of an autoregressive step: `prefill` or `decode`; `(none)` elsewhere.
            direction: `backward` for the computation of gradients, `forward` for the rest of the trace;
                `(none)` in a trace without any.
            part: Part of attention, a key of `ttinsys.measures.attention_parts.PARTS`; `(no attention)`
                elsewhere.
            instances: Number of GPU operations.
            sum_ns (ns): Sum of durations of the operations.
            busy_ns (ns): Time in which at least one of the operations runs, added up over devices.
            share (ratio): `sum_ns` divided by that of the whole trace.
            relative (ratio): `sum_ns` divided by that of the whole first trace; null for a single
                trace.
            median_ns (ns): Median duration of an operation.
            p95_ns (ns): Shortest duration that at least 95% of the operations do not exceed.
            max_ns (ns): Longest duration of an operation.
            exposed_ns (ns): Time in which the operations alone run on their GPU, added up over GPUs:
                the most that the trace could be shorter without them.
    """

def check(
    *traces: Trace,
) -> pl.DataFrame:
    """Check what a trace is fit for, and what would mend what it lacks.

    Rules look for events that were lost, ranges that never close, tables that are missing, clocks that disagree, CUDA
    graphs whose kernels are hidden, autotuning, warm-up, loading, and time that nsys itself took. Each finding has its
    numbers, the analyses that it affects, and the nsys option or the change to the program that mends it. What was checked
    and found sound is listed, too.

    Gate: --strict exits with status 1 where a finding is a problem.

    Args:
        *traces: Traces that `ttinsys.load` opened.

    Returns:
        A `polars.DataFrame`, one row per finding, the gravest first:
            severity: Gravity of the finding: `problem`, `warning`, `note`, `sound`.
            finding: What was seen, with its numbers.
            remedy: Option of nsys, or change to the program, that mends it; null where the trace is
                sound.
            affects: Analyses whose answers it affects; `all` where none escapes.
            rule: Name of the rule: a file of `ttinsys/checks`.
            count: Number of events that the finding is about; null where it is about the whole trace.
            share (ratio): Share of the GPU time that the finding is about; for `attributed` that is
                sound, the attributed share.
    """

def diff(
    *traces: Trace,
    by: Literal['layer', 'path', 'role', 'component', 'operator', 'kernel'] | tuple[Literal['layer', 'path', 'role', 'component', 'operator', 'kernel'], ...] = ('layer',),
    per: Literal['trace', 'step'] = 'trace',
    confidence: float = 0.95,
    steps_from: Literal['annotation', 'structure'] = 'annotation',
) -> pl.DataFrame:
    """Compare the GPU time of traces by layer, role, component, operator or kernel.

    The first trace is the baseline of all others. Layers are annotated modules, or stacks of ranges where one of the
    traces is not annotated; kernels are aligned by name. A change counts as noise where repeated steps vary by as much
    (Welch's t-test), and as unknown where no step repeats it.

    Traces are comparable only if they show the same work. Different steps, missing parts of the pipeline, another model or
    size, other numbers of operations or FLOPs, or a truncated or empty trace make a comparison unfair: it has no speedup,
    and it fails a gate. like_speedup still compares what both traces ran alike: the same kernel on the same grid, one by
    one. Where only the number of steps differs, --per step compares the mean step.

    Gates: --fail-over 3% exits with status 1 where the whole trace, or a row with at least 1% of its time, is slower by
    more than 3% and by more than the noise. --budget FILE exits with status 1 where a limit is exceeded, or where nothing
    was measured for it. The file is TOML, with a table [total] and one for each row that has a limit:

        [total]
        sum = "120 ms"
        slowdown = "3%"
        [role.spatial_attention]
        sum = "30 ms"
        [component.denoiser]
        step = "9 ms"

    sum limits the GPU time of the trace, step that of its mean step (with --per step), slowdown the increase over the
    baseline. The name of a table is a value of --by and the key of a row.

    Args:
        *traces: Traces that `ttinsys.load` opened; the first is the baseline.
        by: Align rows by this; give several to get a list for each.
        per: Compare the time of whole traces, or of their mean steps without what runs outside steps.
        confidence: Set the confidence level of the noise band (Welch's t-test).
        steps_from: Take steps from the annotation, or from the iterations found in the sequence of
            kernels.

    Returns:
        A `polars.DataFrame`, one row per trace after the first and value that traces are aligned by,
            the greatest difference first:
            trace: Name of the trace that is compared with the first one.
            by: What the row is aligned by, such as `layer`; `total` for the whole trace.
            change: Verdict on the difference: `faster`, `slower`, `noise`, `same`, `new`, `gone`,
                `count`, `unknown`, `unfair`.
            speedup: Time of the baseline divided by time of the trace; null where one is 0, the
                comparison is unfair, or `change` is `count`.
            before_ns (ns): Sum of GPU durations in the baseline.
            after_ns (ns): Sum of GPU durations in the trace.
            before_ops: Number of GPU operations in the baseline.
            after_ops: Number of GPU operations in the trace.
            before_mean_ns (ns): Mean duration of an operation in the baseline; null where there is
                none.
            after_mean_ns (ns): Mean duration of an operation in the trace; null where there is none.
            like_speedup: Speedup of operations that both traces ran alike (the same kernel on the same
                grid, a copy of the same size), one by one, however often each ran; null where there are
                none.
            delta_ns (ns): Time of the trace minus time of the baseline.
            noise_ns (ns): Difference that repeated steps show anyway; null unless each trace has two
                such steps.
            unfair: Why the traces are not comparable, in the row of the whole trace; null where they
                are.
            caveat: What sets comparable traces apart beside the program, such as another GPU, in the
                row of the whole trace.
            role: Role of the layer; null for rows that are not layers.
            operator: Operator of the kernel; null for rows that are not kernels.
            share (ratio): `before_ns` divided by that of the whole baseline.
            like_share (ratio): Share of `before_ns` in operations that the trace ran alike.
            per: `step` where times are those of the mean step; null where they are those of the whole
                trace.
            key: The layer, role, component, operator or kernel; `(reason)` for operations without a
                range.
    """

def gaps(
    *traces: Trace,
    by: Literal['trace', 'component', 'step'] = 'component',
    steps_from: Literal['annotation', 'structure'] = 'annotation',
) -> pl.DataFrame:
    """Find where the GPU idles, and what it waits for.

    A gap belongs to the operation that ends it, and to the step and component of that operation. The launch of the
    operation divides the gap. Before the launch, time is sync while the launching thread is in a CUDA call that began
    before the GPU went idle, launch while it is in a call that began later, and cpu while it is in no call. The launch
    itself is launch. After the launch, time is latency.

    Args:
        *traces: Traces that `ttinsys.load` opened.
        by: Group rows by component or step, or give one row per GPU.
        steps_from: Take steps from the annotation, or from the iterations found in the sequence of
            kernels.

    Returns:
        A `polars.DataFrame`, one row per GPU and component, step or whole trace; `cpu_ns`, `launch_ns`,
            `sync_ns`, `latency_ns` and `unknown_ns` add up to `idle_ns`:
            device: CUDA device ordinal; null where the processes of a GPU number it differently.
            gpu: Number of the GPU, as in `info`; null where the export does not tell which GPU it is,
                and the row is of a process and its device.
            pid: ID of the process whose device it is, where `gpu` is null; else null.
            component: Part of the pipeline, such as `denoiser`; `(pipeline)` for the pipeline as a
                whole, `(not annotated)` in a range without annotation, `(reason)` without a range.
            step: Number of the denoising step or token, from 0 in each run; null outside steps.
            step_id: RangeId of the step's range, which tells steps of several runs apart; negative for
                an iteration of `--steps-from structure`, null outside steps.
            span_ns (ns): Busy and idle time; over all rows of a GPU it adds up to first start to last
                end.
            busy_ns (ns): Time in which operations run; overlap counts for the operation that began
                first.
            idle_ns (ns): Time without any operation, before the operations of the row.
            idle_share (ratio): `idle_ns` divided by `span_ns`.
            cpu_ns (ns): Idle time before the launch in which the launching thread was in no CUDA call.
            launch_ns (ns): Idle time in CUDA calls that began after the GPU went idle, mostly launches.
            sync_ns (ns): Idle time in CUDA calls that began before the GPU went idle, mostly
                synchronisation.
            latency_ns (ns): Idle time after the launch: launch latency, or waiting for other work.
            unknown_ns (ns): Idle time before operations whose launch is not in the trace.
            gaps: Number of gaps.
            longest_ns (ns): Duration of the longest gap.
            instances: Number of GPU operations.
            sum_ns (ns): Sum of durations of the operations.
            overlapped_ns (ns): `sum_ns` minus `busy_ns`: time that an earlier operation covers as well.
            concurrent_ns (ns): Time in which two streams or more are busy; it counts for the operation
                that began last.
            copy_ns (ns): Sum of durations of memory copies.
            copy_exposed_ns (ns): Part of `copy_ns` in which no kernel but NCCL's runs on the GPU.
            nccl_ns (ns): Sum of durations of NCCL kernels.
            nccl_exposed_ns (ns): Part of `nccl_ns` in which no other kernel runs on the GPU.
            wait_ns (ns): Time from the opening of the step on the CPU to its first operation on the
                GPU; null outside steps.
            from_ns (ns): First start on the GPU, relative to the first annotated range (or, without
                one, to the first launch).
            to_ns (ns): Last end on the GPU, relative to the first annotated range (or, without one, to
                the first launch).
    """

def kernels(
    *traces: Trace,
) -> pl.DataFrame:
    """Rank kernels by GPU time: what they compute, how often and how long they run.

    Args:
        *traces: Traces that `ttinsys.load` opened.

    Returns:
        A `polars.DataFrame`, one row per kernel name, and per kind of copy, fill and graph:
            kind: Kind of operation: `kernel`, `memcpy`, `memset` or `graph`.
            operator: What the kernel computes, read from its name; the kind for other operations.
            variant: Variant of the operator, such as `sparse_attention`; null where names tell none.
            precision: Precision of the operands, such as `bf16`; null where the name does not tell it.
            instances: Number of executions.
            sum_ns (ns): Sum of durations.
            share (ratio): `sum_ns` divided by that of all GPU operations.
            mean_ns (ns): Mean duration.
            median_ns (ns): Median duration.
            min_ns (ns): Shortest duration.
            max_ns (ns): Longest duration.
            kernel: Kernel name with template arguments; nsys's `[CUDA ...]` name for other operations.
            name: Kernel name that tells kernels apart in little room: functor and launcher for
                PyTorch's elementwise kernels and reductions, others without namespaces and parameters.
    """

def layers(
    *traces: Trace,
    depth: int | None = None,
) -> pl.DataFrame:
    """Show GPU and CPU time as a tree of layers, with and without their children.

    Args:
        *traces: Traces that `ttinsys.load` opened.
        depth: List no level deeper than this; 0 is the top.

    Returns:
        A `polars.DataFrame`, one row per path of nested ranges, parents before children, and one per
            reason why an operation has no range:
            name: Last part of the path; `(reason)` for GPU operations without a range.
            depth: Number of enclosing ranges.
            instances: Number of ranges with this path; null without a range.
            ops: Number of GPU operations launched in the range, those of nested ranges included.
            self_ns (ns): Sum of GPU durations launched in the range, without those of nested ranges.
            total_ns (ns): Sum of GPU durations launched in the range, those of nested ranges included.
            share (ratio): `total_ns` divided by the GPU time of the trace; null where that is 0.
            cpu_ns (ns): Sum of durations of the ranges on the CPU; null where no range was closed.
            role: What the annotated module does, such as `linear`; null for other ranges.
            path: Names from the outermost range to this one, joined by `/`; null without a range.
    """

def lengths(
    *traces: Trace,
    by: Literal['call', 'length', 'step'] = 'call',
    role: Literal['spatial_attention', 'temporal_attention', 'spatiotemporal_attention', 'cross_attention', 'joint_attention', 'self_attention'] | tuple[Literal['spatial_attention', 'temporal_attention', 'spatiotemporal_attention', 'cross_attention', 'joint_attention', 'self_attention'], ...] = (),
    step: int | None = None,
    steps_from: Literal['annotation', 'structure'] = 'annotation',
) -> pl.DataFrame:
    """List the sequence lengths of attention calls in order, as a histogram or by step.

    Lengths come from annotation: no GPU is needed. The length of self-attention
    is its number of keys, which includes all tokens so far where a decoder writes
    one token at a time. The length of cross-attention and joint attention is its
    number of queries, because the keys contain the text.

    Args:
        *traces: Traces that `ttinsys.load` opened.
        by: List calls in order, or group them by role and length, or by step.
        role: Keep attention of this role; give several to keep several.
        step: Keep calls of this step.
        steps_from: Take steps from the annotation, or from the iterations found in the sequence of
            kernels.

    Returns:
        A `polars.DataFrame`, one row per call, per role and length, or per step and component; columns
            of the other groupings are null:
            call: Number of the call among all attention calls, from 0; by step, that of its first call.
            step: Number of the denoising step or token, from 0; null outside steps.
            phase: Phase of an autoregressive step: `prefill` or `decode`; null for other steps.
            component: Part of the pipeline, such as `denoiser`; null for the pipeline as a whole.
            role: Role of the attention, such as `spatial_attention`.
            length: Number of keys of self-attention; number of queries of cross- and joint attention.
            q_len: Number of queries.
            kv_len: Number of keys.
            calls: Number of calls of attention cores.
            share (ratio): `calls` divided by the number of all calls listed.
            lengths: Number of distinct lengths in the step, without cross-attention.
            smallest: Smallest length in the step, without cross-attention.
            largest: Largest length in the step, without cross-attention.
            times: Ratio of the largest length in the step to the smallest.
            adjacent: Greatest ratio of a length in the step to the next smaller one.
            gpu_ns (ns): Sum of GPU durations of the cores; null where they launched nothing.
            flops (FLOP): FLOPs of the cores; null where they are not annotated.
            module: Path of the module in the pipeline.
    """

def pareto(
    *traces: Trace,
) -> pl.DataFrame:
    """Compare models by time per image or clip and by published FID, and mark the Pareto front.

    Traces of few steps are scaled to the model's default number of steps: the result is an estimate, in estimated_ns.
    The FID is that of the published model that fid_of names, not of this run, whose weights may be random.

    Args:
        *traces: Traces that `ttinsys.load` opened.

    Returns:
        A `polars.DataFrame`, one row per trace:
            trace: Name of the trace.
            model: Name of the model; null where the trace ran several.
            front: Whether the trace is on the Pareto front: no trace with an FID on the same data is at
                least as fast and as good, and better in one. Null without an FID.
            estimated_ns (ns): Busy time per image or clip with the model's default number of steps,
                each stage scaled by its steps; null where that number is unknown.
            fid: Published Fréchet inception distance, lower is better; null for tiny models and where
                none is published.
            attention: Attention implementation, such as `sdpa`.
            busy_ns (ns): Time in which the GPU runs at least one operation, per image or clip, as
                traced.
            span_ns (ns): Time from the first start to the last end on the GPU, per image or clip, as
                traced.
            step_ns (ns): Mean busy time of a step, prefill steps left out.
            steps: Number of steps per image or clip, as traced, over all stages.
            full_steps: Number of steps per image or clip with the model's defaults, over all stages.
            flops (FLOP): Annotated FLOPs per image or clip, as traced; a multiply-add is two.
            parameters: Published number of parameters of all components; null for tiny models.
            weight_bytes (B): Bytes of the parameters in the data type that ran, the least memory
                needed; null for tiny models.
            peak_bytes (B): Most memory allocated; null unless the manifest of a sweep gives it, see
                `with_memory`.
            peak_bytes_per_parameter (B): `peak_bytes` divided by `parameters` (Fig. 1 of the study).
            images: Number of images or clips in the trace.
            simulated: Whether the times come from a simulated GPU.
            device: Name of the GPU.
            stands_for: Model of the study that this model is, or stands for; null where there is none.
            dataset: Data on which the FID was computed, and the protocol.
            source: Publication that reports the FID.
            checked: How the FID was verified.
            fid_of: Model that reached the FID.
    """

def phases(
    *traces: Trace,
    by: Literal['model', 'step'] = 'model',
    queries: int = 1,
    ridge: float | None = None,
    steps_from: Literal['annotation', 'structure'] = 'annotation',
) -> pl.DataFrame:
    """Classify attention as prefill-like or decode-like, with its intensity and bandwidth.

    Prefill computes many queries in one call; decode computes one query against
    all keys so far. A denoising step works like prefill, a decoded token like
    decode. Many queries do not make a call compute-bound: that takes more FLOPs
    per byte than the ridge point of the GPU, and above_ridge counts such calls.

    Args:
        *traces: Traces that `ttinsys.load` opened.
        by: Give rows for the whole run (model), or for each step.
        queries: Count calls of up to this many queries as decode-like.
        ridge: Set the ridge point in FLOPs per byte; the default is that of the GPU.
        steps_from: Take steps from the annotation, or from the iterations found in the sequence of
            kernels.

    Returns:
        A `polars.DataFrame`, one row per component, role, phase and kind, and per step where rows are
            divided by step:
            step: Number of the denoising step or token, from 0; null outside steps, and where rows are
                not divided by step.
            component: Part of the pipeline, such as `denoiser`; null for the pipeline as a whole.
            role: Role of the attention, such as `spatial_attention`.
            phase: Phase of an autoregressive step, from annotation: `prefill` or `decode`; null for
                other steps.
            kind: `decode-like` where a call has few queries (the option `queries`), else `prefill-
                like`.
            calls: Number of calls of attention cores; each replay of a CUDA graph counts.
            steps: Number of steps with such calls.
            queries: Median number of queries of a call.
            keys: Median number of keys of a call.
            above_ridge (ratio): Share of calls that are compute-bound: their intensity is at least that
                of the ridge point. Null where the GPU is unknown.
            gpu_ns (ns): Sum of GPU durations of the cores; null where they launched nothing.
            bandwidth_share (ratio): `bytes_per_s` divided by the memory bandwidth of the GPU; null
                where that is unknown.
            queries_min: Least number of queries of a call.
            queries_max: Greatest number of queries of a call.
            keys_min: Least number of keys of a call.
            keys_max: Greatest number of keys of a call.
            flops_per_s (FLOP/s): FLOPs of the cores divided by their GPU time.
            bytes_per_s (B/s): Least memory traffic of the cores divided by their GPU time.
            flops (FLOP): FLOPs of the cores; null where they are not annotated.
            bytes (B): Least memory traffic of the cores; null where it is not annotated.
            ridge (FLOP/B): Median over calls of the ridge point, the intensity above which arithmetic
                is the bound; null where the GPU is unknown.
            intensity (FLOP/B): `flops` divided by `bytes`: arithmetic intensity of the cores.
    """

def ranges_by_name(
    *traces: Trace,
) -> pl.DataFrame:
    """Sum GPU and CPU time by NVTX range name, with and without nested ranges.

    Args:
        *traces: Traces that `ttinsys.load` opened.

    Returns:
        A `polars.DataFrame`, one row per range name and domain, and one per reason why an operation has
            no range:
            domain: NVTX domain; null for the default domain.
            instances: Number of ranges of this name; null without a range.
            ops: Number of GPU operations launched in the ranges, those of nested ranges included.
            self_ns (ns): Sum of GPU durations launched in the ranges, without those of nested ranges.
            total_ns (ns): Sum of GPU durations launched in the ranges, those of nested ranges included.
            share (ratio): `total_ns` divided by the GPU time of the trace; null where that is 0.
            cpu_ns (ns): Sum of durations of the ranges on the CPU; null where no range was closed.
            role: What the annotated module does, such as `linear`; null for other ranges.
            range: Stable name of the range, the same for all its calls; `(reason)` for GPU operations
                without a range.
    """

def roofline(
    *traces: Trace,
    by: Literal['layer', 'role', 'component', 'model'] = 'role',
    gpu: Literal['h100', 'h200', 'a100', 'l40s', 'rtx4090', 'b200'] | None = None,
    peak: float | None = None,
    bandwidth: float | None = None,
    float32: Literal['tf32', 'single'] = 'tf32',
) -> pl.DataFrame:
    """Compare layers with the roofline: what bounds them, and how close to it they come.

    Args:
        *traces: Traces that `ttinsys.load` opened.
        by: Group rows by layer, role or component, or give one row for the whole model.
        gpu: Use the data sheet of this GPU instead of the one that the trace names.
        peak: Set the peak of the GPU in TFLOP/s, for every data type.
        bandwidth: Set the memory bandwidth of the GPU in GB/s.
        float32: Compare 32-bit floats with the peak of TF32, or of single precision.

    Returns:
        A `polars.DataFrame`, one row per GPU and layer, role or component, the longest first, and per
            reason why work has no layer:
            component: Part of the pipeline, such as `denoiser`; `(pipeline)` for the pipeline as a
                whole, `(not annotated)` in a range without annotation, `(reason)` without a range.
            role: What the layer does, such as `linear`; `(not annotated)` in a range without
                annotation, `(reason)` without a range.
            device: CUDA device ordinal; null for calls whose GPU work is not in the trace, and where
                the processes of a GPU number it differently.
            gpu: Number of the GPU, as in `info`; null for calls whose GPU work is not in the trace, and
                where the export does not tell which GPU it is.
            pid: ID of the process whose device it is, where `gpu` is null; else null.
            gpu_ns (ns): Sum of GPU durations of the calls, without those of annotated ranges in them.
            intensity (FLOP/B): Arithmetic intensity: `flops` divided by `least_bytes`; null where no
                cost is annotated.
            bound: What limits the row by its side of the ridge point: `compute` or `memory`; null where
                the ceilings or costs are unknown.
            mfu (ratio): Model FLOPs utilisation: `flops_per_s` divided by the peak; null where the peak
                is unknown.
            bandwidth_share (ratio): `bytes_per_s` divided by the memory bandwidth; null where that is
                unknown.
            weight_intensity (FLOP/B): FLOPs divided by bytes of weights, over the calls that have both.
            flops_per_s (FLOP/s): Achieved rate: `flops` divided by `gpu_ns`.
            bytes_per_s (B/s): Achieved rate: `least_bytes` divided by `gpu_ns`.
            least_ns (ns): Sum over calls of the time at the roofline; what `gpu_ns` exceeds it by could
                be saved.
            calls: Number of calls with GPU work or FLOPs; each replay of a CUDA graph counts.
            flops (FLOP): FLOPs of the calls; null where they are not annotated.
            least_bytes (B): Least memory traffic of the calls; null where it is not annotated.
            costed_ns (ns): Sum of GPU durations of the calls whose cost is annotated.
            peak_flops_per_s (FLOP/s): Peak of the GPU for the data types of the calls, weighted by
                their FLOPs.
            bandwidth_bytes_per_s (B/s): Memory bandwidth of the GPU; null where it is unknown.
            roof_share (ratio): Achieved rate divided by what the roofline allows at this intensity: the
                greater of `mfu` and `bandwidth_share`.
            note: What is unknown about the GPU, and which option to give; null where nothing is.
            module: Path of the module in the pipeline; null unless rows are layers.
    """

def scaling(
    *traces: Trace,
    over: Literal['auto', 'pixels', 'frames', 'batch', 'tokens'] = 'auto',
    by: Literal['role', 'family', 'operator', 'kernel'] = 'role',
    component: Literal['denoiser', 'decoder', 'text_encoder', 'image_encoder', 'vae', 'scheduler', 'all'] = 'denoiser',
    projections: Literal['linear', 'attention'] = 'linear',
    tolerance: float = 0.25,
    fits: bool = False,
) -> pl.DataFrame:
    """Fit how time and FLOPs grow with size, and find where attention overtakes convolution.

    Each trace is a point: its size comes from the request of its run, its time is that of the kernels of one step. Traces
    that differ only in that size, and in the number of steps, form a series; backends and compilers are compared as series.

    Args:
        *traces: Traces that `ttinsys.load` opened.
        over: Use this as the size; auto uses the one that varies.
        by: Fit the time of each role, family, operator or kernel.
        component: Fit the time of this part of the pipeline.
        projections: Count projections of queries, keys, values and output as linear layers, or as their
            attention.
        tolerance: Mark a point as off where its residual exceeds this; 0.25 is 25%.
        fits: Keep only the largest size of each series, for one row per fit.

    Returns:
        A `polars.DataFrame`, one row per series, trace, and role, family, operator or kernel; values of
            a fit repeat on all of its rows:
            series: Settings that differ between the traces, other than the size; `all` where none does.
            role: What the layer does, such as `linear`; `(not annotated)` in a range without
                annotation, `(reason)` without a range.
            family: Family of the role: `attention`, `convolution`, `linear`, `norm` or `other`; `(not
                annotated)` or `(reason)` without a role.
            operator: What the kernel computes, such as `gemm`, read from its name.
            n: Size of the trace's request, counted as `over` says.
            time_ns (ns): Sum of durations per step.
            exponent: Exponent p of time ~ n^p over the series, by least squares of logarithms; null for
                fewer than two sizes.
            flops_exponent: Exponent p of FLOPs ~ n^p over the series; null where no FLOPs are
                annotated.
            law: Exponent of FLOPs by the formulas, see `ttinsys.measures.formulas.growth`; null where
                they give none.
            crossover: Size above which the fitted attention takes longer than the fitted convolution;
                null where there is none.
            off: Whether the residual exceeds the tolerance; null without a fit.
            fitted_ns (ns): Time by the fit: `constant_ns` + `linear_ns` + `quadratic_ns`; null without
                a fit.
            residual (ratio): `time_ns` divided by `fitted_ns`, minus 1; null without a fit.
            constant_ns (ns): Constant term of the fit; null without a fit.
            linear_ns (ns): Linear term of the fit at this size, its coefficient times n; null without a
                fit.
            quadratic_ns (ns): Quadratic term of the fit at this size, its coefficient times n^2; null
                without a fit.
            worst (ratio): Residual of the fit that is farthest from 0; null without a fit.
            worst_n: Size at which the residual is farthest from 0; null without a fit.
            rms (ratio): Root mean square of the residuals; 0 for three sizes, unless a term is 0. Null
                without a fit.
            r2 (ratio): Share of the variance of logarithms that n^p explains; null for fewer than three
                sizes.
            sizes: Number of distinct sizes with GPU time.
            crossover_is: How far the crossover is known: `within sizes` or `extrapolated`; else why
                there is none.
            flops (FLOP): Annotated FLOPs per step; null by operator and by kernel.
            predicted_flops (FLOP): FLOPs per step of the smallest size, scaled by `law`; null without a
                law.
            share (ratio): `sum_ns` divided by that of the trace, all components included.
            sum_ns (ns): Sum of durations over the trace.
            steps: Number of steps of the trace in which the component ran; 1 where it ran outside
                steps.
            over: What the size counts: `pixels` (height times width), `frames`, `batch` or `tokens`.
            trace: Name of the trace.
            note: At how many sizes the work ran, where that is fewer than the series has or than a fit
                needs; else null.
            kernel: Kernel name with template arguments.
    """

def speedup(
    *traces: Trace,
    pairs: bool = False,
) -> pl.DataFrame:
    """Compare traces end to end, by component and by role.

    The first trace is the baseline of all others; with --pairs, each second trace is compared with the one before it.
    End to end has three rows: the time from the first start to the last end (span), the time in which at least one
    operation runs (busy), and the sum of durations (sum). Components and roles divide the sum. The gain is the part of the
    baseline's sum that was saved; gains of components, or of roles, add up to that of the sum. The limit is the speedup of
    the sum if a part took no time at all (Amdahl's law). Traces that do not show the same work, down to the number of
    operations of each operator and layer, are not comparable and get no speedup; the column unfair says why. like_speedup
    still compares what both ran alike, one by one.

    Args:
        *traces: Traces that `ttinsys.load` opened; the first is the baseline.
        pairs: Compare each second trace with the one before it, not all with the first.

    Returns:
        A `polars.DataFrame`, one row per compared trace for each of span, busy and sum, then per
            component and per role, the longest in the baseline first:
            trace: Name of the trace that is compared.
            level: What is compared: `end_to_end`, `component` or `role`.
            part: `span`, `busy` or `sum` end to end; else the component or role, `(reason)` without a
                range.
            speedup: Time of the baseline divided by time of the trace; null where one is 0 or the
                comparison is unfair.
            before_ns (ns): Time of the baseline; for components and roles, the sum of durations.
            after_ns (ns): Time of the trace; for components and roles, the sum of durations.
            before_ops: Number of GPU operations in the baseline; null for span and busy.
            after_ops: Number of GPU operations in the trace; null for span and busy.
            before_mean_ns (ns): Mean duration of an operation in the baseline; null where there is
                none.
            after_mean_ns (ns): Mean duration of an operation in the trace; null where there is none.
            like_speedup: Speedup of operations that both traces ran alike (the same kernel on the same
                grid, a copy of the same size), one by one, however often each ran; null where there are
                none, and for span and busy.
            gain (ratio): Time saved, divided by the time of the whole baseline.
            share (ratio): `before_ns` divided by the sum of the whole baseline; null for span and busy.
            limit: Speedup of the sum if the part took no time; null where the part is all of it, and
                end to end.
            noise_ns (ns): Difference that repeated steps show anyway; null unless each trace has two
                such steps.
            model: Model that the trace ran; null where annotation does not name it.
            baseline: Name of the trace that it is compared with.
            unfair: Why the traces are not comparable, in the row `span`; null where they are.
            caveat: What sets comparable traces apart beside the program, such as another GPU, in the
                row `span`.
            like_share (ratio): Share of `before_ns` in operations that the trace ran alike.
    """

def structure(
    *traces: Trace,
    list: bool = False,
) -> pl.DataFrame:
    """Find iterations, the blocks in them, prologue and epilogue in the sequence of kernels alone.

    No range is needed: kernels and CUDA graphs are compared by name, in the order in which they start on each device.
    An iteration is what repeats at the longest distance, such as a denoising step, a token or a training iteration; a block
    is what repeats in it, such as a layer. Where nothing repeats within an iteration, it may itself be a layer of one pass.
    With `--steps-from structure`, other analyses take the iterations for steps.

    Args:
        *traces: Traces that `ttinsys.load` opened.
        list: List each iteration and block instead of summing them up.

    Returns:
        A `polars.DataFrame`, one row per device, per kind of part and per kind of block, or per part
            and block where rows are listed; the rows of depth 1 add up to their device:
            name: Name of the row: the device, or its part with its number where rows are listed.
            depth: 0 for a device, 1 for its parts, 2 for the blocks in a part.
            pid: ID of the process.
            device: CUDA device ordinal.
            part: `device`, `prologue`, `iteration`, `between` (between two iterations), `epilogue`, or
                `block`.
            number: Number of the iteration on its device, or of the block in its part, from 0; null in
                a summary.
            instances: Number of such parts or blocks.
            ops: Number of GPU operations, memory copies and fills included.
            ops_each: Median number of GPU operations of an instance.
            sum_ns (ns): Sum of durations of the operations.
            share (ratio): `sum_ns` divided by that of all devices.
            busy_ns (ns): Time in which at least one operation runs, added up over the instances.
            span_ns (ns): Time from first start to last end, added up over the instances.
            median_ns (ns): Median span of an instance.
            p95_ns (ns): Shortest span that at least 95% of the instances do not exceed.
            min_ns (ns): Shortest span of an instance.
            max_ns (ns): Longest span of an instance.
            outliers: Number of instances whose span differs from the median by more than a tenth of it
                and by more than three times the scaled median absolute deviation.
            operators: Operators that take most of the time, with their shares.
            start_ns (ns): Start time of the first operation.
            end_ns (ns): Latest end time of an operation.
    """
