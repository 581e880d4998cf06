"""Checks that a component is correct, with exact answers, for samplers, processes and every other kind of plugin.

In the tests of a plugin, either all checks in one test or one test for each check:

    from sdekit.verify import checks, verify

    def test_conforms():
        verify(MySampler()).raise_on_failure()

    @pytest.mark.parametrize("check", checks(MySampler()), ids=str)
    def test_check(check):
        check().raise_on_failure()

On the command line: `sdekit verify NAME`.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
