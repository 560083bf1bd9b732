"""The models in words: all of them in a table, one of them by component."""

from __future__ import annotations

from dataclasses import asdict

from annotate.models import MODELS, Model, model


def listing() -> str:
    """All models: name, parameters, what a run makes by default, and the row of the study."""
    rows: list[tuple[str, ...]] = [("name", "parameters", "by default", "study", "what it is")]
    for name in MODELS:
        found = model(name)
        rows.append((name, _billions(sum(found.parameters.values())), _asked(found), found.study or "", found.title))
    return _aligned(rows)


def description(name: str) -> str:
    """One model: its components with class, parameters and the memory of its weights, source and notes.

    Raises:
        UnknownModel: no model has that name.
    """
    found = model(name)
    lines = [f"{found.title} ({name})", f"source: {found.source}"]
    if found.study:
        lines.append(f"study (arXiv 2312.14385): {found.study}")
    lines += [f"default: {_asked(found)}", *([f"note: {found.note}"] if found.note else []), ""]
    rows: list[tuple[str, ...]] = [("component", "class", "parameters", "half precision")]
    rows += [
        (part, found.full[part].cls.rpartition(".")[2], f"{count:,}", f"{2 * count / 2**30:.2f} GiB")
        for part, count in found.parameters.items()
    ]
    total = sum(found.parameters.values())
    rows.append(("all", "", f"{total:,}", f"{2 * total / 2**30:.2f} GiB"))
    return "\n".join(lines) + "\n" + _aligned(rows)


def _asked(found: Model) -> str:
    request = asdict(found.requests["full"])
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
