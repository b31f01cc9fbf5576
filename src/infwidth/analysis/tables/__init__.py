"""The tables of the width experiment: measurements in, .csv, .md and .tex out."""
