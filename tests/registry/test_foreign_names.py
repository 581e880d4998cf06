"""Names of other programs are answered with the component that does the same."""

import pytest

from sdekit.errors import InputError
from sdekit.registry import component_names, find_component, parse_component
from sdekit.registry.foreign_names import EQUIVALENTS, equivalent


@pytest.mark.parametrize("kind", sorted(EQUIVALENTS))
def test_equivalents_exist(kind: str) -> None:
    """Each equivalent is installed, its options exist, and no component has the foreign name."""
    installed = component_names(kind)
    for name, same in EQUIVALENTS[kind].items():
        component, _ = parse_component(same.partition(", ")[0])
        assert component in installed and name not in installed, name
        find_component(kind, component).load()


@pytest.mark.parametrize(
    ("name", "same"),
    [
        ("euler", "ddim"),
        ("Euler a", "euler-ancestral"),
        ("euler_ancestral", "euler-ancestral"),
        ("sample_dpmpp_2m", "dpmpp-2m"),
        ("dpmpp_2m_karras", "dpmpp-2m, with --grid karras"),
        ("DPM++ 2M SDE Exponential", "dpmpp-2m-sde, with --grid log-snr"),
        ("dpmpp_sde_gpu", "dpmpp-sde"),
        ("DPMSolverMultistepScheduler", "dpmpp-2m"),
        ("res_multistep", "sa-solver:tau=0,predictor=2,corrector=0"),
    ],
)
def test_spellings(name: str, same: str) -> None:
    """The spellings of ComfyUI, A1111, k-diffusion and diffusers lead to the same sampler."""
    assert equivalent("sampler", name, component_names("sampler")) == same
    with pytest.raises(InputError) as error:
        find_component("sampler", name)
    assert str(error.value) == f"no sampler {name!r}; the equivalent in sdekit is {same}"


def test_other_names_get_a_similar_one() -> None:
    """A misspelt name is answered with a similar one and the list."""
    with pytest.raises(InputError, match="no sampler 'ddmi'; did you mean 'ddim'\\? Installed: "):
        find_component("sampler", "ddmi")


def test_case() -> None:
    """Names match in upper and lower case, and the entry has the registered name."""
    assert find_component("sampler", "DDIM").name == "ddim" and find_component("sde", "VP").name == "vp"
    assert parse_component("CFG:scale=2")[0] == "cfg"
