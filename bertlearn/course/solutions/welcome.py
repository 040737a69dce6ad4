"""The answer to the exercise of the welcome page."""


def dot(a, b):
    """Return the sum of the products of the elements of a and b."""
    return sum(x * y for x, y in zip(a, b, strict=True))
