"""Attribute every GPU kernel to the model layer that launched it. Made by `python -m tests.generated`."""

from typing import Literal

import polars as pl

from parsers import Trace as Trace
from parsers import TraceError as TraceError
from parsers import load as load
from ttinsys.attribution.attribute import OPS as OPS
from ttinsys.attribution.attribute import attribute as attribute
from ttinsys.attribution.nvtx import RANGES as RANGES
from ttinsys.attribution.nvtx import ranges as ranges
from ttinsys.attribution.select import select as select
from ttinsys.pages.plot import plot as plot
from ttinsys.pages.report import report as report

__version__: str

def attention(
    *traces: Trace,
) -> pl.DataFrame:
    """Attention by role: calls, FLOPs, and time in the core, the projections and the copies around it.

    Temporal attention is set against spatial, of the core alone and with its
    projections and copies: how many times fewer FLOPs it has depends on that.

    Args:
        *traces: As `ttinsys.load` opens them.

    Returns:
        A `polars.DataFrame`, one row per component and role of attention, the longest total first:
            component: part of the pipeline
            role: of the attention
            calls: of its cores
            total_ns (ns): durations added up: core, projections, layout, rearrange and other
            share (ratio): of all attention of the trace
            core_ns (ns): in the core: QK, softmax and AV, or what is fused of them; added up
            projections_ns (ns): in linear layers of queries, keys, values and output; added up
            layout_ns (ns): in copies within the attention, added up
            rearrange_ns (ns): in copies right around it that serve no other attention, added up
            other_ns (ns): in norms, rotary embeddings and the like within it, added up
            share_of_component (ratio): of all attention of the component
            q_len_min: least queries of a call
            q_len_max: most queries of a call
            kv_len_min: least keys of a call
            kv_len_max: most keys of a call
            core_flops (FLOP): of its cores; null where not annotated
            core_flops_per_s (FLOP/s): of its cores, by the time in them
            projections_flops (FLOP): of its projections; null where not annotated
            core_time_ratio (ratio): `core_ns` of that of the component's spatial attention
            time_ratio (ratio): `total_ns` of the same
            flops_ratio (ratio): FLOPs of core and projections of the same
            core_flops_ratio (ratio): `core_flops` of the same
    """

def breakdown(
    *traces: Trace,
    by: Literal['role', 'operator', 'component', 'step', 'phase', 'part'] | tuple[Literal['role', 'operator', 'component', 'step', 'phase', 'part'], ...] = ('role',),
    projections: Literal['linear', 'attention'] = 'linear',
) -> pl.DataFrame:
    """GPU time by what it is for: role, operator, component, step, phase or part of attention, or two of them crossed.

    Args:
        *traces: As `ttinsys.load` opens them.
        by: Divide by this; give it twice to cross two.
        projections: Count projections of queries, keys, values and output as linear layers, or as their
            attention.

    Returns:
        A `polars.DataFrame`, one row per trace and value of what was asked `--by`; columns that were
            not asked for are null:
            trace: the trace; the first one is the baseline
            role: what the layer does; `(not annotated)`, or `(reason)` without a range
            operator: what the kernel does
            component: part of the pipeline; `(pipeline)` outside all, else as for `role`
            step: denoising step or token; null outside steps
            phase: `prefill` or `decode`; `(none)` elsewhere
            part: part of attention, see `ttinsys.measures.attention_parts`; `(no attention)` elsewhere
            instances: GPU operations
            sum_ns (ns): durations added up
            busy_ns (ns): time in which at least one runs, on each device
            share (ratio): of the trace's GPU time added up
            relative (ratio): of the GPU time of the first trace; null where there is one trace
            median_ns (ns): median duration
            p95_ns (ns): Shortest duration that at least 95% of the operations do not exceed.
            max_ns (ns): longest
    """

