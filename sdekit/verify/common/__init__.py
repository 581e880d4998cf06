"""Exact problems, published coefficients and reports that all checks use."""
