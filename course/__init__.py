"""Helpers of the workbook on pretrained models; every chapter shows what they do.

Importing `course` imports nothing heavy: its modules load torch when they are imported
themselves (`from course import models`).
"""

__version__ = "0.1.0"
