"""Heun's method for sdekit."""

from sdekit import hookimpl

sdekit_api = 2


@hookimpl
def sdekit_samplers():
    """Name the sampler; its module is imported when it is used, so that `sdekit plugins list` stays fast."""
    return {"acme-heun": "acme_sampler.heun:Heun"}