def diff(
    *traces: Trace,
    by: Literal['layer', 'path', 'role', 'component', 'operator', 'kernel'] | tuple[Literal['layer', 'path', 'role', 'component', 'operator', 'kernel'], ...] = ('layer',),
    per: Literal['trace', 'step'] = 'trace',
    confidence: float = 0.95,
) -> pl.DataFrame:
    """What got faster or slower from one trace to another: by layer, role, component, operator or kernel.

    The first trace is the baseline; each other one is compared with it. Layers are annotated modules, or stacks of ranges
    where one of the traces is not annotated; kernels are aligned by their names. A change is called noise where steps that
    do the same vary by as much anyway (Welch's t-test), and unknown where no step repeats it.

    A comparison is unfair, and nobody has won, where the traces do not show the same work: other steps, parts of the
    pipeline missing, another model or size, a truncated or an empty trace. Then there is no speedup, and a gate fails.

    Gates: with --fail-over 3% the exit status is 1 where the whole trace, or a row with at least 1% of its time, is
    slower by more than that and by more than the noise. With --budget FILE it is 1 where a limit is exceeded, or where
    what it limits was not measured. The file is TOML, with a table for the whole and one for each row that has a limit:

    
        [total]
        sum = "120 ms"
        slowdown = "3%"
        [role.spatial_attention]
        sum = "30 ms"
        [component.denoiser]
        step = "9 ms"

    sum is GPU time of the trace, step that of its mean step (of --per step), slowdown what is lost against the baseline.
    A table is named after a --by that was given, and a row of it.

    Args:
        *traces: As `ttinsys.load` opens them; the first is the baseline.
        by: Align by this; repeat it for several lists.
        per: Compare the time of the whole trace, or of its mean step without what is outside steps.
        confidence: Confidence level of the noise band (Welch's t-test).

    Returns:
        A `polars.DataFrame`, one row per trace but the first and value of what was asked `--by`, the
            greatest difference first:
            trace: the trace that is compared with the first one
            by: what the row is a value of; `total` for the whole trace
            change: `faster`, `slower`, `noise`, `same`, `new`, `gone`, `unknown`, `unfair`
            delta_ns (ns): after - before
            speedup: before / after; null where one is 0 or the comparison is unfair
            before_ns (ns): GPU durations of the baseline, added up
            after_ns (ns): GPU durations of the trace, added up
            noise_ns (ns): difference that steps vary by anyway; null without two steps in each
            unfair: of the whole: why the traces may not be compared (`not`: the baseline); null where
                they may
            role: of a layer
            operator: of a kernel
            share (ratio): of the baseline's GPU time
            before_ops: GPU operations of the baseline
            after_ops: GPU operations of the trace
            per: `step` where times are of the mean step; null where they are of the whole trace
            key: the layer, role, ...; `(reason)` for operations without a range
    """

def gaps(
    *traces: Trace,
    by: Literal['trace', 'component', 'step'] = 'component',
) -> pl.DataFrame:
    """Where the GPU idles and why: the CPU had not launched, was in a CUDA call, waited for the GPU, or work was queued.

    A gap ends with an operation, and is of its step or component. Up to the launch of that operation its time is `sync`
    while the launching thread is still in a call that it began before the GPU went idle, `launch` while it is in one that
    it began later, and `cpu` while it is in none; the launch itself is `launch`; what comes after it is `latency`.

    Args:
        *traces: As `ttinsys.load` opens them.
        by: Group rows by component, step or trace.

    Returns:
        A `polars.DataFrame`, one row per device and what was asked `--by`; `cpu` to `unknown` add up to
            `idle`:
            device: CUDA device
            component: part of the pipeline; `(pipeline)`, `(not annotated)` or `(reason)` elsewhere
            step: denoising step or token; null outside steps
            step_id: RangeId of the step's range: the number starts over with every run
            span_ns (ns): busy and idle: all rows of a device add up to its first start to last end
            busy_ns (ns): time in which operations run, counted once: of the one that began first
            idle_ns (ns): time without any, before operations of the row
            idle_share (ratio): idle, of busy and idle
            cpu_ns (ns): idle, nothing launched: the CPU was in no CUDA call
            launch_ns (ns): idle during CUDA calls that began after the GPU went idle, launches above
                all
            sync_ns (ns): idle until a CUDA call returned that began while the GPU was at work
            latency_ns (ns): idle although launched: latency, or waiting for other work
            unknown_ns (ns): idle before operations whose launch is not in the capture
            gaps: pieces of idle time
            longest_ns (ns): the longest of them
            instances: GPU operations
            sum_ns (ns): their durations added up
            overlapped_ns (ns): of the sum, what an earlier operation still covered
            concurrent_ns (ns): time in which two streams or more are busy, of the one that began last
            copy_ns (ns): durations of copies, added up
            copy_exposed_ns (ns): of that, while nothing but NCCL computes on the device
            nccl_ns (ns): durations of NCCL's kernels, added up
            nccl_exposed_ns (ns): of that, while nothing else computes on the device
            wait_ns (ns): from the opening of the step on the CPU to its first operation on the GPU
            from_ns (ns): first start, since the first annotated range, or without one the first launch
            to_ns (ns): last end, since then: of the first step, what it took to get there
    """

