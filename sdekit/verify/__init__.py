"""Correctness checks for samplers, processes and every other kind of plugin, mostly against exact solutions.

The tests of a plugin can run all checks in one test, or each check in a separate test:

    from sdekit.verify import checks, verify

    def test_conforms():
        verify(MySampler()).raise_on_failure()

    @pytest.mark.parametrize("check", checks(MySampler()), ids=str)
    def test_check(check):
        check().raise_on_failure()

The command `sdekit verify NAME` runs the same checks.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
