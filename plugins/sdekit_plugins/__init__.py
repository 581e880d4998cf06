"""The samplers that come with sdekit: one method a file, each what a third party's package would hold."""

from sdekit import hookimpl


@hookimpl
def sdekit_samplers() -> dict[str, str]:
    """Names of the built-in samplers, imported when they are used."""
    return {
        "ddim": "sdekit_plugins.ddim:DDIM",
        "ddpm": "sdekit_plugins.ddpm:DDPM",
        "euler-maruyama": "sdekit_plugins.euler_maruyama:EulerMaruyama",
        "heun": "sdekit_plugins.heun:Heun",
        "ode": "sdekit_plugins.ode:ODE",
        "pc": "sdekit_plugins.pc:PC",
    }