def kernels(
    *traces: Trace,
) -> pl.DataFrame:
    """GPU time by kernel: which kernels take it, what they do, how often they run.

    Args:
        *traces: As `ttinsys.load` opens them.

    Returns:
        A `polars.DataFrame`, one row per kernel name, and per kind of copy, fill and graph:
            kind: `kernel`, `memcpy`, `memset` or `graph`
            operator: what it does
            instances: executions
            sum_ns (ns): durations added up
            share (ratio): of all GPU time added up
            mean_ns (ns): mean duration
            median_ns (ns): median duration
            min_ns (ns): shortest
            max_ns (ns): longest
            kernel: name with templates
    """

def layers(
    *traces: Trace,
    depth: int | None = None,
) -> pl.DataFrame:
    """GPU and CPU time by layer, as a tree: each stack of ranges, and what it launched itself and in total.

    Args:
        *traces: As `ttinsys.load` opens them.
        depth: List no level deeper than this; 0 is the top.

    Returns:
        A `polars.DataFrame`, one row per stack of ranges, parents before children, and one per reason
            why an operation has no range:
            name: last part of the path; `(reason)` for GPU operations without a range
            depth: number of ranges around it
            instances: ranges with this stack
            ops: GPU operations launched inside, nested ranges included
            self_ns (ns): GPU durations launched right inside, added up
            total_ns (ns): the same with nested ranges included
            share (ratio): total of all GPU time added up
            cpu_ns (ns): durations of the ranges on the CPU, added up; null where none was closed
            role: what the annotated module does; null for other ranges
            path: names from the outermost range to this one; null without a range
    """

def lengths(
    *traces: Trace,
    by: Literal['call', 'length', 'step'] = 'call',
    role: Literal['spatial_attention', 'temporal_attention', 'spatiotemporal_attention', 'cross_attention', 'joint_attention', 'self_attention'] | tuple[Literal['spatial_attention', 'temporal_attention', 'spatiotemporal_attention', 'cross_attention', 'joint_attention', 'self_attention'], ...] = (),
    step: int | None = None,
) -> pl.DataFrame:
    """Sequence lengths of the attention calls of a run: in their order, as a histogram, or step by step.

    Needs no GPU: annotation tells the lengths. The length of self-attention is
    its keys, which are the tokens so far where a decoder writes one at a time;
    that of cross-attention and of joint attention, whose keys hold the text too,
    is its queries.

    Args:
        *traces: As `ttinsys.load` opens them.
        by: List calls in their order, or group them by role and length, or by step.
        role: Keep attention of this role; repeatable.
        step: Keep this step.

    Returns:
        A `polars.DataFrame`, one row per call in order, per role and length, or per step and component;
            the rest is null:
            call: number among all calls of attention, from 0; by step: of its first one
            step: denoising step or token; null outside steps
            phase: `prefill` or `decode`, of an autoregressive step
            component: part of the pipeline
            role: of the attention
            length: keys of self-attention, queries of cross- and joint attention
            q_len: queries
            kv_len: keys
            calls: of an attention core
            share (ratio): of the calls listed
            lengths: different lengths of self-attention in the step
            smallest: of these lengths
            largest: of these lengths
            times: largest by smallest
            adjacent: the greatest of a length by the next smaller one
            gpu_ns (ns): GPU time of the cores, added up; null where they launched nothing
            flops (FLOP): of the cores; null where not annotated
            module: path of the module
    """

