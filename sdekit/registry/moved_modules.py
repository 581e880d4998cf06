"""Modules of sdekit 0.1 and the packages that contain their names now, for messages about plugins of that version."""

MOVED = {
    "sdekit.adams": "sdekit.integrators",
    "sdekit.adaptive": "sdekit.integrators",
    "sdekit.backend": "sdekit.backends",
    "sdekit.bench": "sdekit.evaluation",
    "sdekit.brownian": "sdekit.sampling",
    "sdekit.classifier": "sdekit.models",
    "sdekit.conditions": "sdekit.models",
    "sdekit.data.array": "sdekit.data.formats",
    "sdekit.data.base": "sdekit.data",
    "sdekit.data.decode": "sdekit.data.formats",
    "sdekit.data.digits": "sdekit.data",
    "sdekit.data.idx": "sdekit.data.formats",
    "sdekit.data.images": "sdekit.data.formats",
    "sdekit.data.memory": "sdekit.data",
    "sdekit.data.names": "sdekit.data.formats",
    "sdekit.data.scaling": "sdekit.data",
    "sdekit.data.sources": "sdekit.data.formats",
    "sdekit.data.split": "sdekit.data",
    "sdekit.data.table": "sdekit.data.formats",
    "sdekit.diffuse": "sdekit.processes",
    "sdekit.edit": "sdekit.sampling",
    "sdekit.explain": "sdekit.sampling",
    "sdekit.export.cached": "sdekit.export",
    "sdekit.export.folder": "sdekit.export",
    "sdekit.export.formats": "sdekit.export",
    "sdekit.export.program": "sdekit.export",
    "sdekit.grids": "sdekit.sampling",
    "sdekit.hookspecs": "sdekit.registry",
    "sdekit.kept": "sdekit.sampling",
    "sdekit.line": "sdekit.processes",
    "sdekit.mixture": "sdekit.distributions",
    "sdekit.model": "sdekit.models",
    "sdekit.multistep": "sdekit.integrators",
    "sdekit.networks.encoder": "sdekit.networks",
    "sdekit.noise": "sdekit.sampling",
    "sdekit.onestep": "sdekit.integrators",
    "sdekit.operators": "sdekit.inverse.operators",
    "sdekit.plugins": "sdekit.registry",
    "sdekit.posterior": "sdekit.distributions",
    "sdekit.renoise": "sdekit.processes",
    "sdekit.replacing": "sdekit.inverse",
    "sdekit.sde": "sdekit.processes",
    "sdekit.stages": "sdekit.integrators",
    "sdekit.training.checkpoint": "sdekit.runs",
    "sdekit.training.fields": "sdekit.runs",
    "sdekit.training.folder": "sdekit.runs",
    "sdekit.training.options": "sdekit.runs",
    "sdekit.training.run": "sdekit.runs",
    "sdekit.tune": "sdekit.tuning",
    "sdekit.tuned": "sdekit.tuning",
    "sdekit.unknowns": "sdekit.tuning",
}
"""Maps a module of version 0.1 that no longer exists to the package to import from."""


def new_location(error: ImportError) -> str:
    """Return the advice for a plugin whose import from sdekit failed, to be added to the error's message.

    Arguments:
        error: The error of the import.
    Returns:
        Text that begins with a colon; empty if the import was not from sdekit.
    """
    module = error.name or ""
    if module.partition(".")[0] != "sdekit":
        return ""
    renames = "the tables of renames in CHANGELOG.md list all changes since sdekit 0.1"
    package = next((new for old, new in MOVED.items() if module == old or module.startswith(f"{old}.")), None)
    if package is None:
        return f": {renames}"
    return f": import from {package} instead ({renames})"
