"""What the core itself provides, registered as any plugin is."""

from . import hookimpl


@hookimpl
def sdekit_sdes() -> dict[str, str]:
    """The processes of `sdekit.processes`."""
    return {
        "vp": "sdekit.processes:VP",
        "sub-vp": "sdekit.processes:SubVP",
        "ve": "sdekit.processes:VE",
        "cosine": "sdekit.processes:Cosine",
        "edm": "sdekit.processes:EDM",
        "rectified-flow": "sdekit.processes:RectifiedFlow",
        "ddpm-linear": "sdekit.processes:TabulatedVP.linear",
        "ddpm-cosine": "sdekit.processes:TabulatedVP.cosine",
    }


@hookimpl
def sdekit_grids() -> dict[str, str]:
    """The grids of `sdekit.grids`."""
    return {
        "auto": "sdekit.grids:auto",
        "uniform": "sdekit.grids:uniform",
        "karras": "sdekit.grids:karras",
        "log-snr": "sdekit.grids:log_snr",
        "sqrt-log-snr": "sdekit.grids:sqrt_log_snr",
        "quadratic": "sdekit.grids:quadratic",
        "cosine": "sdekit.grids:cosine",
    }


@hookimpl
def sdekit_operators() -> dict[str, str]:
    """The operators of `sdekit.operators`."""
    return {
        "identity": "sdekit.operators.pixels:identity",
        "mask": "sdekit.operators.pixels:mask",
        "super-resolution": "sdekit.operators.pixels:super_resolution",
        "grayscale": "sdekit.operators.pixels:grayscale",
        "blur": "sdekit.operators.fourier:blur",
        "fourier-mask": "sdekit.operators.fourier:fourier_mask",
        "phase": "sdekit.operators.fourier:phase",
        "radon": "sdekit.operators.radon:radon",
        "matrix": "sdekit.operators.matrix:matrix",
    }


@hookimpl
def sdekit_networks() -> dict[str, str]:
    """The networks of `sdekit.networks`."""
    return {
        "mlp": "sdekit.networks.mlp:MLP",
        "mixer": "sdekit.networks.mixer:Mixer",
        "unet": "sdekit.networks.unet:UNet",
    }


@hookimpl
def sdekit_datasets() -> dict[str, str]:
    """The data sets of `sdekit.data`."""
    return {
        "digits": "sdekit.data.digits:digits",
        "moons": "sdekit.data.toys:moons",
        "checkerboard": "sdekit.data.toys:checkerboard",
        "swiss-roll": "sdekit.data.toys:swiss_roll",
        "rings": "sdekit.data.toys:rings",
        "mixture": "sdekit.data.toys:mixture",
        "images": "sdekit.data.images:images",
        "mnist": "sdekit.data.idx:mnist",
        "array": "sdekit.data.array:array",
        "table": "sdekit.data.table:table",
    }