def pareto(
    *traces: Trace,
) -> pl.DataFrame:
    """Cost of a picture or clip against published quality: time, size and FID of each model, and which ones no other beats.

    Traces of few steps are scaled to the steps that the model takes by default: that is an estimate, and `estimated_ns`.
    FID is of the model that `fid_of` names, as its paper reports it, not of what ran: weights may be random.

    Args:
        *traces: As `ttinsys.load` opens them.

    Returns:
        A `polars.DataFrame`, one row per trace:
            trace: the trace
            model: name of the model; null where the trace tells of several
            front: whether no model with a FID on the same data is both as fast and as good, and better
                in one; null without a FID
            estimated_ns (ns): busy time per picture or clip with the model's default number of steps:
                that of each stage in proportion
            fid: published Fréchet inception distance; null for tiny models and those that have none
            attention: how attention was computed
            busy_ns (ns): time in which the GPU ran something, per picture or clip, as traced
            span_ns (ns): first start to last end of the GPU's work, per picture or clip, as traced
            step_ns (ns): busy time of a step, mean, without those of prefill
            steps: steps that were taken for a picture or clip, over all stages
            full_steps: steps with the model's defaults, over all stages
            flops (FLOP): annotated, per picture or clip, as traced; a multiply-add is two
            parameters: published number of parameters, all components; null for tiny models
            weight_bytes (B): their bytes in the type that ran: the least memory
            peak_bytes (B): most memory held; null where only the trace is known: see `with_memory`
            peak_bytes_per_parameter (B): of `peak_bytes` (Fig. 1 of the study asks for it)
            images: pictures or clips in the trace
            simulated: no machine ran it
            device: GPU
            stands_for: model of the study that it is or stands for
            dataset: on what data
            source: who reports it
            checked: How the number was verified.
            fid_of: whose FID it is
    """

def phases(
    *traces: Trace,
    by: Literal['model', 'step'] = 'model',
    queries: int = 1,
    ridge: float | None = None,
) -> pl.DataFrame:
    """Whether attention works like prefill or like decode: queries per call, intensity and bandwidth.

    Prefill answers many queries in one call, decode one query against all keys
    so far. A denoising step is of the first kind, a decoded token of the second.
    Having many queries does not yet mean being bound by arithmetic: that takes
    more FLOPs per byte than the GPU's ridge, which `above_ridge` tells.

    Args:
        *traces: As `ttinsys.load` opens them.
        by: Give one row for the whole run, or one for each step.
        queries: Count a call as decode-like up to this many queries.
        ridge: FLOPs per byte from which arithmetic is the bound; by default that of the GPU.

    Returns:
        A `polars.DataFrame`, one row per component, role, phase and kind, and step where so asked:
            step: denoising step or token; null outside steps, and where not divided by step
            component: part of the pipeline
            role: of the attention
            phase: `prefill` or `decode`, as annotation says of an autoregressive step
            kind: `prefill-like`: many queries per call; `decode-like`: few, see `--queries`
            calls: of attention cores
            steps: steps that have such calls
            queries: median of a call
            keys: median of a call
            above_ridge (ratio): calls bound by arithmetic; null where the GPU is not known
            gpu_ns (ns): GPU time of the cores, added up; null where they launched nothing
            bandwidth_share (ratio): `bytes_per_s` of the bandwidth of the GPU's memory
            queries_min: least of a call
            queries_max: most of a call
            keys_min: least of a call
            keys_max: most of a call
            flops_per_s (FLOP/s): FLOPs by the GPU time
            bytes_per_s (B/s): least bytes by the GPU time
            flops (FLOP): of the cores; null where not annotated
            bytes (B): that the cores move at least; null where not annotated
            ridge (FLOP/B): FLOPs per byte from which on arithmetic bounds: median of calls
            intensity (FLOP/B): FLOPs of the cores by the least bytes they move
    """

