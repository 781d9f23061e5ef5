"""The workbook in a real browser: JupyterLab, its widgets, and the exported pages."""
