"""The forms in which `matrix` and `diff` are printed: values of the engine in, text out, nothing is read or decided here."""
