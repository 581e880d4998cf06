"""Exact problems, published coefficients and result types shared by all checks."""
