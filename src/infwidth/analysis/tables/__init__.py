"""The tables: measurements in, .csv, .md and .tex out."""
