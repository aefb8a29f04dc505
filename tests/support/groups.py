"""Which tests run in one process when several share the work (pytest-xdist, --dist loadgroup)."""
import pytest


def together(name, params):
    """Parameters of a fixture that is dear to make: the tests of each stay in one process, which makes it once."""
    return [pytest.param(param, marks=pytest.mark.xdist_group(f"{name} {param}")) for param in params]
