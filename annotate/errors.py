"""Errors of the annotation layer. Each message is one line that says what, where, and what to do."""


class AnnotateError(Exception):
    """Whatever annotation or its commands cannot do."""


class UnknownModel(AnnotateError):
    """A name that is not among the models."""


class ImpossibleRequest(AnnotateError):
    """A size, device or option that the model or the machine does not have."""


class MissingPackage(AnnotateError):
    """A package or program that is not installed."""


class NothingRecorded(AnnotateError):
    """A capture that should hold ranges and holds none, or not all."""


def pipeline_failed(name: str, error: Exception) -> AnnotateError:
    """What to raise where a model's own pipeline raised: a library's error in one line."""
    said = (str(error).strip().splitlines() or ["no message"])[0]
    return AnnotateError(f"{name} failed in its pipeline: {type(error).__name__}: {said} (TTINSYS_DEBUG=1 shows where)")