def ranges_by_name(
    *traces: Trace,
) -> pl.DataFrame:
    """GPU and CPU time by NVTX range name: what was launched inside each, nested ranges included and not.

    Args:
        *traces: As `ttinsys.load` opens them.

    Returns:
        A `polars.DataFrame`, one row per range name and domain, and one per reason why an operation has
            no range:
            domain: NVTX domain; null for the default one
            instances: ranges of this name
            ops: GPU operations launched inside, nested ranges included
            self_ns (ns): GPU durations launched right inside, added up
            total_ns (ns): the same with nested ranges included
            share (ratio): total of all GPU time added up
            cpu_ns (ns): durations of the ranges on the CPU, added up; null where none was closed
            role: what the annotated module does; null for other ranges
            range: name; `(reason)` for GPU operations without a range
    """

def roofline(
    *traces: Trace,
    by: Literal['layer', 'role', 'component', 'model'] = 'role',
    gpu: Literal['h100', 'h200', 'a100', 'l40s', 'rtx4090', 'b200'] | None = None,
    peak: float | None = None,
    bandwidth: float | None = None,
    float32: Literal['tf32', 'single'] = 'tf32',
) -> pl.DataFrame:
    """Roofline: what bounds each kind of layer, arithmetic or memory, and how near it comes to what the GPU can do.

    Args:
        *traces: As `ttinsys.load` opens them.
        by: Group rows by layer, role or component, or give one for the whole model.
        gpu: Take this GPU, where the trace does not name one or names another.
        peak: Peak of the GPU in TFLOP/s, for every type.
        bandwidth: Bandwidth of its memory in GB/s.
        float32: Hold 32-bit floats against the peak of TF32, or of single precision.

    Returns:
        A `polars.DataFrame`, one row per device and kind of layer, the longest first, and per reason
            for which work has no layer:
            component: part of the pipeline; `(pipeline)` outside all, else as for `role`
            role: what the layer does; `(not annotated)`, or `(reason)` without a range
            device: CUDA device; null for calls whose work is not in the trace
            gpu_ns (ns): GPU time of its calls outside the ranges in them, durations added up
            intensity (FLOP/B): operations by least traffic; null where no cost is annotated
            bound: `compute` or `memory`: which of the two limits it, by its side of the ridge
            mfu (ratio): of the peak: model FLOPs utilisation
            bandwidth_share (ratio): of the memory's bandwidth
            weight_intensity (FLOP/B): operations by bytes of weights, of layers that have both
            flops_per_s (FLOP/s): operations a second achieved
            bytes_per_s (B/s): least traffic a second achieved
            least_ns (ns): time at the roof, call by call, added up: what is above could be saved
            calls: calls that launched GPU work, replays of CUDA graphs counted
            flops (FLOP): their operations
            least_bytes (B): their least traffic
            costed_ns (ns): GPU time of the calls that have a cost, added up
            peak_flops_per_s (FLOP/s): peak for the types of its calls, weighted by operations
            bandwidth_bytes_per_s (B/s): of the memory
            roof_share (ratio): achieved, of what the roof over its intensity allows
            note: what is not known of the GPU, and what to do
            module: the module's path
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
    """How time and FLOPs grow with the size of what is made, and where attention overtakes convolution.

    Each trace is a point: its size is told by its run, and its time is that of the kernels of one step. Traces that differ
    in nothing but that size, and in the number of steps, are a series: backends and compilers are compared so.

    Args:
        *traces: As `ttinsys.load` opens them.
        over: Take this as the size; auto takes the one that varies.
        by: Fit the time of each role, family, operator or kernel.
        component: Fit the time of this part of the pipeline.
        projections: Count projections of queries, keys, values and output as linear layers, or as their
            attention.
        tolerance: Mark a point as off where its residual exceeds this; 0.25 is 25%.
        fits: Keep the largest size of each series: one row per fit.

    Returns:
        A `polars.DataFrame`, one row per series, value of what was asked `--by`, and trace; what is
            told of a fit is repeated on its rows:
            series: settings that differ between traces, besides the size; `all` where none does
            role: what the layer does; `(not annotated)`, or `(reason)` without a range
            family: `attention`, `convolution`, `linear`, `norm` or `other`; `(reason)` without a role
            operator: what the kernel does
            n: size of the trace's request, in what `over` says
            time_ns (ns): durations added up, per step
            exponent: p of time ~ n^p over the series, by least squares of logarithms
            flops_exponent: p of FLOPs ~ n^p; null where there are none
            law: power that the formulas give FLOPs: see `ttinsys.measures.formulas.growth`
            crossover: size from which the fitted attention is longer than the fitted convolution
            off: whether the residual is beyond the tolerance
            fitted_ns (ns): constant + linear + quadratic term of the fit here; null without one
            residual (ratio): time beyond the fitted, of the fitted
            constant_ns (ns): term of the fit that does not grow
            linear_ns (ns): term that grows as n, here: the coefficient times n
            quadratic_ns (ns): term that grows as n^2, here: the coefficient times n^2
            worst (ratio): residual that is farthest from 0
            worst_n: size at which it is
            rms (ratio): root mean square of the residuals; of three sizes 0, unless a term is 0
            r2 (ratio): variance of logarithms that n^p explains
            sizes: distinct sizes at which it ran
            crossover_is: `within sizes`, `extrapolated`, or why there is none
            flops (FLOP): annotated FLOPs, per step; null by operator and kernel
            predicted_flops (FLOP): FLOPs of the smallest size, grown by that power
            share (ratio): of the trace's GPU time added up, its other components included
            sum_ns (ns): durations added up, over the trace
            steps: steps of the trace in which the component ran; 1 where it ran outside steps
            over: what size is: `pixels` (height times width), `frames`, `batch` or `tokens`
            trace: the trace
            note: what is missing, and why
            kernel: kernel name with templates
    """

def speedup(
    *traces: Trace,
    pairs: bool = False,
) -> pl.DataFrame:
    """How much faster each trace is than its baseline, end to end, by component and by role, and what the gain came from.

    The first trace is the baseline of all others, or with --pairs each second one is compared with the one before it.
    End to end is told three ways: from the first operation's start to the last one's end (span), the time in which at
    least one runs (busy), and durations added up (sum). Components and roles divide the sum. The gain is the part of the
    baseline's sum that was saved; parts add up to it. The limit is the speedup of the whole if a part took no time at all
    (Amdahl's law). Traces that do not show the same work have no speedup: `unfair` says why.

    Args:
        *traces: As `ttinsys.load` opens them; the first is the baseline.
        pairs: Compare each second trace with the one before it.

    Returns:
        A `polars.DataFrame`, three rows per compared trace end to end, then its components and its
            roles, the longest in the baseline first:
            trace: the trace that is compared
            level: `end_to_end`, `component` or `role`
            part: `span`, `busy` or `sum` of the whole; the component or role, `(reason)` without one
            speedup: before / after; null where one is 0 or the comparison is unfair
            before_ns (ns): time of the baseline; of a part, durations added up
            after_ns (ns): the same of the trace
            gain (ratio): (before - after) of the baseline's whole
            share (ratio): of the baseline's sum; null for span and busy
            limit: speedup of the sum if the part took no time; null where it is all of it
            noise_ns (ns): difference that steps vary by anyway; null without two steps in each
            model: what it ran; null where it does not say
            baseline: the trace it is compared with
            unfair: of `span`: why the traces may not be compared (`not`: the baseline); null where they
                may
    """
