"""What `annotate.run` prints of the models: all of them as a table, one of them by component."""

from __future__ import annotations

from dataclasses import asdict

from annotate.models import MODELS, Model, model


def listing() -> str:
    """A table of all models: name, parameters, default request, and row of the study."""
    rows: list[tuple[str, ...]] = [("name", "parameters", "default", "study", "title")]
    for name, each in MODELS.items():
        rows.append((name, _billions(sum(each.parameters.values())), _request(each), each.study or "", each.title))
    return _aligned(rows)


def description(name: str) -> str:
    """One model: source, notes, and its components with class, parameters, memory of the weights and FLOPs.

    FLOPs are counted in a run of two steps at published size on the meta device. That needs neither a GPU nor weights,
    and takes seconds, or a minute for the largest models.

    Raises:
        UnknownModel: no model has that name.
    """
    described = model(name)
    lines = [f"{described.title} ({name})", f"source: {described.source}"]
    if described.study:
        lines.append(f"study (arXiv 2312.14385): {described.study}")
    lines += [f"default: {_request(described)}", *([f"note: {described.note}"] if described.note else []), ""]
    costs = costs_by_component(described)
    rows: list[tuple[str, ...]] = [
        ("component", "class", "parameters", "half precision", "calls", "TFLOP/call", "batch")
    ]
    for part, count in described.parameters.items():
        calls, flops, batch = costs.get(part, (0, 0, 0))
        cost = (f"{calls}", f"{flops / calls / 1e12:,.4g}", f"{batch or ''}") if calls else ("0", "", "")
        cls = described.full[part].cls.rpartition(".")[2]
        rows.append((part, cls, f"{count:,}", f"{2 * count / 2**30:.2f} GiB", *cost))
    total = sum(described.parameters.values())
    rows.append(("all", "", f"{total:,}", f"{2 * total / 2**30:.2f} GiB", "", "", ""))
    return "\n".join(lines) + "\n" + _aligned(rows)


def costs_by_component(declared: Model) -> dict[str, tuple[int, int, int]]:
    """Of each component in a run of two steps or tokens: calls, FLOPs of all calls, and batch of the first."""
    from annotate.gpus import gpu
    from annotate.simulation.run import simulate
    from annotate.tracer import tracer_of

    default = declared.requests["full"]
    few = {name: 2 for name in ("steps", "tokens") if getattr(default, name)}
    run = simulate(declared, "full", declared.request("full", **few), gpu("h200"))
    tracer = tracer_of(run.recorder)
    whole = [label for label in tracer.labels.values() if label.level == "component"]
    costs = {}
    for part, count in declared.parameters.items():
        cls = declared.full[part].cls.rpartition(".")[2]
        names = {label.name for label in whole if (label.cls, label.parameters) == (cls, count)}
        inside = [r for r in run.recorder.ranges if any(r.name == n or r.name.startswith(f"{n}.") for n in names)]
        own = [r for r in inside if r.name in names] or [r for r in inside if r.name.endswith((".encode", ".decode"))]
        flops = sum(tracer.calls.values(r.call).get("flops", 0) for r in inside)
        batch = tracer.calls.values(own[0].call).get("shape.0.0", 0) if own else 0
        costs[part] = (len(own), flops, batch)
    return costs


def _request(declared: Model) -> str:
    """The default request at published size, in words."""
    request = asdict(declared.requests["full"])
    size = f"{request['width']}x{request['height']}" if request["height"] else ""
    counted = [
        f"{request[name]} {name.replace('_', ' ')}"
        for name in ("frames", "steps", "prompt_tokens", "tokens")
        if request[name]
    ]
    return ", ".join([*([size] if size else []), *counted])


def _billions(count: int) -> str:
    return f"{count / 1e9:.2f} B"


def _aligned(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:]]) + "\n"
