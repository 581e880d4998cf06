"""Is a component right? Checks with exact answers, for samplers, processes and all else that a plugin may provide.

In a plugin's tests, either at once, or one test a check:

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
