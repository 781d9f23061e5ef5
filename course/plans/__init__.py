"""Plans of the sweeps whose tables ship with the workbook, one module each."""
