"""Typed settings; no work is done here."""
