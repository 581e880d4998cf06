"""The components of the core, registered in the same way as those of a plugin."""

from sdekit import hookimpl


@hookimpl
def sdekit_sdes() -> dict[str, str]:
    """The processes of `sdekit.processes`."""
    return {
        "vp": "sdekit.processes.vp:VP",
        "sub-vp": "sdekit.processes.vp:SubVP",
        "ve": "sdekit.processes.ve:VE",
        "cosine": "sdekit.processes.cosine:Cosine",
        "edm": "sdekit.processes.edm:EDM",
        "rectified-flow": "sdekit.processes.rectified_flow:RectifiedFlow",
        "ddpm-linear": "sdekit.processes.tabulated:TabulatedVP.linear",
        "ddpm-cosine": "sdekit.processes.tabulated:TabulatedVP.cosine",
    }


@hookimpl
def sdekit_grids() -> dict[str, str]:
    """The grids of `sdekit.sampling.grids`."""
    return {
        "auto": "sdekit.sampling.grids:auto",
        "uniform": "sdekit.sampling.grids:uniform",
        "karras": "sdekit.sampling.grids:karras",
        "log-snr": "sdekit.sampling.grids:log_snr",
        "sqrt-log-snr": "sdekit.sampling.grids:sqrt_log_snr",
        "quadratic": "sdekit.sampling.grids:quadratic",
        "cosine": "sdekit.sampling.grids:cosine",
        "shift": "sdekit.sampling.grids:shift",
    }


@hookimpl
def sdekit_operators() -> dict[str, str]:
    """The operators of `sdekit.inverse.operators`."""
    return {
        "identity": "sdekit.inverse.operators.pixels:identity",
        "mask": "sdekit.inverse.operators.pixels:mask",
        "super-resolution": "sdekit.inverse.operators.pixels:super_resolution",
        "grayscale": "sdekit.inverse.operators.pixels:grayscale",
        "blur": "sdekit.inverse.operators.fourier:blur",
        "fourier-mask": "sdekit.inverse.operators.fourier:fourier_mask",
        "phase": "sdekit.inverse.operators.fourier:phase",
        "radon": "sdekit.inverse.operators.tomography:radon",
        "matrix": "sdekit.inverse.operators.matrices:matrix",
    }


@hookimpl
def sdekit_networks() -> dict[str, str]:
    """The networks of `sdekit.networks`."""
    return {
        "mlp": "sdekit.networks.mlp:MLP",
        "mixer": "sdekit.networks.mixer:Mixer",
        "unet": "sdekit.networks.unet:UNet",
        "ddpmpp": "sdekit.networks.published_unets:DDPMpp",
        "ncsnpp": "sdekit.networks.published_unets:NCSNpp",
        "adm": "sdekit.networks.published_unets:ADM",
    }


@hookimpl
def sdekit_datasets() -> dict[str, str]:
    """The data sets of `sdekit.data`."""
    return {
        "digits": "sdekit.data.handwritten_digits:digits",
        "moons": "sdekit.data.toys:moons",
        "checkerboard": "sdekit.data.toys:checkerboard",
        "swiss-roll": "sdekit.data.toys:swiss_roll",
        "rings": "sdekit.data.toys:rings",
        "mixture": "sdekit.data.toys:mixture",
        "sines": "sdekit.data.toy_sequences:sines",
        "images": "sdekit.data.formats.image_files:images",
        "mnist": "sdekit.data.formats.idx_files:mnist",
        "array": "sdekit.data.formats.arrays.array_files:array",
        "table": "sdekit.data.formats.table_files:table",
        "sequences": "sdekit.data.formats.sequences.sequence_files:sequences",
    }


@hookimpl
def sdekit_loaders() -> dict[str, str]:
    """Loaders of the two formats that sdekit writes."""
    return {
        "run": "sdekit.runs.run:load_run_folder",
        "export": "sdekit.export.exported_model:load_export",
    }


@hookimpl
def sdekit_objectives() -> dict[str, str]:
    """The objectives of `sdekit.training.objectives`."""
    return {
        "denoising": "sdekit.training.objectives.denoising:Denoising",
        "classification": "sdekit.training.objectives.classification:Classification",
    }
