"""Take a model out of the workbook: weights, runtimes, a program, a card."""

from __future__ import annotations

from course.export.folder import Export, read, write

__all__ = ["Export", "read", "write"]
