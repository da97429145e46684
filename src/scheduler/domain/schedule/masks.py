"""Sets of small numbers as the bits of an integer, bit 0 for the smallest value."""

from __future__ import annotations


def lowest(mask: int) -> int:
    """The number of the lowest bit that is set; the mask is not 0."""
    return (mask & -mask).bit_length() - 1


def highest(mask: int) -> int:
    """The number of the highest bit that is set; the mask is not 0."""
    return mask.bit_length() - 1


def below(mask: int, limit: int) -> int:
    """The mask without its bits from ``limit`` on."""
    return mask & ((1 << limit) - 1)


def bits(mask: int) -> list[int]:
    """The numbers of the bits that are set, ascending."""
    return [bit for bit in range(mask.bit_length()) if mask >> bit & 1]
