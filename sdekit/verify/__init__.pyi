from .common.check_results import (
    Check as Check,
    Finding as Finding,
    NotConforming as NotConforming,
    Report as Report,
    Result as Result,
    at_most as at_most,
    format_measured as format_measured,
    same as same,
    skip as skip,
)
from .component_checks.guidance_checks import Trial as Trial
from .suite import (
    CHECKS_BY_KIND as CHECKS_BY_KIND,
    checks as checks,
    find_kind as find_kind,
    registered_checks as registered_checks,
    run_checks as run_checks,
    verify as verify,
)
